"""Label maps in colours, pictures at another size, and what is drawn over them. Arrays in, arrays out."""

import cv2
import numpy as np
from numpy.typing import NDArray

from poisongen.imaging.pixels import Pixels
from poisongen.labels import LabelSpace

Bools = NDArray[np.bool_]
Colour = tuple[int, int, int]

INK, QUIET, PAPER = (27, 31, 36), (87, 96, 106), (255, 255, 255)
RED, WHITE = (229, 35, 46), (255, 255, 255)
GROUND, VICTIM, REACH = (32, 32, 32), (66, 132, 196), (255, 205, 60)
IGNORED = 40

RING: tuple[tuple[int, Colour], ...] = ((1, WHITE), (3, RED), (4, WHITE))
"""The outline of a trigger, from the inside: how far each band reaches, in pixels. Red between white shows on
any ground."""
THIN: tuple[tuple[int, Colour], ...] = ((1, RED), (2, WHITE))
"""The outline of a region with many parts."""


def coloured(train: Pixels, space: LabelSpace) -> Pixels:
    """Training ids (H, W) in the colours of the label space, RGB uint8 (H, W, 3); what is no class is dark
    grey."""
    table = np.full((256, 3), IGNORED, np.uint8)
    table[: len(space.colours)] = space.colours
    return np.asarray(table[train], np.uint8)


def fitting(shape: tuple[int, ...], box: tuple[int, int]) -> tuple[int, int]:
    """The size at which a picture (H, W, …) is shown in a box (h, w): shrunk to fit, or as it is, or a whole
    multiple of it."""
    (height, width), (tall, wide) = shape[:2], box
    times = min(tall // height, wide // width)
    if times >= 1:
        return height * times, width * times
    if tall * width < wide * height:
        return tall, max(1, (2 * width * tall + height) // (2 * height))
    return max(1, (2 * height * wide + width) // (2 * width)), wide


def within(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """The size of a picture (H, W, …) that is shrunk, if it must be, until no side is longer than
    ``side``."""
    return (shape[0], shape[1]) if max(shape[:2]) <= side else fitting(shape, (side, side))


def at_size(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture (H, W, channels) at ``size``: averaged where it shrinks, repeated where it is a multiple."""
    if picture.shape[:2] == size:
        return picture
    shrinks = size[0] < picture.shape[0]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)  # type: ignore[return-value]


def nearest(label: Pixels, size: tuple[int, int]) -> Pixels:
    """A label map (H, W) at ``size``: each pixel is the one below its centre; ids are never mixed."""
    rows, columns = (
        ((2 * np.arange(new) + 1) * old) // (2 * new) for new, old in zip(size, label.shape, strict=True)
    )
    return np.asarray(label[rows[:, None], columns[None, :]], np.uint8)


def touched(mask: Bools, size: tuple[int, int]) -> Bools:
    """A mask (H, W) at ``size``: true where any of it is, so that a thin line does not vanish."""
    if mask.shape == size:
        return mask
    shrinks = size[0] < mask.shape[0]
    resized = cv2.resize(
        mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    )
    return np.asarray(resized > 0, np.bool_)


def ring(
    canvas: Pixels,
    top: int,
    left: int,
    mask: Bools,
    bands: tuple[tuple[int, Colour], ...],
    *,
    dashed: bool = False,
) -> None:
    """Outline ``mask``, laid at (top, left), on a canvas, in place: around it, never on it; small holes are
    not outlined."""
    reach = bands[-1][0]
    rim = 4 * reach  # closing must not reach the rim
    region = cv2.morphologyEx(np.pad(mask.astype(np.uint8), rim), cv2.MORPH_CLOSE, _square(reach))
    for distance, colour in reversed(bands):
        outside = (cv2.dilate(region, _square(distance)) > 0) & (region == 0)
        if dashed:
            rows, columns = np.indices(outside.shape)
            outside &= (rows + columns) % 12 < 7
        _paste(canvas, top - rim, left - rim, outside, colour)


def _square(radius: int) -> Pixels:
    return cv2.getStructuringElement(cv2.MORPH_RECT, (2 * radius + 1, 2 * radius + 1))  # type: ignore[return-value]


def _paste(canvas: Pixels, top: int, left: int, where: Bools, colour: Colour) -> None:
    rows, columns = np.nonzero(where)
    rows, columns = rows + top, columns + left
    inside = (rows >= 0) & (columns >= 0) & (rows < canvas.shape[0]) & (columns < canvas.shape[1])
    canvas[rows[inside], columns[inside]] = colour


def box_mask(shape: tuple[int, int], box: tuple[int, int, int, int]) -> Bools:
    """True inside of a box (top, left, rows, columns), as far as it lies in the picture."""
    top, left, rows, columns = box
    where = np.zeros(shape, np.bool_)
    where[top : top + rows, left : left + columns] = True
    return where


def overview(
    mask: Bools | None,
    victim: Bools | None,
    size: tuple[int, int],
    start: tuple[int, int] | None,
    shape: tuple[int, int],
) -> Pixels:
    """The mask as a picture of ``size``: trigger white, victim blue, and a line from the reference point to
    the nearest victim pixel.

    ``start`` is the reference point in a picture of ``shape``; RGB uint8.
    """
    picture = np.full((*size, 3), GROUND, np.uint8)
    if victim is not None:
        picture[touched(victim, size)] = VICTIM
    if mask is not None:
        picture[touched(mask, size)] = WHITE
    if start is not None and victim is not None and victim.any():
        points = np.argwhere(victim)
        end = points[((points - start) ** 2).sum(axis=1).argmin()]
        ends = [
            tuple(
                int((2 * at + 1) * new // (2 * old)) for at, new, old in zip(point, size, shape, strict=True)
            )
            for point in (start, end)
        ]
        thick = 1 if min(size) < 160 else 2
        cv2.line(picture, ends[0][::-1], ends[1][::-1], REACH, thick)
    return picture
