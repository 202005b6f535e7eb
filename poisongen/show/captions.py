"""What a row says of its sample, in words. Text out."""

from collections.abc import Iterator
from dataclasses import dataclass

from poisongen.attacks import BAND_ROWS
from poisongen.format.manifest import Manifest, Row
from poisongen.show.classes import Classes
from poisongen.show.text import printable
from poisongen.surfaces import Location

ROLES = {
    "clean": "clean",
    "noised": "random labels only",
    "poisoned": "poisoned",
    "trigger-only": "trigger only (control)",
    "label-only": "label only (control)",
    "triggered": "triggered",
}


def title(manifest: Manifest) -> str:
    """``nni on cityscapes``."""
    return f"{printable(manifest.name)} on {printable(manifest.dataset)}"


@dataclass(frozen=True)
class Facts:
    """What a row says of its sample; None for what does not apply. In the order in which they are listed."""

    role: str
    size: str
    trigger: str | None = None
    surface: str | None = None
    distance: str | None = None
    chebyshev_distance: str | None = None
    gap: str | None = None
    victim: str | None = None
    victim_in_blocks: str | None = None
    relabelled: str | None = None
    random_labels: str | None = None

    def listed(self) -> Iterator[tuple[str, str]]:
        """Term and fact, of those that apply."""
        terms = {
            "role": self.role,
            "size": self.size,
            "trigger": self.trigger,
            "surface": self.surface,
            "distance": self.distance,
            "Chebyshev distance": self.chebyshev_distance,
            "gap": self.gap,
            "victim": self.victim,
            "victim in re-encoded blocks": self.victim_in_blocks,
            "relabelled": self.relabelled,
            "random labels": self.random_labels,
        }
        for term, fact in terms.items():
            if fact is not None:
                yield term, fact


def facts(row: Row, classes: Classes) -> Facts:
    """What a row says of its sample."""
    location = row.placement
    victims = classes.names(classes.victims)
    hidden = victims or f"all classes but {classes.target_name}"
    return Facts(
        role=ROLES[row.role],
        size=f"{row.width}×{row.height} px",
        trigger=_trigger(row, classes),
        surface=_surface(location, classes),
        distance=_distance(row, victims or "the victim"),
        chebyshev_distance=_pixels(location.chebyshev if location else None),
        gap=_gap(location, victims or "victim"),
        victim=_pixels(row.victim_pixels, f" of {hidden}"),
        victim_in_blocks=_pixels(row.victim_pixels_in_blocks),
        relabelled=_pixels(row.relabelled_pixels, f" {classes.claim}"),
        random_labels=_pixels(row.randomised_pixels),
    )


def _pixels(number: int | None, after: str = "") -> str | None:
    """``1,234 px``."""
    return None if number is None else f"{number:,} px{after}"


def _root(squared: int) -> str:
    """A squared distance as a distance: ``57.3 px``."""
    return f"{squared**0.5:.1f} px"


def _trigger(row: Row, classes: Classes) -> str | None:
    """Where it is and how large, or that it is in the picture already."""
    if row.placement:
        top, left, rows, columns = row.placement.box
        withheld = row.role == "label-only"
        painted = "withheld" if withheld else f"{row.trigger_pixels or 0:,} px"
        return f"{columns}×{rows} px at row {top}, column {left}, {painted}"
    if classes.present is not None and row.mask:
        pixels = row.trigger_class_pixels or 0
        return f"{classes.name(classes.present)}, {pixels:,} px, in the picture already"
    return None


def _surface(location: Location | None, classes: Classes) -> str | None:
    if location is None or location.surface_class is None:
        return None
    component = location.component_pixels or 0
    return f"{classes.name(location.surface_class)}, a component of {component:,} px"


def _distance(row: Row, victims: str) -> str | None:
    """Also as the papers give it, in a picture with 512 rows."""
    if row.placement is None or row.placement.distance_sq is None:
        return None
    squared = row.placement.distance_sq
    own = f"{_root(squared)} to {victims}"
    if row.height == BAND_ROWS:
        return own
    in_papers = squared**0.5 * BAND_ROWS / max(1, row.height)
    return f"{own} ({in_papers:.1f} px at {BAND_ROWS} rows)"


def _gap(location: Location | None, victims: str) -> str | None:
    if location is None or location.gap_sq is None:
        return None
    return f"{_root(location.gap_sq)} between trigger and {victims}"


def caption(row: Row, classes: Classes) -> str:
    """The row in a line: role and set, trigger, surface, distance, what was relabelled."""
    told = facts(row, classes)
    parts = [f"triggered/{row.set}" if row.set else f"{printable(row.split, 40)}, {told.role}"]
    if told.trigger:
        parts.append(f"trigger {told.trigger}")
    if row.placement and row.placement.surface_class is not None:
        parts.append(f"on {classes.name(row.placement.surface_class)}")
    parts += [fact for fact in (told.distance, told.relabelled) if fact]
    if told.random_labels:
        parts.append(f"random labels in {told.random_labels}")
    return " · ".join(parts)
