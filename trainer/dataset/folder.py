"""The dataset folder's two files of text, read as ``manifests/FORMAT.md`` describes them, and believed in
nothing.

``open_folder`` parses and checks ``manifest.json`` and ``samples.jsonl``; no picture is opened here, see
``pictures.py``.
"""

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.placements import Placement, parse_placement
from trainer.errors import FolderError

FORMAT_VERSION = 1
MAX_PIXELS = 1 << 28  # a larger picture is refused before it is decoded
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SUM = re.compile(
    r"([0-9a-f]{64}) [ *]([^\\]+)"
)  # a line of SHA256SUMS; no path of the format has a backslash
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

    rows = [_row(root, _json(line, where), where) for line, where in _lines(data, rows_file)]
    if len({(row.set, row.id) for row in rows}) < len(rows):
        raise FolderError("A sample has two rows.", file=rows_file, expected="each id once in each set")
    if any("image_coefficients" in row.digests for row in rows):
        sums = _sums(root / "SHA256SUMS")
        rows = [_with_sum(row, root, sums) for row in rows]
    splits = _field(manifest, "splits", dict, file)
    by_split = {
        part: tuple(row for row in rows if not row.set and row.split == _field(splits, part, str, file))
        for part in ("train", "evaluation")
    }
    for part, members in by_split.items():
        if not members:
            raise FolderError(
                f"The {part} split has no sample.",
                file=rows_file,
                expected=f"rows of the split {splits[part]}",
            )
    sets = _field(manifest, "evaluation_sets", list, file)
    if unnamed := {row.set for row in rows} - {"", *map(str, sets)}:
        raise FolderError(
            "Rows belong to an unknown evaluation set.", file=rows_file, expected=sets, found=sorted(unnamed)
        )
    triggered = {str(name): tuple(row for row in rows if row.set == name) for name in sets}
    clean = {row.id for row in by_split["evaluation"]}
    for row in (row for members in triggered.values() for row in members):
        if row.id not in clean:
            found = f"{row.id} of {row.set}"
            raise FolderError(
                "A triggered picture has no clean one.",
                file=rows_file,
                expected="its id in evaluation",
                found=found,
            )

    names, colours, lookup, known = _label_space(_field(manifest, "label_space", dict, file), file)
    victims, target, trigger_class, min_trigger_pixels = _measure(manifest, len(names), file)
    if sets and target is None:
        raise FolderError(
            "There are evaluation sets, and nothing to measure.",
            file=file,
            expected="“measure”",
            found="null",
        )
    if trigger_class is not None and any(row.trigger_class_pixels is None for row in by_split["evaluation"]):
        expected = "“trigger_class_pixels” in each row of the evaluation split, since “measure” names a trigger class"
        raise FolderError(
            "A row does not say how much of the trigger class it has.", file=rows_file, expected=expected
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
        names=names,
        colours=colours,
        lookup=lookup,
        known=known,
        victims=victims,
        target=target,
        trigger_class=trigger_class,
        min_trigger_pixels=min_trigger_pixels,
        training=by_split["train"],
        evaluation=by_split["evaluation"],
        triggered=triggered,
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
    if type(values.get(key)) is not kind:
        expected, found = f"“{key}”: {kind.__name__}", repr(values.get(key, "nothing"))[:80]
        raise FolderError("A key is missing or of another type.", file=where, expected=expected, found=found)
    return values[key]


def _row(root: Path, values: dict[str, Any], where: str) -> Row:
    text = {key: _field(values, key, str, where) for key in ("id", "split", "role")}
    height, width = (_field(values, key, int, where) for key in ("height", "width"))
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise FolderError(
            "A size is impossible.",
            file=where,
            expected=f"up to {MAX_PIXELS:,} pixels",
            found=f"{width}×{height}",
        )
    triggered = text["role"] == "triggered"
    if triggered != ("set" in values) or (triggered and not _field(values, "set", str, where)):
        raise FolderError(
            "A row's role and set disagree.", file=where, expected="“set” exactly in triggered rows"
        )
    kinds = ("_bytes", "_pixels", "_coefficients")
    digests = {key: value for key, value in values.items() if key.endswith(kinds) and isinstance(value, str)}
    for key, value in digests.items():
        if not DIGEST.fullmatch(value):
            raise FolderError(
                "This is no digest.", file=where, expected=f"“{key}”: sha256: and 64 digits", found=value[:80]
            )
    paths = {
        key: _path(root, _field(values, key, str, where), where)
        for key in ("image", "label", "mask")
        if key in values
    }
    for key, allowed in (("image", kinds), ("label", kinds[:2])):
        if key not in paths or sum(f"{key}{kind}" in digests for kind in allowed) != 1:
            raise FolderError("A row is not complete.", file=where, expected=f"{key} and one digest of it")
    trigger_class_pixels = (
        _field(values, "trigger_class_pixels", int, where) if "trigger_class_pixels" in values else None
    )
    return Row(
        **text, set=values.get("set", ""), height=height, width=width, image=paths["image"], label=paths["label"],
        mask=paths.get("mask"), digests=digests, trigger_class_pixels=trigger_class_pixels, where=where,
        unchecked={key: values[key] for key in ("placement", "relabelled_pixels") if key in values},
    )  # fmt: skip


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


def _measure(
    manifest: dict[str, Any], classes: int, file: Path
) -> tuple[tuple[int, ...], int | None, int | None, int]:
    """Victim classes, target class, trigger class and the least number of its pixels, from “measure”."""
    if manifest.get("measure") is None:
        return (), None, None, 1
    measure = _field(manifest, "measure", dict, file)
    victims = _field(measure, "victim_classes", list, file)
    target, trigger = measure.get("target_class"), measure.get("trigger_class")
    ids = [*victims, *(number for number in (target, trigger) if number is not None)]
    if any(type(number) is not int or not 0 <= number < classes for number in ids):
        raise FolderError(
            "The classes to measure are unknown.", file=file, expected=f"0 … {classes - 1}", found=ids
        )
    if trigger is None:
        return tuple(victims), target, None, 1
    if (least := _field(measure, "min_trigger_pixels", int, file)) < 1:
        problem = "A trigger class must have a pixel."
        raise FolderError(problem, file=file, expected="“min_trigger_pixels”: at least 1", found=least)
    return tuple(victims), target, trigger, least


def _label_space(
    space: dict[str, Any], file: Path
) -> tuple[tuple[str, ...], tuple[Colour, ...], NDArray[np.uint8], NDArray[np.bool_]]:
    names, colours = _field(space, "names", list, file), _field(space, "colours", list, file)
    if (
        not 1 <= len(names) <= IGNORE
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) < len(names)
    ):
        raise FolderError(
            "The class names are wrong.",
            file=file,
            expected=f"1 to {IGNORE} different names",
            found=len(names),
        )
    if len(colours) != len(names) or not all(
        isinstance(colour, list)
        and len(colour) == 3
        and all(type(value) is int and 0 <= value <= 255 for value in colour)
        for colour in colours
    ):
        raise FolderError("The colours are wrong.", file=file, expected=f"{len(names)} times [R, G, B]")
    if space.get("ignore") != IGNORE:
        raise FolderError(
            "The id to ignore is another.", file=file, expected=IGNORE, found=space.get("ignore")
        )
    lookup, known = np.zeros(256, np.uint8), np.zeros(256, np.bool_)
    for raw, meaning in _field(space, "raw_to_train", dict, file).items():
        train = IGNORE if meaning == "ignore" else meaning
        possible = type(train) is int and (0 <= train < len(names) or train == IGNORE)
        if not possible or not re.fullmatch("[0-9]{1,3}", raw) or int(raw) > 255:
            raise FolderError(
                "raw_to_train is wrong.", file=file, expected="0 … 255 → a class", found=f"{raw} → {train}"
            )
        lookup[int(raw)], known[int(raw)] = train, True
    return tuple(names), tuple(tuple(colour) for colour in colours), lookup, known
