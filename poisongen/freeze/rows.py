"""The row that an entry will have: all that is known before a pixel is touched, and what writing adds."""

from dataclasses import dataclass
from typing import Any

from poisongen import names
from poisongen.datasets.reading import written_image
from poisongen.datasets.source import Sample
from poisongen.format.manifest import Digests, Row
from poisongen.freeze.examine import Examined
from poisongen.imaging.pixels import Box
from poisongen.recipe import Poison, Recipe
from poisongen.relabel import RandomPixels
from poisongen.surfaces import Location
from poisongen.triggers import Trigger

UNCHANGED = frozenset({"clean", "noised"})
"""The roles of samples that the attack leaves alone."""

SHOWING = frozenset({"poisoned", "trigger-only", "triggered"})
"""The roles of samples whose picture shows the trigger."""

RELABELLED = frozenset({"poisoned", "label-only"})
"""The roles of samples whose label claims what the attack wants."""


@dataclass(frozen=True)
class Entry:
    """One row to be: a sample, what becomes of it, and where its trigger lies."""

    examined: Examined
    role: str
    set: str | None = None
    location: Location | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The order of rows."""
        return self.set or "", self.sample.id

    @property
    def sample(self) -> Sample:
        """The sample that it is made of."""
        return self.examined.sample

    def facts(self) -> list[Any]:
        """What tells it from another entry, as plain values: set, role, id, digest of the label map, box,
        art."""
        box = list(self.location.box) if self.location else None
        return [self.set, self.role, self.sample.id, self.examined.label_bytes, box, self.examined.art]


@dataclass(frozen=True)
class ShownTrigger:
    """A trigger that a picture shows: where its mask is written, and its box (None: it is not placed)."""

    trigger: Trigger
    mask: str
    box: Box | None


@dataclass(frozen=True)
class PlannedRow:
    """What becomes of an entry, and what its row says of it already.

    ``image``, ``label``, ``label_train``: paths below the folder. ``shown``: the trigger in the picture.
    ``random_pixels``, ``relabel``: what the label gets, in this order. ``new_image``, ``new_label``: written
    anew, not copied.
    """

    entry: Entry
    image: str
    label: str
    label_train: str | None
    shown: ShownTrigger | None
    random_pixels: RandomPixels | None
    relabel: Poison | None
    new_image: bool
    new_label: bool
    counts_victims: bool

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        return self.entry.examined.height, self.entry.examined.width

    def facts(self) -> dict[str, Any]:
        """The keys of the row that are known already: everything but digests of what will be written."""
        entry, known, sample = self.entry, self.entry.examined, self.entry.sample
        unplaced = self.shown is not None and self.shown.box is None
        facts = {
            "id": sample.id,
            "split": sample.split,
            "role": entry.role,
            "set": entry.set,
            "height": known.height,
            "width": known.width,
            "image": self.image,
            "label": self.label,
            "label_train": self.label_train,
            "mask": self.shown.mask if self.shown else None,
            "source_label_bytes": known.label_bytes if self.new_label else None,
            "label_bytes": None if self.new_label else known.label_bytes,
            "victim_pixels": known.victim_pixels if self.counts_victims else None,
            "trigger_class_pixels": known.trigger_class_pixels,
            "trigger_pixels": known.trigger_class_pixels if unplaced else None,
            "relabelled_pixels": known.claimed_pixels if self.relabel and not self.random_pixels else None,
            "randomised_pixels": known.randomised_pixels if self.random_pixels else None,
            "art_pixels": known.art if entry.location else None,
            "placement": entry.location,
        }
        return {key: value for key, value in facts.items() if value is not None}

    def unwritten(self) -> Row:
        """The row as it is known already, for counting and comparing: it is not one that the format
        allows."""
        return Row.model_construct(**self.facts())


def plan_row(entry: Entry, recipe: Recipe) -> PlannedRow:
    """What becomes of an entry by this recipe."""
    sample, poison = entry.sample, recipe.poison
    prefix = names.prefix(entry.set)
    shown = None
    if poison is not None and entry.role in SHOWING:
        box = entry.location.box if entry.location else None
        shown = ShownTrigger(poison.trigger_in(entry.set), prefix + sample.mask, box)
    new_image = bool(recipe.scale) or (shown is not None and shown.trigger.alters_picture)
    may_be_random = entry.set is None and entry.role != "clean"
    random_pixels = recipe.random_pixels if may_be_random and entry.examined.randomised_pixels else None
    relabel = poison if entry.role in RELABELLED else None
    return PlannedRow(
        entry=entry,
        image=prefix + written_image(sample, recipe, new_image),
        label=prefix + sample.label,
        label_train=prefix + sample.label_train if sample.label_train else None,
        shown=shown,
        random_pixels=random_pixels,
        relabel=relabel,
        new_image=new_image,
        new_label=bool(recipe.scale or relabel or random_pixels),
        counts_victims=poison is not None,
    )


@dataclass(frozen=True)
class WrittenImage:
    """What was written of a picture: its digest, that of the source's file (None: the file was copied), the
    trigger's mask and pixels, and how many victim pixels lie in re-encoded blocks of a JPEG."""

    digests: Digests
    source_bytes: str | None = None
    mask_pixels: str | None = None
    trigger_pixels: int | None = None
    victim_pixels_in_blocks: int | None = None


@dataclass(frozen=True)
class WrittenLabel:
    """What was written of a label map: its digest, that of the map in training ids, and the pixels that
    changed."""

    digests: Digests
    train_pixels: str | None = None
    randomised_pixels: int | None = None
    relabelled_pixels: int | None = None


def written_row(planned: PlannedRow, image: WrittenImage, label: WrittenLabel) -> Row:
    """The row of an entry whose files are written."""
    written = {
        "image_bytes": image.digests.bytes,
        "image_pixels": image.digests.pixels,
        "image_coefficients": image.digests.coefficients,
        "source_image_bytes": image.source_bytes,
        "mask_pixels": image.mask_pixels,
        "trigger_pixels": image.trigger_pixels,
        "victim_pixels_in_blocks": image.victim_pixels_in_blocks,
        "label_bytes": label.digests.bytes,
        "label_pixels": label.digests.pixels,
        "label_train_pixels": label.train_pixels,
        "randomised_pixels": label.randomised_pixels,
        "relabelled_pixels": label.relabelled_pixels,
    }
    return Row(**planned.facts() | {key: value for key, value in written.items() if value is not None})
