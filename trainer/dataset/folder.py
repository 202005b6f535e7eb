"""The dataset folder's two files of text, read as ``manifests/FORMAT.md`` describes them, with nothing taken
on trust.

``open_folder`` parses and checks ``manifest.json`` and ``samples.jsonl``; no picture is opened here, see
``pictures.py``.
"""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.placements import Placement, parse_placement
from trainer.errors import FolderError

FORMAT_VERSION = 1
MAX_PIXELS = 1 << 28  # a larger picture is refused before it is decoded
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SUM = re.compile(r"([0-9a-f]{64}) [ *]([^\\]+)")  # a line of SHA256SUMS; no path here has a backslash
KINDS_OF_DIGEST = ("_bytes", "_pixels", "_coefficients")  # what the key of a digest ends in
IGNORE = 255
CONTROLS = ("trigger-only", "label-only")  # roles

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """One row of ``samples.jsonl``; paths are those of the files. ``set`` is empty but for triggered rows.

    ``digests`` has the row's own, by their keys, and as ``image_sums`` that of the bytes in SHA256SUMS where
    the row has no digest that can be computed from pixels (``image_coefficients``).
    """

    id: str
    split: str
    role: str
    set: str
    height: int
    width: int
    image: Path
    label: Path
    mask: Path | None
    digests: dict[str, str]
    trigger_class_pixels: int | None
    where: str  # file and line, for errors
    unchecked: dict[str, Any]  # what the row says of its placement

    @cached_property
    def placement(self) -> Placement | None:
        """Where the trigger lies; None of a row without a painted one. Checked when it is asked for, since
        training does not need it. Raises FolderError."""
        return parse_placement(self.unchecked, self.where)


@dataclass(frozen=True)
class Folder:
    """A dataset folder: what it is, what may be measured on it, and its rows.

    ``training`` and ``evaluation`` hold no triggered row, ``triggered`` has those of each set. ``victims`` is
    empty and ``target`` None where there is nothing to measure but segmentation. ``trigger_class`` is the
    class whose presence is the trigger (nothing is painted), or None; a picture has it from
    ``min_trigger_pixels`` on.
    """

    root: Path
    identity: str
    dataset: str
    name: str
    attack: str
    recipe: Mapping[str, Any]  # the manifest's own words: read by facts.py alone
    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    lookup: NDArray[np.uint8]  # (256,): raw id → training id or IGNORE …
    known: NDArray[np.bool_]  # (256,): … if the label space names it
    victims: tuple[int, ...]
    target: int | None
    trigger_class: int | None
    min_trigger_pixels: int
    training: tuple[Row, ...]
    evaluation: tuple[Row, ...]
    triggered: dict[str, tuple[Row, ...]]

    @property
    def classes(self) -> int:
        """K."""
        return len(self.names)

    @cached_property
    def roles(self) -> dict[str, int]:
        """How many training pictures have each role: facts to print, never used to train."""
        return dict(sorted(Counter(row.role for row in self.training).items()))

    @property
    def poisoned(self) -> int:
        """Number of poisoned training pictures."""
        return self.roles.get("poisoned", 0)

    def lacks_trigger_class(self, row: Row) -> bool:
        """Is this a picture without the class whose presence is the trigger? False for every picture where
        the trigger is painted."""
        return self.trigger_class is not None and (row.trigger_class_pixels or 0) < self.min_trigger_pixels


