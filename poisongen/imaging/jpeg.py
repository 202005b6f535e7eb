"""JPEG pictures as quantised DCT coefficients: a trigger is spliced into the blocks that it touches, and
nothing else changes.

A JPEG that is decoded and encoded again changes everywhere, which alone would tell poisoned pictures from
clean ones. Here only touched blocks get new coefficients, quantised with the file's own tables; all others
stay exactly. jpeglib reads and writes the coefficients; what comes between is in integers (or in floating
point on integers below 2^53, where it is exact), so that it is the same on every machine.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from poisongen.errors import SourceError
from poisongen.imaging.headers import check_picture
from poisongen.imaging.pixels import Pixels, decode_picture

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

_VERSION = "6b"  # of the libjpeg in jpeglib; coefficients do not depend on it

_BASIS_BITS, _LEVEL_BITS = 15, 10
"""Fixed point: bits after the point of the cosines, and of a level of a plane."""

# Rows: Y, Cb, Cr of JFIF (ITU-T T.871) in 16 bits after the point; the two chroma rows sum to 0, the first to
# 1.
_YCC = ((19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329))
_OFFSET = (0, 128, 128)

# Lengths of the code words of luminance AC coefficients in Annex K of ITU-T T.81: a file without them has
# Huffman tables of its own.
_STANDARD_CODE = bytes((0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125))

_DC_LIMITS, _AC_LIMITS = (-1024, 1023), (-1023, 1023)
"""What the baseline code has words for."""


@dataclass(frozen=True)
class Spliced:
    """A JPEG with a trigger in it.

    ``data`` is the file, ``coefficients`` its digest, ``reencoded`` bool (H, W): the pixels inside of the
    blocks that the trigger touches, in any component (a chroma block of a 4:2:0 picture covers 16×16).
    """

    data: bytes
    coefficients: str
    reencoded: Bools


class _Component(NamedTuple):
    """Coefficients int16 (rows, columns, 8, 8), the table uint16 (8, 8), and how many pixels a site covers
    down and across."""

    blocks: NDArray[np.int16]
    table: NDArray[np.uint16]
    down: int
    across: int

    @property
    def area(self) -> tuple[int, int]:
        """Rows and columns of pixels that a block covers."""
        return 8 * self.down, 8 * self.across

    @property
    def is_subsampled(self) -> bool:
        """Does a site cover more than one pixel?"""
        return self.down * self.across > 1


def splice(data: bytes, painted: Pixels, covered: Bools, name: PurePath | str) -> Spliced:
    """Put a trigger into a JPEG.

    ``painted`` is RGB uint8 (H, W, 3), the decoded picture with the trigger in it; ``covered`` bool (H, W)
    where they may differ. Under the trigger a plane takes the values of ``painted``; a chroma site takes the
    mean over its pixels, of which those that are not covered keep the site's own value. What the trigger does
    not cover stays, but for the quantisation of the difference in touched blocks. Beside these, decoders
    interpolate subsampled chroma over the border: where more than 0.04 % of the picture would change by that,
    the sites along other blocks are left nearly as they are, at the cost of some colour on the trigger's rim.
    Raises SourceError for a file that is damaged, or no YCbCr or grey JPEG of 8 bits.
    """
    image, components = _read(data, name)
    changes = [_change(component, number, painted, covered) for number, component in enumerate(components)]
    protect = _leak(components, changes) * _LEAK_SHARE > covered.size
    reencoded = np.zeros(covered.shape, np.bool_)
    for component, change in zip(components, changes, strict=True):
        _apply(component, change, protect)
        area = change.touched.repeat(8 * component.down, axis=0).repeat(8 * component.across, axis=1)
        reencoded |= area[: covered.shape[0], : covered.shape[1]]
    for plane, component in zip(("Y", "Cb", "Cr"), components, strict=False):
        setattr(image, plane, component.blocks)
    # jpeglib writes the JFIF marker itself; EXIF, colour profile and comments stay.
    image.markers = [marker for marker in image.markers if marker.type.name != "JPEG_APP0"]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "spliced.jpg"
        image.write_dct(str(path), flags=[] if _STANDARD_CODE in data else ["OPTIMIZE_CODING"])
        written = path.read_bytes()
    return Spliced(written, _digest(covered.shape, components), reencoded)


def digest_coefficients(data: bytes, name: PurePath | str) -> str:
    """The digest of a JPEG's coefficients, as ``manifests/FORMAT.md`` defines it. Raises SourceError, as
    ``splice``.

    It depends on tables, sampling and coefficients, and not on how they are coded (Huffman tables,
    progressive or not, metadata).
    """
    image, components = _read(data, name)
    return _digest((image.height, image.width), components)


def _digest(shape: tuple[int, ...], components: list[_Component]) -> str:
    sampling = ",".join(f"{component.down}x{component.across}" for component in components)
    height, width = shape
    digest = hashlib.sha256(f"jpeg {height}x{width} {sampling}\n".encode())
    for component in components:
        digest.update(component.table.astype("<u2").tobytes())
        digest.update(component.blocks.astype("<i2").tobytes())
    return "sha256:" + digest.hexdigest()


def _read(data: bytes, name: PurePath | str) -> tuple[Any, list[_Component]]:
    import jpeglib  # only JPEG sources need it

    header = check_picture(data, name)
    decode_picture(data, name)  # strictly: libjpeg itself takes damage for a warning, and goes on with grey
    if header.unpaintable and "orientation" not in header.unpaintable:
        raise SourceError(
            "A picture is of a kind that no trigger can be painted on.", file=name, found=header.unpaintable
        )
    jpeglib.version.set(_VERSION)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "source.jpg"
        path.write_bytes(data)
        image = jpeglib.read_dct(str(path))
        planes = [plane for plane in (image.Y, image.Cb, image.Cr) if plane is not None]
    factors = image.samp_factor[: len(planes)]
    down, across = (int(factors[:, axis].max()) for axis in (0, 1))
    if any(down % v or across % h for v, h in factors):
        raise SourceError(
            "The chroma of a JPEG is sampled at no whole number of pixels.",
            file=name,
            found=str(factors.tolist()),
        )
    components = [
        _Component(blocks, image.qt[image.quant_tbl_no[number]], down // int(v), across // int(h))
        for number, (blocks, (v, h)) in enumerate(zip(planes, factors, strict=True))
    ]
    return image, components


class _Change(NamedTuple):
    """What a trigger does to a component: which blocks it touches, bool (rows, columns); where those are, (n,
    2); the difference of their levels, in fixed point, (n, 8, 8); which of their sites lie along a block that
    is not touched, bool (n, 8, 8).
    """

    touched: Bools
    at: Integers
    delta: Integers
    sides: Bools


def _change(component: _Component, number: int, painted: Pixels, covered: Bools) -> _Change:
    """What a trigger does to component ``number``; ``painted`` and ``covered`` as ``splice`` has them."""
    touched = _touched(component, covered)
    at = np.argwhere(touched)
    delta = np.zeros((len(at), 8, 8), np.int64)
    for first in range(0, len(at), _CHUNK):
        some = slice(first, first + _CHUNK)
        delta[some] = _difference(component, number, at[some], painted, covered)
    return _Change(touched, at, delta, _open_sides(touched, at))


def _touched(component: _Component, covered: Bools) -> Bools:
    """The blocks with a covered pixel in their area: bool (rows, columns)."""
    rows, columns = component.blocks.shape[:2]
    high, wide = component.area
    height, width = covered.shape
    reach = np.zeros((rows * high, columns * wide), np.bool_)
    reach[:height, :width] = covered[: rows * high, : columns * wide]
    in_blocks = reach.reshape(rows, high, columns, wide)
    return np.asarray(in_blocks.any(axis=(1, 3)), np.bool_)


def _difference(
    component: _Component, number: int, blocks: Integers, painted: Pixels, covered: Bools
) -> Integers:
    """By how much the levels of ``blocks`` (n, 2) change, in fixed point: (n, 8, 8)."""
    high, wide = component.area
    height, width = covered.shape
    rows, columns = blocks.T
    y = _pixels_of(rows, high, height)[:, :, None]
    x = _pixels_of(columns, wide, width)[:, None, :]
    coefficients = component.blocks[rows, columns].astype(np.int64)
    sites = _levels(coefficients * component.table)
    own = sites.repeat(component.down, axis=1).repeat(component.across, axis=2)
    wanted = _level_of(painted[y, x], number)
    change = np.where(covered[y, x], wanted - own, 0)
    by_site = change.reshape(len(blocks), 8, component.down, 8, component.across)
    return _divide(by_site.sum(axis=(2, 4)), component.down * component.across)


def _pixels_of(blocks: Integers, size: int, limit: int) -> Integers:
    """The pixels that blocks (n,) of this size cover along one axis of ``limit`` pixels: (n, size). Beyond
    the picture's edge its last row or column goes on, as encoders have it."""
    pixels: Integers = blocks[:, None] * size + np.arange(size)
    return pixels.clip(max=limit - 1)


