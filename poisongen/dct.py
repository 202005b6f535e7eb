"""JPEG pictures as quantised DCT coefficients: a trigger is spliced into the blocks that it touches, and nothing else changes.

A JPEG that is decoded and encoded again changes everywhere, which alone would tell poisoned pictures from clean ones. Here only touched
blocks get new coefficients, quantised with the file's own tables; all others stay exactly. jpeglib reads and writes the coefficients; what
comes between is in integers (or in floating point on integers below 2^53, where it is exact), so that it is the same on every machine.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from poisongen.errors import SourceError
from poisongen.pictures import check_picture
from poisongen.pixels import Pixels, decode_picture

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

_VERSION = "6b"  # of the libjpeg in jpeglib; coefficients do not depend on it

_BASIS_BITS, _LEVEL_BITS = 13, 10
"""Fixed point: bits after the point of the cosines, and of a level of a plane."""

# Rows: Y, Cb, Cr of JFIF (ITU-T T.871) in 16 bits after the point; the two chroma rows sum to 0, the first to 1.
_YCC = ((19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329))
_OFFSET = (0, 128, 128)

# Lengths of the code words of luminance AC coefficients in Annex K of ITU-T T.81: a file without them has Huffman tables of its own.
_STANDARD_CODE = bytes((0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125))

_DC_LIMITS, _AC_LIMITS = (-1024, 1023), (-1023, 1023)
"""What the baseline code has words for."""


@dataclass(frozen=True)
class Spliced:
    """A JPEG with a trigger in it.

    ``data`` is the file, ``coefficients`` its digest, ``reencoded`` bool (H, W): the pixels inside of the blocks that the trigger
    touches, in any component (a chroma block of a 4:2:0 picture covers 16×16).
    """

    data: bytes
    coefficients: str
    reencoded: Bools


class _Component(NamedTuple):
    """Coefficients int16 (rows, columns, 8, 8), the table uint16 (8, 8), and how many pixels a site covers down and across."""

    blocks: NDArray[np.int16]
    table: NDArray[np.uint16]
    down: int
    across: int


def splice(data: bytes, painted: Pixels, covered: Bools, name: PurePath | str) -> Spliced:
    """Put a trigger into a JPEG.

    ``painted`` is RGB uint8 (H, W, 3), the decoded picture with the trigger in it; ``covered`` bool (H, W) where they may differ. Under
    the trigger a plane takes the values of ``painted``; a chroma site takes the mean over its pixels, of which those that are not
    covered keep the site's own value. What the trigger does not cover stays, but for the quantisation of the difference in touched
    blocks. Raises SourceError for a file that is damaged, or no YCbCr or grey JPEG of 8 bits.
    """
    image, components = _read(data, name)
    reencoded = np.zeros(covered.shape, np.bool_)
    for number, component in enumerate(components):
        touched = _paint_component(component, number, painted, covered)
        area = touched.repeat(8 * component.down, axis=0).repeat(8 * component.across, axis=1)
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
    """The digest of a JPEG's coefficients, as ``manifests/FORMAT.md`` defines it. Raises SourceError, as ``splice``.

    It depends on tables, sampling and coefficients, and not on how they are coded (Huffman tables, progressive or not, metadata).
    """
    image, components = _read(data, name)
    return _digest((image.height, image.width), components)


def _digest(shape: tuple[int, ...], components: list[_Component]) -> str:
    sampling = ",".join(f"{component.down}x{component.across}" for component in components)
    digest = hashlib.sha256(f"jpeg {shape[0]}x{shape[1]} {sampling}\n".encode())
    for component in components:
        digest.update(component.table.astype("<u2").tobytes())
        digest.update(component.blocks.astype("<i2").tobytes())
    return "sha256:" + digest.hexdigest()


def _read(data: bytes, name: PurePath | str) -> tuple[Any, list[_Component]]:
    import jpeglib  # only JPEG sources need it

    header = check_picture(data, name)
    decode_picture(data, name)  # strictly: libjpeg itself takes damage for a warning, and goes on with grey
    if header.unpaintable and "orientation" not in header.unpaintable:
        raise SourceError("A picture is of a kind that no trigger can be painted on.", file=name, found=header.unpaintable)
    jpeglib.version.set(_VERSION)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "source.jpg"
        path.write_bytes(data)
        image = jpeglib.read_dct(str(path))
        planes = [plane for plane in (image.Y, image.Cb, image.Cr) if plane is not None]
    factors = image.samp_factor[: len(planes)]
    down, across = (int(factors[:, axis].max()) for axis in (0, 1))
    if any(down % v or across % h for v, h in factors):
        raise SourceError("The chroma of a JPEG is sampled at no whole number of pixels.", file=name, found=str(factors.tolist()))
    components = [
        _Component(blocks, image.qt[image.quant_tbl_no[number]], down // int(v), across // int(h))
        for number, (blocks, (v, h)) in enumerate(zip(planes, factors, strict=True))
    ]
    return image, components


def _paint_component(component: _Component, number: int, painted: Pixels, covered: Bools) -> Bools:
    """Change the coefficients of the touched blocks in place; returns which blocks are touched, bool (rows, columns)."""
    rows, columns = component.blocks.shape[:2]
    high, wide = 8 * component.down, 8 * component.across
    reach = np.zeros((rows * high, columns * wide), np.bool_)
    reach[: covered.shape[0], : covered.shape[1]] = covered[: rows * high, : columns * wide]
    touched = reach.reshape(rows, high, columns, wide).any(axis=(1, 3))
    at = np.argwhere(touched)
    for first in range(0, len(at), _CHUNK):
        some = at[first : first + _CHUNK]
        y = np.minimum(some[:, :1] * high + np.arange(high), covered.shape[0] - 1)[:, :, None]
        x = np.minimum(some[:, 1:] * wide + np.arange(wide), covered.shape[1] - 1)[:, None, :]
        # Beyond the picture's edge its last row and column go on, as encoders have it.
        old = component.blocks[some[:, 0], some[:, 1]].astype(np.int64)
        plane = _levels(old * component.table)
        target = _level_of(painted[y, x], number)
        delta = np.where(covered[y, x], target - plane.repeat(component.down, axis=1).repeat(component.across, axis=2), 0)
        delta = delta.reshape(len(some), 8, component.down, 8, component.across).sum(axis=(2, 4))
        delta = _divide(delta, component.down * component.across)
        new = old + _quantised(delta, component.table)
        limited = np.clip(new, *_AC_LIMITS)
        limited[:, 0, 0] = np.clip(new[:, 0, 0], *_DC_LIMITS)
        component.blocks[some[:, 0], some[:, 1]] = limited
    return np.asarray(touched, np.bool_)


_CHUNK = 1 << 11
"""Blocks that are worked on at once, so that memory stays small."""


def _level_of(pixels: Pixels, number: int) -> Integers:
    """Y, Cb or Cr of RGB pixels (…, 3), less 128 as coefficients have it, in fixed point."""
    weights = np.array(_YCC[number], np.int64)
    return ((pixels @ weights) >> (16 - _LEVEL_BITS)) + ((_OFFSET[number] - 128) << _LEVEL_BITS)


# Row k: round(2^13 · c_k · cos((2n + 1) · k · π / 16)), n = 0 … 7, c_0 = √⅛, else ½: stored, because cosines differ in the last bit.
_BASIS = np.array(
    (
        (2896, 2896, 2896, 2896, 2896, 2896, 2896, 2896),
        (4017, 3406, 2276, 799, -799, -2276, -3406, -4017),
        (3784, 1567, -1567, -3784, -3784, -1567, 1567, 3784),
        (3406, -799, -4017, -2276, 2276, 4017, 799, -3406),
        (2896, -2896, -2896, 2896, 2896, -2896, -2896, 2896),
        (2276, -4017, 799, 3406, -3406, -799, 4017, -2276),
        (1567, -3784, 3784, -1567, -1567, 3784, -3784, 1567),
        (799, -2276, 3406, -4017, 4017, -3406, 2276, -799),
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