class LabelSpace(NamedTuple):
    """The classes of a folder; the fields are those of ``Folder``."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    lookup: NDArray[np.uint8]
    known: NDArray[np.bool_]


class Measure(NamedTuple):
    """What success is measured of; the fields are those of ``Folder``."""

    victims: tuple[int, ...] = ()
    target: int | None = None
    trigger_class: int | None = None
    min_trigger_pixels: int = 1


def open_folder(root: Path) -> Folder:
    """Read and check ``manifest.json`` and ``samples.jsonl``; no picture is opened, but each must be there.

    Raises FolderError: unfinished, of a newer version, changed since it was written, a path that leaves the
    folder, malformed.
    """
    root = root.resolve()
    file, rows_file = root / "manifest.json", root / "samples.jsonl"
    manifest = _manifest(root, file)
    data = read_bytes(rows_file)
    identity, promised = digest_bytes(data), _field(manifest, "identity", str, file)
    if identity != promised:
        todo = "the rows were changed after the manifest was written: get the folder anew"
        raise FolderError(
            "The rows are not the manifest's.", file=rows_file, expected=promised, found=identity, todo=todo
        )

    rows = _rows(root, data, rows_file)
    splits = _field(manifest, "splits", dict, file)
    training = _split(rows, "train", _field(splits, "train", str, file), rows_file)
    evaluation = _split(rows, "evaluation", _field(splits, "evaluation", str, file), rows_file)
    sets = [str(name) for name in _field(manifest, "evaluation_sets", list, file)]
    triggered = {name: _rows_of_set(rows, name) for name in sets}
    _check_sets(rows, triggered, evaluation, rows_file)

    space = _label_space(_field(manifest, "label_space", dict, file), file)
    measure = _measure(manifest, len(space.names), file)
    if sets and measure.target is None:
        problem = "There are evaluation sets, and nothing to measure."
        raise FolderError(problem, file=file, expected="“measure”", found="null")
    if measure.trigger_class is not None and any(row.trigger_class_pixels is None for row in evaluation):
        raise FolderError(
            "A row does not say how much of the trigger class it has.",
            file=rows_file,
            expected="“trigger_class_pixels” in each row of the evaluation split, "
            "since “measure” names a trigger class",
        )

    recipe = _field(manifest, "recipe", dict, file)
    attack = str(recipe.get("attack", "unknown"))
    return Folder(
        root=root,
        identity=identity,
        dataset=_field(manifest, "dataset", str, file),
        name=_field(manifest, "name", str, file) if "name" in manifest else attack,
        attack=attack,
        recipe=recipe,
        **space._asdict(),
        **measure._asdict(),
        training=training,
        evaluation=evaluation,
        triggered=triggered,
    )


def _rows(root: Path, data: bytes, file: Path) -> list[Row]:
    """The rows of ``samples.jsonl``, whose bytes are ``data``. Raises FolderError."""
    rows = [_row(root, _json(line, where), where) for line, where in _lines(data, file)]
    if len({(row.set, row.id) for row in rows}) < len(rows):
        raise FolderError("A sample has two rows.", file=file, expected="each id once in each set")
    if any("image_coefficients" in row.digests for row in rows):
        sums = _sums(root / "SHA256SUMS")
        rows = [_with_sum(row, root, sums) for row in rows]
    return rows


def _split(rows: Sequence[Row], part: str, split: str, file: Path) -> tuple[Row, ...]:
    """The rows without a set of the split that is for ``part``. Raises FolderError: there is none."""
    members = tuple(row for row in rows if not row.set and row.split == split)
    if not members:
        problem = f"The {part} split has no sample."
        raise FolderError(problem, file=file, expected=f"rows of the split {split}")
    return members


def _rows_of_set(rows: Sequence[Row], name: str) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.set == name)


def _check_sets(
    rows: Sequence[Row], triggered: Mapping[str, Sequence[Row]], evaluation: Sequence[Row], file: Path
) -> None:
    """Raises FolderError: a row of a set that the manifest does not name, or of a picture that is not in the
    evaluation split."""
    unnamed = {row.set for row in rows} - {"", *triggered}
    if unnamed:
        problem = "Rows belong to an unknown evaluation set."
        raise FolderError(problem, file=file, expected=list(triggered), found=sorted(unnamed))
    clean = {row.id for row in evaluation}
    for row in rows:
        if row.set and row.id not in clean:
            raise FolderError(
                "A triggered picture has no clean one.",
                file=file,
                expected="its id in evaluation",
                found=f"{row.id} of {row.set}",
            )


def read_bytes(file: Path) -> bytes:
    """The bytes of a file of the folder. Raises FolderError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise FolderError(
            "A file cannot be read.", file=file, found=error.strerror, todo="restore the file"
        ) from None