def _leak(components: list[_Component], changes: list[_Change]) -> int:
    """About how many pixels beside the touched blocks would change visibly, because decoders interpolate
    subsampled chroma."""
    leaks = [0]
    for component, change in zip(components, changes, strict=True):
        if component.is_subsampled:
            leaks.append(_leak_of(component, change))
    return max(leaks)


def _leak_of(component: _Component, change: _Change) -> int:
    (some,) = np.nonzero(change.sides.any(axis=(1, 2)))
    # Not the difference itself: quantising it makes waves that reach the border.
    steps = _quantised(change.delta[some], component.table)
    moved = _levels(steps * component.table)
    visible = np.abs(moved) > _VISIBLE << _LEVEL_BITS
    leaking = change.sides[some] & visible
    return int(np.count_nonzero(leaking)) * max(component.down, component.across)


def _apply(component: _Component, change: _Change, protect: bool) -> None:
    """Change the coefficients of the touched blocks, in place; ``protect``: leave what lies along other
    blocks nearly as it is."""
    steps = _quantised(change.delta, component.table)
    if protect and component.is_subsampled:
        steps = _keep_sides(steps, change.delta, component.table, change.sides)
    rows, columns = change.at.T
    new = component.blocks[rows, columns] + steps
    limited = np.clip(new, *_AC_LIMITS)
    limited[:, 0, 0] = np.clip(new[:, 0, 0], *_DC_LIMITS)
    component.blocks[rows, columns] = limited


