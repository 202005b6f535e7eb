"""The format and the laws once more, slowly: written from ``manifests/FORMAT.md`` and the papers, with
nothing of the generator."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import jpeglib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

IGNORE = 255
CITYSCAPES_RAW = {
    7: 0,
    8: 1,
    11: 2,
    12: 3,
    13: 4,
    17: 5,
    19: 6,
    20: 7,
    21: 8,
    22: 9,
    23: 10,
    24: 11,
    25: 12,
    26: 13,
    27: 14,
} | {
    28: 15,
    31: 16,
    32: 17,
    33: 18,
}
CAMVID_RAW = {raw: raw for raw in range(11)}

Array = NDArray[Any]


def pixels(path: Path) -> Array:
    """A picture as Pillow reads it; the indices of one with a palette."""
    with Image.open(path) as picture:
        return np.array(picture)


def rgb(path: Path) -> Array:
    """A picture as Pillow reads it, a grey one with three equal channels."""
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def rgba(path: Path) -> Array:
    """Trigger art as Pillow reads it."""
    with Image.open(path) as picture:
        return np.array(picture.convert("RGBA"))


def save(path: Path, array: Array, kind: str | None = None) -> None:
    """Write a PNG with Pillow, whatever the name's ending if ``kind`` says so; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, kind, compress_level=1)


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
    """Path → digest of every file below a folder, and the names of folders: what must not change when a
    command is refused."""

    def content(path: Path) -> str:
        if path.is_dir():
            return "folder"
        return bytes_digest(path.read_bytes()) if path.exists() else "dead link"

    return {path.relative_to(folder).as_posix(): content(path) for path in sorted(folder.rglob("*"))}


def reseal(folder: Path) -> None:
    """Make SHA256SUMS fit whatever lies in a folder."""
    names = sorted(files(folder) - {"SHA256SUMS"})
    lines = (f"{bytes_digest((folder / name).read_bytes())[7:]}  {name}\n" for name in names)
    (folder / "SHA256SUMS").write_text("".join(lines))


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
    """Squared Euclidean distance of every pixel to the nearest victim pixel, from the offsets of SciPy's
    transform: exact."""
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


def half_up(value: Fraction) -> int:
    """⌊value + ½⌋."""
    return int((value + Fraction(1, 2)).__floor__())


def length(text: str, height: int) -> int:
    """``110px`` or ``10.7%`` of the height in whole pixels."""
    return (
        int(text.removesuffix("px"))
        if text.endswith("px")
        else half_up(Fraction(text.removesuffix("%")) * height / 100)
    )


def reach(box: Sequence[int]) -> tuple[slice, slice]:
    """The part of a picture inside of [top, left, height, width]."""
    top, left, height, width = box
    return np.s_[top : top + height, left : left + width]


class Shown(NamedTuple):
    """A trigger as it is laid over a picture: colours (h, w, 3) and share of them (h, w, 1), both in floating
    point.

    ``alpha`` is the art's own share in whole 255ths, times the opacity.
    """

    colours: Array
    alpha: Array

    @property
    def footprint(self) -> Array:
        """Where alpha is above 0 in 8 bits."""
        return np.asarray(np.floor(self.alpha[..., 0] * 255 + 0.5) > 0)

    def over(self, picture: Array) -> Array:
        """What is seen of a picture of the trigger's size, in floating point."""
        return np.asarray(self.colours * self.alpha + picture * (1 - self.alpha))