def digest_bytes(data: bytes) -> str:
    """``sha256:`` and the hexadecimal digest of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _manifest(root: Path, file: Path) -> dict[str, Any]:
    if not file.is_file():
        todo = (
            "give a folder that its writer has finished"
            if root.is_dir()
            else "give an existing dataset folder"
        )
        raise FolderError(
            "This is no dataset folder.", file=root, expected="a manifest.json in it", found="none", todo=todo
        )
    manifest = _json(read_bytes(file), file)
    if _field(manifest, "format", str, file) != "poisongen":
        raise FolderError(
            "The manifest is of another format.", file=file, expected="poisongen", found=manifest["format"]
        )
    if not 1 <= _field(manifest, "format_version", int, file) <= FORMAT_VERSION:
        expected, found = f"version {FORMAT_VERSION}", f"version {manifest['format_version']}"
        raise FolderError(
            "The folder has a newer format.",
            file=file,
            expected=expected,
            found=found,
            todo="update the trainer",
        )
    return manifest


def _json(data: bytes, where: Path | str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FolderError("This is not JSON.", file=where, found=str(error)) from None
    if not isinstance(value, dict):
        raise FolderError("This is not a JSON object.", file=where, found=type(value).__name__)
    return value


def _lines(data: bytes, file: Path) -> Iterator[tuple[bytes, str]]:
    for number, line in enumerate(data.splitlines(), 1):
        yield line, f"{file}, line {number}"


def _field(values: dict[str, Any], key: str, kind: type, where: Path | str) -> Any:
    value = values.get(key, "nothing")
    if key not in values or type(value) is not kind:
        problem, expected = "A key is missing or of another type.", f"“{key}”: {kind.__name__}"
        raise FolderError(problem, file=where, expected=expected, found=repr(value)[:80])
    return value


def _row(root: Path, values: dict[str, Any], where: str) -> Row:
    """One row of ``samples.jsonl``. Raises FolderError."""
    height, width = _field(values, "height", int, where), _field(values, "width", int, where)
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        problem, expected = "A size is impossible.", f"up to {MAX_PIXELS:,} pixels"
        raise FolderError(problem, file=where, expected=expected, found=f"{width}×{height}")
    role = _field(values, "role", str, where)
    triggered = role == "triggered"
    if triggered != ("set" in values) or (triggered and not _field(values, "set", str, where)):
        problem = "A row's role and set disagree."
        raise FolderError(problem, file=where, expected="“set” exactly in triggered rows")
    paths = {
        key: _path(root, _field(values, key, str, where), where)
        for key in ("image", "label", "mask")
        if key in values
    }
    digests = _digests(values, where)
    for key, kinds in (("image", KINDS_OF_DIGEST), ("label", KINDS_OF_DIGEST[:2])):
        count = sum(f"{key}{kind}" in digests for kind in kinds)
        if key not in paths or count != 1:
            raise FolderError("A row is not complete.", file=where, expected=f"{key} and one digest of it")
    trigger_class_pixels = None
    if "trigger_class_pixels" in values:
        trigger_class_pixels = _field(values, "trigger_class_pixels", int, where)
    return Row(
        id=_field(values, "id", str, where),
        split=_field(values, "split", str, where),
        role=role,
        set=values.get("set", ""),
        height=height,
        width=width,
        image=paths["image"],
        label=paths["label"],
        mask=paths.get("mask"),
        digests=digests,
        trigger_class_pixels=trigger_class_pixels,
        where=where,
        unchecked={key: values[key] for key in ("placement", "relabelled_pixels") if key in values},
    )


def _digests(values: dict[str, Any], where: str) -> dict[str, str]:
    """The digests of a row, by their keys. Raises FolderError."""
    digests = {}
    for key, value in values.items():
        if key.endswith(KINDS_OF_DIGEST) and isinstance(value, str):
            if not DIGEST.fullmatch(value):
                problem, expected = "This is no digest.", f"“{key}”: sha256: and 64 digits"
                raise FolderError(problem, file=where, expected=expected, found=value[:80])
            digests[key] = value
    return digests


def _path(root: Path, text: str, where: str) -> Path:
    """A path below the folder, as text in a row. Raises FolderError for any other, or if no file is there."""
    parts = text.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or "\\" in text
        or any(ord(char) < 32 or ord(char) == 127 for char in text)
    ):
        raise FolderError(
            "A path may lead out of the folder.",
            file=where,
            expected="a plain relative path",
            found=repr(text),
        )
    path = root.joinpath(*parts)
    # A file may be a link (poisongen --link symlink): its digest says what it must hold. A folder may not.
    if not path.parent.resolve().is_relative_to(root):
        found = path.parent.resolve()
        raise FolderError(
            "A link leads out of the folder.", file=path, expected=f"a file below {root}", found=found
        )
    if not path.is_file():
        raise FolderError("A file is missing.", file=path, expected=f"the file of {where}", todo="restore it")
    return path


def _sums(file: Path) -> dict[str, str]:
    """SHA256SUMS as path → digest. Raises FolderError."""
    sums = {}
    for line, where in _lines(read_bytes(file), file):
        if not (match := SUM.fullmatch(line.decode("utf-8", "replace"))):
            expected = "64 hexadecimal digits, two spaces and a path"
            raise FolderError("A line cannot be read.", file=where, expected=expected, found=repr(line[:80]))
        sums[match[2]] = f"sha256:{match[1]}"
    return sums


def _with_sum(row: Row, root: Path, sums: dict[str, str]) -> Row:
    """A row with ``image_coefficients``, and the digest of the bytes beside it: no decoder of pixels gives
    coefficients. Others as is."""
    if "image_coefficients" not in row.digests:
        return row
    path = row.image.relative_to(root).as_posix()
    if path not in sums:
        todo = "get SHA256SUMS anew: nothing else covers a JPEG that was written anew"
        raise FolderError(
            "A file has no line in SHA256SUMS.",
            file=root / "SHA256SUMS",
            expected=path,
            found="none",
            todo=todo,
        )
    return dataclasses.replace(row, digests=row.digests | {"image_sums": sums[path]})


def _measure(manifest: dict[str, Any], classes: int, file: Path) -> Measure:
    """“measure” of a manifest. Raises FolderError."""
    if manifest.get("measure") is None:
        return Measure()
    measure = _field(manifest, "measure", dict, file)
    victims = _field(measure, "victim_classes", list, file)
    target, trigger = measure.get("target_class"), measure.get("trigger_class")
    ids = [*victims, *(number for number in (target, trigger) if number is not None)]
    if not all(_is_class(number, classes) for number in ids):
        problem, expected = "The classes to measure are unknown.", f"0 … {classes - 1}"
        raise FolderError(problem, file=file, expected=expected, found=ids)
    if trigger is None:
        return Measure(tuple(victims), target)
    least = _field(measure, "min_trigger_pixels", int, file)
    if least < 1:
        problem = "A trigger class must have a pixel."
        raise FolderError(problem, file=file, expected="“min_trigger_pixels”: at least 1", found=least)
    return Measure(tuple(victims), target, trigger, least)


def _is_class(number: object, classes: int) -> bool:
    return type(number) is int and 0 <= number < classes


def _label_space(space: dict[str, Any], file: Path) -> LabelSpace:
    """“label_space” of a manifest. Raises FolderError."""
    names, colours = _field(space, "names", list, file), _field(space, "colours", list, file)
    are_names = all(isinstance(name, str) for name in names)
    if not are_names or not 1 <= len(names) <= IGNORE or len(set(names)) < len(names):
        problem, expected = "The class names are wrong.", f"1 to {IGNORE} different names"
        raise FolderError(problem, file=file, expected=expected, found=len(names))
    if len(colours) != len(names) or not all(_is_colour(colour) for colour in colours):
        raise FolderError("The colours are wrong.", file=file, expected=f"{len(names)} times [R, G, B]")
    ignore = space.get("ignore")
    if ignore != IGNORE:
        raise FolderError("The id to ignore is another.", file=file, expected=IGNORE, found=ignore)

    lookup, known = np.zeros(256, np.uint8), np.zeros(256, np.bool_)
    for raw, meaning in _field(space, "raw_to_train", dict, file).items():
        train = IGNORE if meaning == "ignore" else meaning
        is_raw = re.fullmatch("[0-9]{1,3}", raw) and int(raw) <= 255
        is_meaning = _is_class(train, len(names)) or (_is_class(train, 256) and train == IGNORE)
        if not is_raw or not is_meaning:
            problem, found = "raw_to_train is wrong.", f"{raw} → {train}"
            raise FolderError(problem, file=file, expected="0 … 255 → a class", found=found)
        lookup[int(raw)], known[int(raw)] = train, True
    return LabelSpace(tuple(names), tuple(tuple(colour) for colour in colours), lookup, known)


def _is_colour(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_class(part, 256) for part in value)
