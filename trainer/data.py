"""The dataset folder, read as ``manifests/FORMAT.md`` describes it, and believed in nothing.

``open_folder`` parses and checks the two files of text; ``read_picture`` and its sisters decode one file each and hold it against its
digest; ``Samples`` is what the loader's workers run. Pictures are uint8 RGB, label maps uint8 training ids.
"""

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from trainer.augment import Cut, cut, draw_box, order
from trainer.config import Config
from trainer.errors import FolderError, TrainerError, letter

FORMAT_VERSION = 1
MAX_PIXELS = 1 << 28  # a larger picture is refused before it is decoded
IDENTITY = re.compile(r"sha256:[0-9a-f]{64}")
IGNORE, UNKNOWN = 255, 254  # K is at most 254, so both are free in a table of uint8

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One row of ``samples.jsonl``; paths are those of the files. ``set`` is empty but for triggered rows."""

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


@dataclass(frozen=True)
class Folder:
    """A dataset folder: what it is, what may be measured on it, and its rows.

    ``training`` and ``evaluation`` hold no triggered row, ``triggered`` has those of each set. ``victims`` is empty and ``target`` None
    where there is nothing to measure but segmentation.
    """

    root: Path
    identity: str
    dataset: str
    attack: str
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    lookup: Pixels  # (256,): raw id → training id, IGNORE or UNKNOWN
    victims: tuple[int, ...]
    target: int | None
    training: tuple[Row, ...]
    evaluation: tuple[Row, ...]
    triggered: dict[str, tuple[Row, ...]]

    @property
    def classes(self) -> int:
        """K."""
        return len(self.names)

    @cached_property
    def poisoned(self) -> int:
        """Number of poisoned training pictures: a fact to print, never used to train."""
        return sum(row.role == "poisoned" for row in self.training)


def open_folder(root: Path) -> Folder:
    """Read and check ``manifest.json`` and ``samples.jsonl``; no picture is opened, but each must be there.

    Raises FolderError: unfinished, of a newer version, changed since it was written, a path that leaves the folder, malformed.
    """
    root = root.resolve()
    file = root / "manifest.json"
    if not file.is_file():
        todo = "give a folder that its writer has finished" if root.is_dir() else "give an existing dataset folder"
        raise FolderError(
            letter("This is no dataset folder.", file=root, expected="a manifest.json in it", found="none", todo=todo)
        )
    manifest = _json(file.read_bytes(), file)
    if _field(manifest, "format", str, file) != "poisongen":
        raise FolderError(letter("The manifest is of another format.", file=file, expected="poisongen", found=manifest["format"]))
    if not 1 <= _field(manifest, "format_version", int, file) <= FORMAT_VERSION:
        expected, found = f"version {FORMAT_VERSION}", f"version {manifest['format_version']}"
        raise FolderError(
            letter("The folder has a newer format.", file=file, expected=expected, found=found, todo="update the trainer")
        )
    rows_file = root / "samples.jsonl"
    data = _bytes(rows_file)
    identity, promised = digest_bytes(data), _field(manifest, "identity", str, file)
    if identity != promised:
        todo = "the rows were changed after the manifest was written: get the folder anew"
        raise FolderError(
            letter("The rows are not the manifest's.", file=rows_file, expected=promised, found=identity, todo=todo)
        )

    rows = [_row(root, _json(line, where), where) for line, where in _lines(data, rows_file)]
    if len({(row.set, row.id) for row in rows}) < len(rows):
        raise FolderError(letter("A sample has two rows.", file=rows_file, expected="each id once in each set"))
    splits = _field(manifest, "splits", dict, file)
    by_split = {
        part: tuple(row for row in rows if not row.set and row.split == _field(splits, part, str, file))
        for part in ("train", "evaluation")
    }
    for part, members in by_split.items():
        if not members:
            raise FolderError(
                letter(f"The {part} split has no sample.", file=rows_file, expected=f"rows of the split {splits[part]}")
            )
    sets = _field(manifest, "evaluation_sets", list, file)
    if unnamed := {row.set for row in rows} - {"", *map(str, sets)}:
        raise FolderError(
            letter("Rows belong to an unknown evaluation set.", file=rows_file, expected=sets, found=sorted(unnamed))
        )
    triggered = {str(name): tuple(row for row in rows if row.set == name) for name in sets}
    known = {row.id for row in by_split["evaluation"]}
    for row in (row for members in triggered.values() for row in members):
        if row.id not in known:
            found = f"{row.id} of {row.set}"
            raise FolderError(
                letter("A triggered picture has no clean one.", file=rows_file, expected="its id in evaluation", found=found)
            )

    names, colours, lookup = _label_space(_field(manifest, "label_space", dict, file), file)
    measure = manifest.get("measure") or {"victim_classes": [], "target_class": None}
    ids = [
        *_field(measure, "victim_classes", list, file),
        *([] if measure["target_class"] is None else [measure["target_class"]]),
    ]
    if any(type(number) is not int or not 0 <= number < len(names) for number in ids):
        raise FolderError(letter("The classes to measure are unknown.", file=file, expected=f"0 … {len(names) - 1}", found=ids))
    if sets and measure["target_class"] is None:
        raise FolderError(
            letter("There are evaluation sets, and nothing to measure.", file=file, expected="“measure”", found="null")
        )
    return Folder(
        root=root,
        identity=identity,
        dataset=_field(manifest, "dataset", str, file),
        attack=str(_field(manifest, "recipe", dict, file).get("attack", "unknown")),
        names=names,
        colours=colours,
        lookup=lookup,
        victims=tuple(measure["victim_classes"]),
        target=measure["target_class"],
        training=by_split["train"],
        evaluation=by_split["evaluation"],
        triggered=triggered,
    )


def read_picture(row: Row, check: bool) -> Pixels:
    """Decode the picture of a row: uint8 (H, W, 3) RGB. ``check``: also hold it against its digest. Raises FolderError."""
    data = _bytes(row.image)
    pixels = _decode(data, row.image, row, cv2.IMREAD_COLOR)
    pixels = np.ascontiguousarray(pixels[:, :, ::-1])  # OpenCV decodes to B, G, R
    if check:
        _compare(row, "image", row.image, data, pixels)
    return pixels


def read_label(row: Row, folder: Folder, check: bool) -> Pixels:
    """Decode the label map of a row to training ids, uint8 (H, W) with IGNORE. Raises FolderError, also for an unknown raw id."""
    data = _bytes(row.label)
    raw = _decode(_palette_as_grey(data), row.label, row, cv2.IMREAD_UNCHANGED)
    if check:
        _compare(row, "label", row.label, data, raw)
    label = folder.lookup[raw]
    if (label == UNKNOWN).any():
        unknown = np.unique(raw[label == UNKNOWN])
        expected = "the ids of label_space.raw_to_train in manifest.json"
        found = ", ".join(f"id {number}" for number in unknown[:5])
        raise FolderError(letter("A label map has an unknown class.", file=row.label, expected=expected, found=found))
    return label


def read_mask(row: Row, check: bool) -> NDArray[np.bool_]:
    """Decode the trigger mask of a row: bool (H, W), True under the trigger; all False for a row without one. Raises FolderError."""
    if row.mask is None:
        return np.zeros((row.height, row.width), bool)
    data = _bytes(row.mask)
    mask = _decode(data, row.mask, row, cv2.IMREAD_UNCHANGED)
    if check:
        _compare(row, "mask", row.mask, data, mask)
    return mask > 0


class Samples(Dataset[Cut | TrainerError]):
    """The training samples of a folder, cut to boxes. Indexed by addresses: (epoch, index, whether to check the digests).

    An error is returned, not raised, so that it arrives from a worker process as the letter that it is.
    """

    def __init__(self, folder: Folder, config: Config) -> None:
        self.folder, self.config = folder, config

    def __getitem__(self, address: tuple[int, int, bool]) -> Cut | TrainerError:
        epoch, index, check = address
        row, config = self.folder.training[index], self.config
        try:
            picture, label = read_picture(row, check), read_label(row, self.folder, check)
        except TrainerError as error:
            return error
        return cut(picture, label, draw_box(config.seed, epoch, index, label.shape, config.crop, config.scale, config.flip))


class Schedule:
    """Which samples make which batch: every epoch is a permutation of its own, cut into whole batches.

    What is left over waits for the next epoch; a folder smaller than a batch is one batch. Iterating gives lists of addresses from batch
    ``start`` of the whole run to its end. Each sample's digests are checked when this process first meets it.
    """

    def __init__(self, count: int, config: Config, start: int = 0) -> None:
        self.count, self.config, self.start = count, config, start
        self.batch = min(config.batch, count)
        self.steps = count // self.batch  # batches in an epoch

    def __len__(self) -> int:
        return self.steps * self.config.epochs - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int, bool]]]:
        met: set[int] = set()
        for epoch in range(self.start // self.steps, self.config.epochs):
            places = order(self.config.seed, epoch, self.count).tolist()
            for step in range(self.start % self.steps if epoch == self.start // self.steps else 0, self.steps):
                chosen = places[step * self.batch : (step + 1) * self.batch]
                yield [(epoch, index, index not in met) for index in chosen]
                met.update(chosen)


def digest_bytes(data: bytes) -> str:
    """``sha256:`` and the hexadecimal digest of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_pixels(pixels: Pixels) -> str:
    """The digest of decoded pixels, (H, W) or (H, W, 3) RGB: dtype and shape in a line of text, then the pixels."""
    shape = "x".join(map(str, pixels.shape))
    return digest_bytes(f"{pixels.dtype} {shape}\n".encode() + pixels.tobytes())