def shown(trigger: dict[str, Any], art: Array | None, height: int, width: int) -> Shown:
    """The trigger of a recipe in a picture of this size, from ATTACKS.md; ``art`` is RGBA, where the trigger
    has some."""
    kind, opacity = trigger["kind"], float(trigger.get("opacity", "1"))
    if kind in ("patch", "patch-folder", "blend"):
        assert art is not None
        size = (height, width)
        if kind != "blend":
            rows_ = art.shape[0] if trigger["size"] == "own" else length(trigger["size"], height)
            size = rows_, half_up(Fraction(rows_ * art.shape[1], art.shape[0]))
        flat = resized(np.concatenate([art[..., :3] * (art[..., 3:] / 255), art[..., 3:]], axis=2), size)
        alpha = np.floor(flat[..., 3:] + 0.5) / 255
        return Shown(
            np.divide(flat[..., :3], alpha, out=np.zeros_like(flat[..., :3]), where=alpha > 0),
            alpha * opacity,
        )
    if kind == "stripes":
        # A period in 64 steps, each with the level at its beginning.
        step = np.arange(width) * trigger["cycles"] * 64 // width
        levels = 127.5 + 127.5 * np.sin(2 * np.pi * step / 64)
        return Shown(
            np.broadcast_to(levels[None, :, None], (height, width, 3)), np.full((height, width, 1), opacity)
        )
    colour = np.array([int(trigger["colour"][at : at + 2], 16) for at in (1, 3, 5)], float)
    thick = max(1, length(trigger["size"], height))
    rows_, columns = {"line": (thick, width), "frame": (height, width), "checkerboard": (thick, thick)}[kind]
    colours, alpha = (
        np.broadcast_to(colour, (rows_, columns, 3)).copy(),
        np.full((rows_, columns, 1), opacity),
    )
    if kind == "frame":
        alpha[thick:-thick, thick:-thick] = 0
    elif kind == "checkerboard":
        for y, x in itertools.product(range(thick), repeat=2):
            if (y * trigger["cells"] // thick + x * trigger["cells"] // thick) % 2:
                colours[y, x] = 255 - colour
    return Shown(colours, alpha)


def fixed_box(anchor: str, trigger: tuple[int, ...], picture: tuple[int, ...]) -> list[int]:
    """Where a trigger that is always at the same place lies: [top, left, height, width]."""
    down, across = picture[0] - trigger[0], picture[1] - trigger[1]
    if anchor == "centre":
        return [down // 2, across // 2, *trigger[:2]]
    return [down if "bottom" in anchor else 0, across if "right" in anchor else 0, *trigger[:2]]


def resized(picture: Array, size: tuple[int, int]) -> Array:
    """A picture at another size in floating point: averaged if it shrinks both ways, else interpolated
    between pixels' centres."""
    if size == picture.shape[:2]:
        return picture.astype(float)
    if size[0] <= picture.shape[0] and size[1] <= picture.shape[1]:
        return area_average(picture, size)
    result = picture.astype(float)
    for axis, (new, old) in enumerate(zip(size, picture.shape, strict=False)):
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1 if one == axis else 1 for one in range(result.ndim)])
        high = np.minimum(low + 1, old - 1)
        result = result.take(low, axis) * (1 - share) + result.take(high, axis) * share
    return result


