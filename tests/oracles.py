"""The format and the laws once more, slowly: written from ``manifests/FORMAT.md`` and the papers, with nothing of the generator."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

IGNORE = 255
CITYSCAPES_RAW = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14} | {
    28: 15,
    31: 16,
    32: 17,
    33: 18,
}
CAMVID_RAW = {raw: raw for raw in range(11)}

Array = NDArray[Any]


def pixels(path: Path) -> Array:
    """A PNG as Pillow reads it."""
    with Image.open(path) as picture:
        return np.array(picture)


def save(path: Path, array: Array) -> None:
    """Write a PNG with Pillow; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, compress_level=1)


def bytes_digest(data: bytes) -> str:
    """``…_bytes`` of the format."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def pixels_digest(array: Array) -> str:
    """``…_pixels`` of the format."""
    shape = "x".join(str(side) for side in array.shape)
    return bytes_digest(f"uint8 {shape}\n".encode("ascii") + array.astype(np.uint8).tobytes(order="C"))


def line(row: Any) -> str:
    """One canonical line of ``samples.jsonl``."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


def rows(folder: Path) -> list[dict[str, Any]]:
    """``samples.jsonl``."""
    return [json.loads(one) for one in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def manifest(folder: Path) -> dict[str, Any]:
    """``manifest.json``."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def files(folder: Path) -> set[str]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def tree(folder: Path) -> dict[str, str]:
    """Path → digest of every file below a folder, and the names of folders: what must not change when a command is refused."""

    def content(path: Path) -> str:
        if path.is_dir():
            return "folder"
        return bytes_digest(path.read_bytes()) if path.exists() else "dead link"

    return {path.relative_to(folder).as_posix(): content(path) for path in sorted(folder.rglob("*"))}


def to_train(raw: Array, table: dict[int, int]) -> Array:
    """Raw ids as training ids, one class at a time."""
    train = np.full(raw.shape, IGNORE, np.uint8)
    for one, mapped in table.items():
        train[raw == one] = mapped
    return train


def components(train: Array, victims: tuple[int, ...]) -> Array:
    """A number above 0 for each 4-connected component of each class that may carry a trigger, 0 elsewhere."""
    numbered, used = np.zeros(train.shape, np.int64), 0
    for value in np.unique(train):
        if value not in (*victims, IGNORE):
            found, count = ndimage.label(train == value)
            numbered[found > 0] = found[found > 0] + used
            used += count
    return numbered


def room(train: Array, victims: tuple[int, ...], covered: Array) -> Array:
    """The allowed reference points: every covered pixel at every position is compared with the first one."""
    numbered = components(train, victims)
    (height, width), (rows_, columns) = train.shape, covered.shape
    allowed = np.zeros(train.shape, bool)
    if rows_ > height or columns > width:
        return allowed
    tall, wide = height - rows_ + 1, width - columns + 1
    offsets = np.argwhere(covered)
    first = numbered[offsets[0][0] : offsets[0][0] + tall, offsets[0][1] : offsets[0][1] + wide]
    fits = first > 0
    for y, x in offsets:
        fits = fits & (numbered[y : y + tall, x : x + wide] == first)
    allowed[rows_ // 2 : rows_ // 2 + tall, columns // 2 : columns // 2 + wide] = fits
    return allowed


def squared_distance(victim: Array) -> Array:
    """Squared Euclidean distance of every pixel to the nearest victim pixel, from the offsets of SciPy's transform: exact."""
    indices = ndimage.distance_transform_edt(~victim, return_distances=False, return_indices=True)
    grid = np.indices(victim.shape)
    return ((grid - indices) ** 2).sum(axis=0)


def chebyshev_distance(victim: Array) -> Array:
    """Chebyshev distance of every pixel to the nearest victim pixel."""
    return ndimage.distance_transform_cdt(~victim, metric="chessboard")


def inside_margin(shape: tuple[int, int], margin: int) -> Array:
    """Pixels with at least ``margin`` further pixels between them and the outside on each side."""
    y, x = np.indices(shape)
    return (y >= margin) & (x >= margin) & (shape[0] - 1 - y >= margin) & (shape[1] - 1 - x >= margin)


def area_average(art: Array, size: tuple[int, int]) -> Array:
    """A picture shrunk by averaging the area under each new pixel, in floating point."""

    def weights(new: int, old: int) -> Array:
        edges = np.arange(new + 1) * old / new
        cells = np.arange(old)
        overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
        return np.clip(overlap, 0, None) * new / old

    down, across = weights(size[0], art.shape[0]), weights(size[1], art.shape[1])
    return np.einsum("ya,xb,abc->yxc", down, across, art.astype(float))