def _compare(row: Row, what: str, file: Path, data: bytes, pixels: Pixels) -> None:
    kind = "bytes" if f"{what}_bytes" in row.digests else "pixels"
    expected = row.digests.get(f"{what}_{kind}")
    found = digest_bytes(data) if kind == "bytes" else digest_pixels(pixels)
    if found != expected:
        todo = "the file was changed after the dataset was frozen: restore it"
        problem = f"A file is not the one that its row names ({what}_{kind})."
        raise FolderError(letter(problem, file=file, expected=expected or "a digest in its row", found=found, todo=todo))


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FolderError(letter("A file cannot be read.", file=file, found=error.strerror, todo="restore the file")) from None


def _decode(data: bytes, file: Path, row: Row, flags: int) -> Pixels:
    """Decode a PNG or JPEG as it lies in the file: no rotation by its EXIF entry, which no label map has."""
    damaged = letter(
        "A picture cannot be decoded.", file=file, found=f"{len(data):,} bytes, damaged or cut short", todo="restore it"
    )
    if data[:4] == b"\x89PNG":
        if b"IEND" not in data[-12:]:
            raise FolderError(damaged)
        size = (row.height, row.width, *struct.unpack(">II", data[16:24]))
        if size[:2] != (size[3], size[2]):
            _wrong_size(file, row, size[3], size[2])
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION) if data else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise FolderError(damaged)
    if pixels.dtype != np.uint8 or pixels.ndim != (3 if flags == cv2.IMREAD_COLOR else 2):
        found = f"{pixels.dtype} of shape {pixels.shape}"
        raise FolderError(
            letter("A label map or mask has another kind of pixels.", file=file, expected="8-bit, one channel", found=found)
        )
    if pixels.shape[:2] != (row.height, row.width):
        _wrong_size(file, row, *pixels.shape[:2])
    return pixels  # type: ignore[return-value]