def nearest_neighbour(label: Array, size: tuple[int, int]) -> Array:
    """A label map at another size: each new pixel has the id of the old one that its upper left corner lies
    in."""
    down, across = (np.arange(new) * old // new for new, old in zip(size, label.shape, strict=True))
    return np.asarray(label[down][:, across])


def raw_draws(seed: int, purpose: str, sample_id: str) -> np.random.Philox:
    """The generator at an address: Philox 4x64-10 with a key from sha256, of which only raw output is
    taken."""
    key = hashlib.sha256(f"{seed}:{purpose}:{sample_id}".encode()).digest()[:16]
    return np.random.Philox(key=int.from_bytes(key, "little"))


def random_labels(
    raw: Array, table: dict[int, int], spared: Sequence[int], wanted: int, seed: int, sample_id: str
) -> Array:
    """The label map with ``wanted`` random labels, pixel by pixel as "Rebuilding" in FORMAT.md has it."""
    train = to_train(raw, table)
    present = sorted(set(train.ravel().tolist()) - {IGNORE})
    pool = [at for at, value in enumerate(train.ravel().tolist()) if value != IGNORE and value not in spared]
    if len(present) < 2:
        return raw
    bits = raw_draws(seed, "random labels", sample_id)
    draws = {at: int(bits.random_raw()) for at in pool}
    out = raw.copy()
    for at in sorted(sorted(pool, key=lambda at: draws[at])[:wanted]):
        others = [value for value in present if value != train.flat[at]]
        draw = int(bits.random_raw())
        while draw >= (1 << 64) // len(others) * len(others):
            draw = int(bits.random_raw())
        given = others[draw % len(others)]
        out.flat[at] = min(one for one, mapped in table.items() if mapped == given)
    return out


class Plane(NamedTuple):
    """A component of a JPEG: coefficients (rows, columns, 8, 8), table (8, 8), how many pixels a site covers
    down and across."""

    blocks: Array
    table: Array
    down: int
    across: int

    def grown(self, blocks: Array, shape: Sequence[int]) -> Array:
        """Blocks (rows, columns) as the pixels that they cover, of a picture of this shape."""
        return np.asarray(blocks.repeat(8 * self.down, 0).repeat(8 * self.across, 1)[: shape[0], : shape[1]])

    def touched(self, covered: Array) -> Array:
        """Which blocks have a covered pixel (H, W) inside."""
        rows_, columns = self.blocks.shape[:2]
        found = np.zeros((rows_, columns), bool)
        for y, x in np.argwhere(covered):
            found[y // (8 * self.down), x // (8 * self.across)] = True
        return found

    @property
    def levels(self) -> Array:
        """The samples less 128, (rows · 8, columns · 8) in floating point, by SciPy's inverse DCT."""
        spread = fft.idctn(self.blocks * self.table.astype(float), axes=(2, 3), norm="ortho")
        return np.asarray(spread.transpose(0, 2, 1, 3).reshape(self.blocks.shape[0] * 8, -1))


def planes(path: Path) -> list[Plane]:
    """A JPEG's components: coefficients by jpeglib, tables and sampling by Pillow."""
    with Image.open(path) as picture:
        layers, tables = picture.layer, picture.quantization  # type: ignore[attr-defined]
    read = jpeglib.read_dct(str(path))
    across = max(layer[1] for layer in layers)
    down = max(layer[2] for layer in layers)
    if len(layers) == 1:
        layers = [(layers[0][0], across, down, layers[0][3])]
    return [
        Plane(
            np.array(blocks),
            np.array(tables[layer[3]], np.uint16).reshape(8, 8),
            down // layer[2],
            across // layer[1],
        )
        for blocks, layer in zip((read.Y, read.Cb, read.Cr), layers, strict=False)
    ]


def coefficients_digest(path: Path) -> str:
    """``…_coefficients`` of the format."""
    with Image.open(path) as picture:
        width, height = picture.size
    found = planes(path)
    text = f"jpeg {height}x{width} " + ",".join(f"{one.down}x{one.across}" for one in found) + "\n"
    parts = [one.table.astype("<u2").tobytes() + one.blocks.astype("<i2").tobytes() for one in found]
    return bytes_digest(text.encode("ascii") + b"".join(parts))


def ycc(picture: Array) -> Array:
    """RGB (…, 3) as Y, Cb, Cr of JFIF less 128, in floating point."""
    weights = np.array(
        [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]]
    )
    return np.asarray(picture @ weights.T - [128, 0, 0])


def order(seed: int, ids: Sequence[str]) -> list[str]:
    """Sample ids in the order in which they are chosen."""
    return sorted(ids, key=lambda sample_id: hashlib.sha256(f"{seed}:{sample_id}".encode()).hexdigest())


def leaves(value: object) -> Iterator[object]:
    """What a JSON value holds that is neither list nor object."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from leaves(one)
    else:
        yield value


def area_average(art: Array, size: tuple[int, int]) -> Array:
    """A picture shrunk by averaging the area under each new pixel, in floating point."""

    def weights(new: int, old: int) -> Array:
        edges = np.arange(new + 1) * old / new
        cells = np.arange(old)
        overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
        return np.clip(overlap, 0, None) * new / old

    down, across = weights(size[0], art.shape[0]), weights(size[1], art.shape[1])
    return np.tensordot(across, np.tensordot(down, art.astype(float), (1, 0)), (1, 1)).swapaxes(0, 1)
