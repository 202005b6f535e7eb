"""Label maps in colours, and what is drawn over pictures: outlines, masks, distances. Arrays in, arrays
out."""

from typing import NamedTuple

import cv2
import numpy as np

from poisongen.imaging.pixels import Pixels
from poisongen.labels import LabelSpace
from poisongen.show.resize import Bools, Size, below_centre, touched

Colour = tuple[int, int, int]

INK: Colour = (27, 31, 36)
QUIET: Colour = (87, 96, 106)
PAPER: Colour = (255, 255, 255)
RED: Colour = (229, 35, 46)
WHITE: Colour = (255, 255, 255)
GROUND: Colour = (32, 32, 32)
VICTIM: Colour = (66, 132, 196)
REACH: Colour = (255, 205, 60)
IGNORED: Colour = (40, 40, 40)


class Band(NamedTuple):
    """Part of an outline: from the band before to ``reach`` pixels outside of the region."""

    reach: int
    colour: Colour


RING = (Band(1, WHITE), Band(3, RED), Band(4, WHITE))
"""The outline of a trigger, from the inside. Red between white shows on any ground."""
THIN = (Band(1, RED), Band(2, WHITE))
"""The outline of a region with many parts."""


def coloured(train: Pixels, space: LabelSpace) -> Pixels:
    """Training ids (H, W) in the colours of the label space, RGB uint8 (H, W, 3); what is no class is dark
    grey."""
    table = np.full((256, 3), IGNORED, np.uint8)
    table[: len(space.colours)] = space.colours
    return np.asarray(table[train], np.uint8)


def ring(
    canvas: Pixels, top: int, left: int, mask: Bools, bands: tuple[Band, ...], *, dashed: bool = False
) -> None:
    """Outline ``mask``, laid at (top, left), on a canvas, in place: around it, never on it; small holes are
    not outlined."""
    reach = bands[-1].reach
    rim = 4 * reach  # closing must not reach the rim
    padded = np.pad(mask.astype(np.uint8), rim)
    region = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _square(reach))
    for band in reversed(bands):
        grown = cv2.dilate(region, _square(band.reach))
        outside = (grown > 0) & (region == 0)
        if dashed:
            outside &= _dashes(Size.of(outside))
        _colour_where(canvas, top - rim, left - rim, outside, band.colour)


def _dashes(size: Size) -> Bools:
    """Diagonal stripes, 7 of 12 pixels wide."""
    rows, columns = np.indices(size)
    return np.asarray((rows + columns) % 12 < 7, np.bool_)


def _square(radius: int) -> Pixels:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_RECT, (side, side)), np.uint8)


def _colour_where(canvas: Pixels, top: int, left: int, where: Bools, colour: Colour) -> None:
    """Colour the canvas, in place, where a mask that is laid at (top, left) is set and on the canvas."""
    height, width = canvas.shape[:2]
    mask_rows, mask_columns = np.nonzero(where)
    rows, columns = mask_rows + top, mask_columns + left
    row_is_there = (rows >= 0) & (rows < height)
    column_is_there = (columns >= 0) & (columns < width)
    on_canvas = row_is_there & column_is_there
    canvas[rows[on_canvas], columns[on_canvas]] = colour


def box_mask(size: Size, box: tuple[int, int, int, int]) -> Bools:
    """True inside of a box (top, left, rows, columns), as far as it lies in the picture."""
    top, left, rows, columns = box
    where = np.zeros(size, np.bool_)
    where[top : top + rows, left : left + columns] = True
    return where


def overview(
    mask: Bools | None, victim: Bools | None, reference: tuple[int, int] | None, size: Size
) -> Pixels:
    """The mask as a picture of ``size``, RGB uint8: trigger white, victim blue, and a line from the reference
    point (row, column) to the nearest victim pixel.

    ``mask`` and ``victim`` are as large as the sample's picture, in which the reference point is.
    """
    picture = np.full((*size, 3), GROUND, np.uint8)
    if victim is not None:
        picture[touched(victim, size)] = VICTIM
    if mask is not None:
        picture[touched(mask, size)] = WHITE
    if reference is not None and victim is not None and victim.any():
        points = np.argwhere(victim)
        squared = ((points - reference) ** 2).sum(axis=1)
        ends = np.array([reference, points[squared.argmin()]])
        rows = below_centre(ends[:, 0], victim.shape[0], size.height)
        columns = below_centre(ends[:, 1], victim.shape[1], size.width)
        start, end = zip(columns.tolist(), rows.tolist(), strict=True)
        cv2.line(picture, start, end, REACH, thickness=1 if min(size) < 160 else 2)
    return picture
