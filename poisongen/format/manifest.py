"""``manifest.json`` and ``samples.jsonl``: what ``manifests/FORMAT.md`` specifies, as models that check
what they parse."""

import json
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version as installed
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import numpy as np
import scipy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from poisongen.disk import folder_path
from poisongen.imaging.pixels import digest_bytes
from poisongen.labels import IGNORE, LabelSpace
from poisongen.names import own_art
from poisongen.recipe import SET_NAME, Recipe
from poisongen.surfaces import Count, Location
from poisongen.triggers.patch import ArtName

FORMAT, FORMAT_VERSION = "poisongen", 1
CHANGED = ("poisoned", "trigger-only", "label-only", "triggered")
"""Roles of rows that an attack changed."""

FolderPath = Annotated[str, AfterValidator(folder_path)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=512)]

_FROZEN = ConfigDict(frozen=True, extra="forbid", strict=True)


class Row(BaseModel):
    """One row of ``samples.jsonl``; the keys are those of ``FORMAT.md``."""

    model_config = _FROZEN

    id: Name
    split: Name
    role: Literal["clean", "noised", "poisoned", "trigger-only", "label-only", "triggered"]
    set: Annotated[str, Field(pattern=SET_NAME)] | None = None
    height: Count
    width: Count
    image: FolderPath
    label: FolderPath
    label_train: FolderPath | None = None
    mask: FolderPath | None = None
    image_bytes: Digest | None = None
    image_pixels: Digest | None = None
    image_coefficients: Digest | None = None
    label_bytes: Digest | None = None
    label_pixels: Digest | None = None
    label_train_pixels: Digest | None = None
    mask_pixels: Digest | None = None
    source_image_bytes: Digest | None = None
    source_label_bytes: Digest | None = None
    art_pixels: Digest | None = None
    victim_pixels: Count | None = None
    victim_pixels_in_blocks: Count | None = None
    trigger_class_pixels: Count | None = None
    relabelled_pixels: Count | None = None
    randomised_pixels: Count | None = None
    trigger_pixels: Count | None = None
    placement: Location | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Row":
        for rule, holds in _ROW_RULES.items():
            if not holds(self):
                raise ValueError(rule)
        if self.own_art:
            folder_path(self.own_art)
        return self

    @property
    def key(self) -> tuple[str, str]:
        """The order of rows."""
        return self.set or "", self.id

    def canonical(self) -> str:
        """The row's one line, without the newline."""
        return canonical(self.model_dump(exclude_none=True))

    def files(self) -> dict[str, "Digests"]:
        """What the row says of its files: path → its digests, one of them known."""
        named = {
            self.image: Digests(self.image_bytes, self.image_pixels, self.image_coefficients),
            self.label: Digests(self.label_bytes, self.label_pixels),
            self.label_train: Digests(pixels=self.label_train_pixels),
            self.mask: Digests(pixels=self.mask_pixels),
        }
        return {path: digests for path, digests in named.items() if path is not None}

    @property
    def own_art(self) -> str | None:
        """Where the art of this very sample lies, if it has one."""
        return own_art(self.id) if self.art_pixels else None


def _is_set_of_triggered(row: Row) -> bool:
    return (row.role == "triggered") == (row.set is not None)


def _has_one_image_digest(row: Row) -> bool:
    return [row.image_bytes, row.image_pixels, row.image_coefficients].count(None) == 2


def _has_one_label_digest(row: Row) -> bool:
    return (row.label_bytes is None) != (row.label_pixels is None)


def _has_digest_of_label_train(row: Row) -> bool:
    return (row.label_train is None) == (row.label_train_pixels is None)


def _has_digest_of_mask(row: Row) -> bool:
    return (row.mask is None) == (row.mask_pixels is None)


def _has_source_of_new_image(row: Row) -> bool:
    return (row.image_bytes is None) == (row.source_image_bytes is not None)


def _has_source_of_new_label(row: Row) -> bool:
    return (row.label_pixels is None) == (row.source_label_bytes is None)


_ROW_RULES: Mapping[str, Callable[[Row], bool]] = {
    "set is present exactly if role is triggered": _is_set_of_triggered,
    "exactly one of image_bytes, image_pixels and image_coefficients": _has_one_image_digest,
    "exactly one of label_bytes and label_pixels": _has_one_label_digest,
    "label_train and its digest come together": _has_digest_of_label_train,
    "mask and its digest come together": _has_digest_of_mask,
    "source_image_bytes exactly if the picture is written anew": _has_source_of_new_image,
    "source_label_bytes exactly if the label is written anew": _has_source_of_new_label,
}
"""Rule → whether a row keeps to it."""


class Digests(NamedTuple):
    """Of a file's bytes, of its decoded pixels, or of the coefficients of a JPEG."""

    bytes: str | None = None
    pixels: str | None = None
    coefficients: str | None = None


class SourceFacts(BaseModel):
    """What the clean source was."""

    model_config = _FROZEN

    layout: Name
    splits: dict[Name, Count]
    fingerprint: Digest
    license: str = Field(max_length=4096)


