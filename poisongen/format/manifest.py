"""``manifest.json`` and ``samples.jsonl``: what ``manifests/FORMAT.md`` specifies, as models that parse and
do not trust."""

import json
import platform
import re
from collections.abc import Iterable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import cv2
import numpy as np
import scipy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from poisongen.disk import folder_path
from poisongen.errors import ManifestError, PoisongenError, SourceError
from poisongen.imaging.pixels import digest_bytes
from poisongen.labels import LabelSpace
from poisongen.names import MANIFEST, SAMPLES, own_art
from poisongen.recipe import SET_NAME, Recipe
from poisongen.surfaces import Count, Location
from poisongen.triggers.patch import ArtName

FORMAT, FORMAT_VERSION = "poisongen", 1
CHANGED = ("poisoned", "trigger-only", "label-only", "triggered")
"""Roles of rows that an attack changed."""
MAX_MANIFEST_BYTES, MAX_SAMPLES_BYTES = 1 << 26, 1 << 30


FolderPath = Annotated[str, AfterValidator(folder_path)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=512)]

_FROZEN = ConfigDict(frozen=True, extra="forbid", strict=True)

_Model = TypeVar("_Model", bound=BaseModel)


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
        for ok, rule in (
            (
                (self.role == "triggered") == (self.set is not None),
                "set is present exactly if role is triggered",
            ),
            (
                [self.image_bytes, self.image_pixels, self.image_coefficients].count(None) == 2,
                "exactly one of image_bytes, image_pixels and image_coefficients",
            ),
            (
                (self.label_bytes is None) != (self.label_pixels is None),
                "exactly one of label_bytes and label_pixels",
            ),
            (
                (self.label_train is None) == (self.label_train_pixels is None),
                "label_train and its digest come together",
            ),
            ((self.mask is None) == (self.mask_pixels is None), "mask and its digest come together"),
            (
                (self.image_bytes is None) == (self.source_image_bytes is not None),
                "source_image_bytes exactly if the picture is written anew",
            ),
            (
                (self.label_pixels is None) == (self.source_label_bytes is None),
                "source_label_bytes exactly if the label is written anew",
            ),
        ):
            if not ok:
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
            changed = [what for what in CHANGED if what in count]
            needed = {"pictures"}.union(
                *({what, "with_victim", "victim_pixels", f"victim_pixels_{what}"} for what in changed)
            )
            if needed - count.keys():
                raise ValueError(f"the counts of {name} lack {', '.join(sorted(needed - count.keys()))}")
        if len(self.label_space.colours) != len(self.label_space.names):
            raise ValueError("names and colours differ in number")
        return self

    def text(self) -> str:
        """The file's text: indented for people, in the order of the format's page."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False)
        # A list or object of plain values on one line; a line break is never inside of a JSON string, so only
        # layout changes.
        return re.sub(r"[\[{]\n[^\[\]{}]*[\]}]", lambda found: re.sub(r"\n *", " ", found[0]), text) + "\n"


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
    lines = {
        row.id: f"{row.id} {row.source_image_bytes or row.image_bytes} {row.source_label_bytes or row.label_bytes}\n"
        for row in rows
    }
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


def read(path: Path) -> tuple[Manifest, tuple[Row, ...]]:
    """Parse a manifest and the rows beside it, believing nothing.

    ``path`` is the manifest or the folder that holds it. Raises ManifestError for files that are missing, too
    large, not what the format says, of a newer version, or that do not belong together. Paths in the result
    stay inside the folder.
    """
    path = path / MANIFEST if path.is_dir() else path
    text = _read_text(path, MAX_MANIFEST_BYTES)
    try:
        loaded = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestError("A manifest is not JSON.", file=path, found=str(error)) from None
    version = loaded.get("format_version") if isinstance(loaded, dict) else None
    if not isinstance(loaded, dict) or loaded.get("format") != FORMAT or type(version) is not int:
        todo = (
            "a recipe is built: poisongen build" if isinstance(loaded, dict) and "options" in loaded else None
        )
        raise ManifestError(
            "A file is not a poisongen manifest.",
            file=path,
            expected=f'"format": "{FORMAT}" and a format version',
            todo=todo,
        )
    if version > FORMAT_VERSION:
        raise ManifestError(
            "A manifest is of a newer format.",
            file=path,
            expected=f"version {FORMAT_VERSION}",
            found=f"version {version}",
            todo="install a newer poisongen",
        )
    recipe = loaded.get("recipe")
    code = recipe.get("code") if isinstance(recipe, dict) else None
    manifest = _parse(
        Manifest,
        text,
        str(path),
        "it names an attack from outside: give its file with --code" if code else None,
    )
    beside = path.with_name(SAMPLES)
    rows_json = _read_text(beside, MAX_SAMPLES_BYTES)
    if identity(rows_json) != manifest.identity:
        raise ManifestError(
            "The rows are not the ones that the manifest names.",
            file=beside,
            expected=manifest.identity,
            found=identity(rows_json),
            todo="get manifest.json and samples.jsonl again, from one place",
        )
    rows = tuple(
        _parse(Row, line, f"{beside}, line {number}")
        for number, line in enumerate(rows_json.removesuffix("\n").split("\n"), start=1)
    )
    if rows_text(rows) != rows_json:
        raise ManifestError(
            "The rows are not sorted canonical JSON.", file=beside, expected="the form of manifests/FORMAT.md"
        )
    seen: set[object] = set()
    for item in (*(row.key for row in rows), *(name for row in rows for name in row.files())):
        if item in seen:
            raise ManifestError("The rows name something twice.", file=beside, found=str(item))
        seen.add(item)
    return manifest, rows


def refuse_poisoned(root: Path) -> None:
    """Raise SourceError if ``root`` is a dataset folder that an attack has changed: it is no clean source."""
    path = root / MANIFEST
    if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
        return
    try:
        loaded = json.loads(path.read_bytes())
        recipe = loaded["recipe"] if loaded["format"] == FORMAT else {}
        poisoned = bool(recipe.get("poison") or recipe.get("random_pixels"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    if poisoned:
        raise SourceError(
            "The source is a dataset that was poisoned.",
            file=path,
            expected="the clean dataset",
            found=f"{recipe.get('attack')}",
            todo="give the folder that it was made from",
        )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _read_text(path: Path, limit: int) -> str:
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ManifestError(
                "A manifest is a link, or no file.", file=path, expected="a file", todo="give the file itself"
            )
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ManifestError("A file is too large.", file=path, expected=f"at most {limit:,} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise ManifestError("A manifest cannot be read.", file=path, found=error.strerror) from None
    except UnicodeDecodeError as error:
        raise ManifestError("A file is not UTF-8 text.", file=path, found=str(error)) from None


def _parse(model: type[_Model], text: str, name: str, todo: str | None = None) -> _Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ManifestError(
            "A manifest cannot be believed.",
            file=name,
            found=f"{where}: {first['msg']}" if where else first["msg"],
            todo=todo,
        ) from None
    except PoisongenError as error:
        raise ManifestError(
            "A manifest cannot be believed.", file=name, found=error.problem, todo=error.todo
        ) from None
