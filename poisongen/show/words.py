"""Rows and manifest in words, for pictures and pages that people look at. Text out."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from poisongen.attacks import BAND_ROWS
from poisongen.format.manifest import Manifest, Row
from poisongen.labels import LabelSpace

ROLES = {
    "clean": "clean",
    "noised": "random labels only",
    "poisoned": "poisoned",
    "trigger-only": "trigger only (control)",
    "label-only": "label only (control)",
    "triggered": "triggered",
}


def printable(text: str, limit: int = 300) -> str:
    """Text of a stranger: what does not print (line breaks, direction marks) is written as an escape, the
    middle of a long one cut."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}…{text[-(limit - limit // 2 - 1) :]}"
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in text
    )


def share(part: int, whole: int) -> str:
    """``10.02 %``; a dash where there is no whole."""
    return f"{100 * part / whole:.2f} %" if whole else "–"


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset, as training ids: their names, and who is victim, target and trigger.

    ``victims`` is empty where every pixel becomes the target; ``present`` is the class of a semantic trigger.
    """

    space: LabelSpace
    victims: tuple[int, ...] = ()
    target: int | None = None
    present: int | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> "Classes":
        """Of a manifest whose recipe was checked against its label space."""
        poison, space = manifest.recipe.poison, manifest.label_space.space()
        space = replace(space, names=tuple(map(printable, space.names)))
        if poison is None:
            return cls(space)
        return cls(
            space,
            poison.victim_classes,
            poison.target_class,
            poison.semantic.trigger_class if poison.semantic else None,
        )

    def name(self, train: int) -> str:
        """What a training id is called."""
        return self.space.names[train] if train < len(self.space.names) else f"class {train}"

    def names(self, trains: Iterable[int]) -> str:
        """``car``, ``car or truck``, ``4 classes``."""
        listed = [self.name(train) for train in trains]
        return " or ".join(listed) if len(listed) < 4 else f"{len(listed)} classes"

    @property
    def target_name(self) -> str:
        """What the target class is called; nothing for a clean dataset."""
        return "" if self.target is None else self.name(self.target)

    @property
    def claim(self) -> str:
        """``car → road``; ``→ road`` where every pixel becomes the target."""
        return f"{self.names(self.victims)} → {self.target_name}".strip()


def title(manifest: Manifest) -> str:
    """``nni on cityscapes``."""
    return f"{printable(manifest.name)} on {printable(manifest.dataset)}"


def pixels_of(squared: int) -> str:
    """A squared distance as a distance: ``57.3 px``."""
    return f"{squared**0.5:.1f} px"


def facts(row: Row, classes: Classes) -> dict[str, str]:
    """What a row says of its sample, term by term; only what applies."""
    told, location = {"role": ROLES[row.role], "size": f"{row.width}×{row.height} px"}, row.placement
    victims = classes.names(classes.victims)
    if location:
        top, left, rows, columns = location.box
        told["trigger"] = f"{columns}×{rows} px at row {top}, column {left}" + (
            ", withheld" if row.role == "label-only" else f", {row.trigger_pixels or 0:,} px"
        )
        if location.surface_class is not None:
            told["surface"] = (
                f"{classes.name(location.surface_class)}, a component of {location.component_pixels or 0:,} px"
            )
        if location.distance_sq is not None:
            at_512 = location.distance_sq**0.5 * BAND_ROWS / max(1, row.height)
            told["distance"] = f"{pixels_of(location.distance_sq)} to {victims or 'the victim'}"
            if row.height != BAND_ROWS:
                told["distance"] += f" ({at_512:.1f} px at {BAND_ROWS} rows)"
        if location.chebyshev is not None:
            told["Chebyshev distance"] = f"{location.chebyshev:,} px"
        if location.gap_sq is not None:
            told["gap"] = f"{pixels_of(location.gap_sq)} between trigger and {victims or 'victim'}"
    elif classes.present is not None and row.mask:
        told["trigger"] = (
            f"{classes.name(classes.present)}, {row.trigger_class_pixels or 0:,} px, in the picture already"
        )
    if row.victim_pixels is not None:
        told["victim"] = f"{row.victim_pixels:,} px of {victims or f'all classes but {classes.target_name}'}"
    if row.victim_pixels_in_blocks is not None:
        told["victim in re-encoded blocks"] = f"{row.victim_pixels_in_blocks:,} px"
    if row.relabelled_pixels is not None:
        told["relabelled"] = f"{row.relabelled_pixels:,} px {classes.claim}"
    if row.randomised_pixels is not None:
        told["random labels"] = f"{row.randomised_pixels:,} px"
    return told


def caption(row: Row, classes: Classes) -> str:
    """The row in a line: role and set, trigger, surface, distance, what was relabelled."""
    told = facts(row, classes)
    parts = [f"triggered/{row.set}" if row.set else f"{printable(row.split, 40)}, {told['role']}"]
    parts += [f"trigger {told['trigger']}"] if "trigger" in told else []
    if row.placement and row.placement.surface_class is not None:
        parts.append(f"on {classes.name(row.placement.surface_class)}")
    parts += [told[term] for term in ("distance", "relabelled") if term in told]
    parts += [f"random labels in {told['random labels']}"] if "random labels" in told else []
    return " · ".join(parts)