class Splits(BaseModel):
    """Which split to train on and which to measure on."""

    model_config = _FROZEN

    train: Name
    evaluation: Name


class Labels(BaseModel):
    """The label space, for a reader that does not know the layout."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[Name, ...] = Field(min_length=1, max_length=255)
    colours: tuple[tuple[Count, Count, Count], ...]
    raw_to_train: dict[Annotated[str, Field(pattern=r"^[0-9]{1,3}$")], Annotated[int, Field(ge=0, le=255)]]
    ignore: Literal[255] = 255

    @classmethod
    def of(cls, space: LabelSpace) -> "Labels":
        """The same facts as the generator computes with."""
        raw = {str(key): value for key, value in sorted(space.raw_to_train.items())}
        return cls(names=space.names, colours=space.colours, raw_to_train=raw)

    def space(self) -> LabelSpace:
        """What the generator computes with. A training id that is no class counts as ignored, a channel of a
        colour above 255 as 255: a stranger may have written both."""
        known = range(len(self.names))
        raw_to_train = {
            int(raw): train if train in known else IGNORE for raw, train in self.raw_to_train.items()
        }
        colours = tuple((min(red, 255), min(green, 255), min(blue, 255)) for red, green, blue in self.colours)
        return LabelSpace(self.names, colours, raw_to_train)


class Measure(BaseModel):
    """Attack success: the share of true victim pixels of triggered pictures that are predicted as the target.

    ``trigger_class``: a semantic trigger, the pictures without which have fewer than ``min_trigger_pixels``
    of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    victim_classes: tuple[Count, ...]
    target_class: Count
    trigger_class: Count | None = None
    min_trigger_pixels: Count | None = None


def measure_of(recipe: Recipe, space: LabelSpace) -> Measure | None:
    """What is measured on a dataset of this recipe; None for a clean one."""
    poison = recipe.poison
    if poison is None:
        return None
    semantic = poison.semantic
    return Measure(
        victim_classes=recipe.measured(space),
        target_class=poison.target_class,
        trigger_class=semantic.trigger_class if semantic else None,
        min_trigger_pixels=semantic.min_pixels if semantic else None,
    )


class Rejected(BaseModel):
    """A sample with a victim that could not be poisoned or triggered, and why; ``set`` is empty for
    training."""

    model_config = _FROZEN

    id: Name
    set: str
    reason: str = Field(max_length=512)


class Manifest(BaseModel):
    """``manifest.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["poisongen"] = "poisongen"
    format_version: Literal[1] = 1
    tool: dict[str, str]
    identity: Digest
    name: Annotated[str, Field(min_length=1, max_length=200)]
    dataset: Annotated[str, Field(pattern=SET_NAME)]
    source: SourceFacts
    splits: Splits
    label_space: Labels
    measure: Measure | None
    recipe: Recipe
    evaluation_sets: tuple[Annotated[str, Field(pattern=SET_NAME)], ...]
    counts: dict[str, dict[str, Count]]
    rejected: tuple[Rejected, ...]
    art: dict[ArtName, Digest]
    lists: tuple[FolderPath, ...]
    environment: dict[str, str]

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        for name, count in self.counts.items():
            lacking = _required_counts(count) - count.keys()
            if lacking:
                raise ValueError(f"the counts of {name} lack {', '.join(sorted(lacking))}")
        if len(self.label_space.colours) != len(self.label_space.names):
            raise ValueError("names and colours differ in number")
        return self

    def text(self) -> str:
        """The file's text: indented for people, in the order of the format's page."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False)
        # A list or object of plain values on one line; a line break is never inside of a JSON string, so only
        # layout changes.
        return re.sub(r"[\[{]\n[^\[\]{}]*[\]}]", lambda found: re.sub(r"\n *", " ", found[0]), text) + "\n"


def _required_counts(count: Mapping[str, int]) -> set[str]:
    """What the counts of a split must have beside what they have."""
    required = {"pictures"}
    for role in CHANGED:
        if role in count:
            required |= {"with_victim", "victim_pixels", f"victim_pixels_{role}"}
    return required


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, UTF-8 as it is."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def rows_text(rows: Iterable[Row]) -> str:
    """The text of ``samples.jsonl``: one canonical line for each row, sorted."""
    return "".join(row.canonical() + "\n" for row in sorted(rows, key=lambda row: row.key))


def identity(text: str) -> str:
    """The identity of a dataset: the digest of its ``samples.jsonl``."""
    return digest_bytes(text.encode())


def fingerprint(rows: Iterable[Row]) -> str:
    """The digest of the source that these rows were made from: over ``id image-digest label-digest`` of each
    sample, sorted by id."""
    lines = {}
    for row in rows:
        image = row.source_image_bytes or row.image_bytes
        label = row.source_label_bytes or row.label_bytes
        lines[row.id] = f"{row.id} {image} {label}\n"
    return digest_bytes("".join(lines[sample_id] for sample_id in sorted(lines)).encode())


def environment() -> dict[str, str]:
    """What computed the pixels."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "scipy": scipy.__version__,
        "pillow": installed("pillow"),
        "pydantic": installed("pydantic"),
        "machine": platform.machine(),
    }