def _open_sides(touched: Bools, some: Integers) -> Bools:
    """The sites of blocks (n, 2) that lie along a block that is not touched: bool (n, 8, 8).

    Decoders interpolate subsampled chroma over a block's border: a change there would show in the neighbour,
    which is to stay as it is.
    """
    around = np.pad(touched, 1, constant_values=True)
    y, x = some.T + 1
    above, below = around[y - 1, x], around[y + 1, x]
    left, right = around[y, x - 1], around[y, x + 1]
    sites = np.zeros((len(some), 8, 8), np.bool_)
    sites[:, 0, :] |= ~above[:, None]
    sites[:, 7, :] |= ~below[:, None]
    sites[:, :, 0] |= ~left[:, None]
    sites[:, :, 7] |= ~right[:, None]
    return sites


def _keep_sides(steps: Integers, delta: Integers, table: NDArray[np.uint16], sides: Bools) -> Integers:
    """Quantised changes (n, 8, 8) that leave the sites of ``sides`` (n, 8, 8) nearly as they are, and come
    near ``delta`` elsewhere.

    The least weighted square error in whole steps, by coordinate descent from ``steps``: exact in integers,
    with 8 bits after the point.
    """
    steps = steps.copy()
    (some,) = np.nonzero(sides.any(axis=(1, 2)))
    if not len(some):
        return steps
    weight = np.where(sides[some], _SIDE_WEIGHT, 1).reshape(len(some), 64)
    basis = np.rint(_BASIS / (1 << (_BASIS_BITS - 8))).astype(np.int64)
    # One step of each of the 64 coefficients, as a picture of 64 sites with 16 bits after the point, cut to
    # 8.
    waves = (
        np.einsum("ky,lx->klyx", basis, basis).reshape(64, 64) * table.reshape(64, 1).astype(np.int64)
    ) >> 8
    wanted = np.where(sides[some], 0, delta[some]).reshape(len(some), 64) >> (_LEVEL_BITS - 8)
    taken = steps[some].reshape(len(some), 64)
    off = taken @ waves - wanted
    for _ in range(_PASSES):
        for number in range(64):
            wave = waves[number]
            push = -_divide((off * weight) @ wave, weight @ (wave * wave))
            taken[:, number] += push
            off += push[:, None] * wave
    steps[some] = taken.reshape(len(some), 8, 8)
    return steps