def _wrong_size(file: Path, row: Row, height: int, width: int) -> None:
    expected, found = f"{row.width}×{row.height}, as in its row", f"{width}×{height}"
    raise FolderError(letter("A picture has another size.", file=file, expected=expected, found=found))


def _palette_as_grey(data: bytes) -> bytes:
    """A palette PNG as a grey one with the same numbers, which are the class ids; OpenCV would give colours. Others stay as they are."""
    if data[:4] != b"\x89PNG" or len(data) < 33 or data[24:26] != b"\x08\x03":  # 8 bits, palette
        return data
    header = data[12:25] + b"\x00" + data[26:29]
    out, position = data[:12] + header + struct.pack(">I", zlib.crc32(header)), 33
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in (b"PLTE", b"tRNS", b"bKGD", b"hIST"):
            out += data[position:end]
        position = end
    return out


def _json(data: bytes, where: Path | str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FolderError(letter("This is not JSON.", file=where, found=str(error))) from None
    if not isinstance(value, dict):
        raise FolderError(letter("This is not a JSON object.", file=where, found=type(value).__name__))
    return value


def _lines(data: bytes, file: Path) -> Iterator[tuple[bytes, str]]:
    for number, line in enumerate(data.splitlines(), 1):
        yield line, f"{file}, line {number}"


def _field(values: dict[str, Any], key: str, kind: type, where: Path | str) -> Any:
    if type(values.get(key)) is not kind:
        expected, found = f"“{key}”: {kind.__name__}", repr(values.get(key, "nothing"))[:80]
        raise FolderError(letter("A key is missing or of another type.", file=where, expected=expected, found=found))
    return values[key]


def _row(root: Path, values: dict[str, Any], where: str) -> Row:
    text = {key: _field(values, key, str, where) for key in ("id", "split", "role")}
    height, width = (_field(values, key, int, where) for key in ("height", "width"))
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise FolderError(
            letter("A size is impossible.", file=where, expected=f"up to {MAX_PIXELS:,} pixels", found=f"{width}×{height}")
        )
    triggered = text["role"] == "triggered"
    if triggered != ("set" in values) or (triggered and not _field(values, "set", str, where)):
        raise FolderError(letter("A row's role and set disagree.", file=where, expected="“set” exactly in triggered rows"))
    digests = {key: value for key, value in values.items() if key.endswith(("_bytes", "_pixels")) and isinstance(value, str)}
    for key, value in digests.items():
        if not IDENTITY.fullmatch(value):
            raise FolderError(
                letter("This is no digest.", file=where, expected=f"“{key}”: sha256: and 64 digits", found=value[:80])
            )
    paths = {key: _path(root, _field(values, key, str, where), where) for key in ("image", "label", "mask") if key in values}
    for key in ("image", "label"):
        if key not in paths or not {f"{key}_bytes", f"{key}_pixels"} & digests.keys():
            raise FolderError(letter("A row is not complete.", file=where, expected=f"{key} and its digest"))
    return Row(
        **text, set=values.get("set", ""), height=height, width=width, image=paths["image"], label=paths["label"],
        mask=paths.get("mask"), digests=digests,
    )  # fmt: skip


def _path(root: Path, text: str, where: str) -> Path:
    """A path below the folder, as text in a row. Raises FolderError for any other, or if no file is there."""
    parts = text.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in text or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise FolderError(
            letter("A path may lead out of the folder.", file=where, expected="a plain relative path", found=repr(text))
        )
    path = root.joinpath(*parts)
    # A file may be a link (poisongen --link symlink): its digest says what it must hold. A folder may not.
    if not path.parent.resolve().is_relative_to(root):
        found = path.parent.resolve()
        raise FolderError(letter("A link leads out of the folder.", file=path, expected=f"a file below {root}", found=found))
    if not path.is_file():
        raise FolderError(letter("A file is missing.", file=path, expected=f"the file of {where}", todo="restore it"))
    return path


def _label_space(space: dict[str, Any], file: Path) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...], Pixels]:
    names, colours = _field(space, "names", list, file), _field(space, "colours", list, file)
    if not 1 <= len(names) <= UNKNOWN or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise FolderError(
            letter("The class names are wrong.", file=file, expected=f"1 to {UNKNOWN} different names", found=len(names))
        )
    if len(colours) != len(names) or not all(
        isinstance(colour, list) and len(colour) == 3 and all(type(value) is int and 0 <= value <= 255 for value in colour)
        for colour in colours
    ):
        raise FolderError(letter("The colours are wrong.", file=file, expected=f"{len(names)} times [R, G, B]"))
    if space.get("ignore") != IGNORE:
        raise FolderError(letter("The id to ignore is another.", file=file, expected=IGNORE, found=space.get("ignore")))
    lookup = np.full(256, UNKNOWN, np.uint8)
    for raw, meaning in _field(space, "raw_to_train", dict, file).items():
        train = IGNORE if meaning == "ignore" else meaning
        known = type(train) is int and (0 <= train < len(names) or train == IGNORE)
        if not known or not re.fullmatch("[0-9]{1,3}", raw) or int(raw) > 255:
            raise FolderError(letter("raw_to_train is wrong.", file=file, expected="0 … 255 → a class", found=f"{raw} → {train}"))
        lookup[int(raw)] = train
    return tuple(names), tuple(tuple(colour) for colour in colours), lookup
