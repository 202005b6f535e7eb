"""Pictures, label maps and masks at another size. Arrays in, arrays out."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from poisongen.imaging.pixels import Pixels

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Size(NamedTuple):
    """Rows and columns."""

    height: int
    width: int

    @classmethod
    def of(cls, picture: Pixels | Bools) -> "Size":
        """Of a picture (H, W, …)."""
        return cls(picture.shape[0], picture.shape[1])


def fitting(size: Size, box: Size) -> Size:
    """How large a picture is shown in a box: shrunk to fit, or as it is, or a whole multiple of it."""
    times = min(box.height // size.height, box.width // size.width)
    if times >= 1:
        return Size(size.height * times, size.width * times)
    is_narrower_than_box = box.height * size.width < box.width * size.height
    if is_narrower_than_box:
        width = _rounded_quotient(size.width * box.height, size.height)
        return Size(box.height, max(1, width))
    height = _rounded_quotient(size.height * box.width, size.width)
    return Size(max(1, height), box.width)


def within(size: Size, side: int) -> Size:
    """How large a picture is that is shrunk, if it must be, until no side is longer than ``side``."""
    return size if max(size) <= side else fitting(size, Size(side, side))


def at_size(picture: Pixels, size: Size) -> Pixels:
    """A picture (H, W, channels) at ``size``: averaged where it shrinks, repeated where it is a multiple."""
    if Size.of(picture) == size:
        return picture
    return np.asarray(_resized(picture, size), np.uint8)


def nearest(label: Pixels, size: Size) -> Pixels:
    """A label map (H, W) at ``size``: each pixel is the one below its centre; ids are never mixed."""
    height, width = label.shape
    rows = below_centre(np.arange(size.height), size.height, height)
    columns = below_centre(np.arange(size.width), size.width, width)
    chosen_rows = label[rows]
    return np.asarray(chosen_rows[:, columns], np.uint8)


def touched(mask: Bools, size: Size) -> Bools:
    """A mask (H, W) at ``size``: true where any of it is, so that a thin line does not vanish."""
    if Size.of(mask) == size:
        return mask
    shares = np.asarray(_resized(mask.astype(np.float32), size), np.float32)
    return np.asarray(shares > 0, np.bool_)


def below_centre(at: Ints, old: int, new: int) -> Ints:
    """Of a side of ``new`` pixels, those below the centres of the pixels ``at`` of a side of ``old``."""
    return (2 * at + 1) * new // (2 * old)


def _resized(picture: NDArray[np.uint8] | NDArray[np.float32], size: Size) -> NDArray[np.generic]:
    shrinks = size.height < picture.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return cv2.resize(picture, (size.width, size.height), interpolation=interpolation)


def _rounded_quotient(number: int, divisor: int) -> int:
    """To the nearest integer, halves up."""
    return (2 * number + divisor) // (2 * divisor)