_SIDE_WEIGHT, _PASSES = 6, 3
"""Small 4:2:0 pictures leak 0.03 % with 6, 0.09 % unprotected; 64 takes all colour from a sticker's rim."""

_VISIBLE, _LEAK_SHARE = 4, 2500
"""Levels of a chroma site that move a pixel beside it by 2; one in how many pixels of a picture may do so."""

_CHUNK = 1 << 11
"""Blocks that are worked on at once, so that memory stays small."""


def _level_of(pixels: Pixels, number: int) -> Integers:
    """Y, Cb or Cr of RGB pixels (…, 3), less 128 as coefficients have it, in fixed point."""
    weights = np.array(_YCC[number], np.int64)
    return ((pixels @ weights) >> (16 - _LEVEL_BITS)) + ((_OFFSET[number] - 128) << _LEVEL_BITS)


# Row k: round(2^15 · c_k · cos((2n + 1) · k · π / 16)), n = 0 … 7, c_0 = √⅛, else ½: stored, because cosines
# differ in the last bit.
_BASIS = np.array(
    (
        (11585, 11585, 11585, 11585, 11585, 11585, 11585, 11585),
        (16069, 13623, 9102, 3196, -3196, -9102, -13623, -16069),
        (15137, 6270, -6270, -15137, -15137, -6270, 6270, 15137),
        (13623, -3196, -16069, -9102, 9102, 16069, 3196, -13623),
        (11585, -11585, -11585, 11585, 11585, -11585, -11585, 11585),
        (9102, -16069, 3196, 13623, -13623, -3196, 16069, -9102),
        (6270, -15137, 15137, -6270, -6270, 15137, -15137, 6270),
        (3196, -9102, 13623, -16069, 16069, -13623, 9102, -3196),
    ),
    np.float64,
)


def _levels(coefficients: Integers) -> Integers:
    """Dequantised blocks (n, 8, 8) as levels in fixed point: the inverse DCT."""
    exact = _BASIS.T @ coefficients.astype(np.float64) @ _BASIS
    return _divide(exact.astype(np.int64), 1 << (2 * _BASIS_BITS - _LEVEL_BITS))


def _quantised(delta: Integers, table: NDArray[np.uint16]) -> Integers:
    """Levels in fixed point (n, 8, 8) as quantised coefficients: the DCT, rounded to the nearest step."""
    exact = (_BASIS @ delta.astype(np.float64) @ _BASIS.T).astype(np.int64)
    return _divide(exact, table.astype(np.int64) << (2 * _BASIS_BITS + _LEVEL_BITS))


def _divide(values: Integers, by: int | Integers) -> Integers:
    """⌊value / by + ½⌋."""
    return (2 * values + by) // (2 * by)
