"""An integer raster: convex polygons, filled and shaded, without one float.

Points on the canvas are in sub-pixels, ``SUB`` to a pixel, so that the centre of pixel (row, column) lies at
(SUB·column + SUB/2, SUB·row + SUB/2).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from poisongen.streets.chance import Ints

SUB = 16
"""Sub-pixels to a pixel."""
HALF_PIXEL = SUB // 2

Bools = NDArray[np.bool_]
Colour = tuple[int, int, int]
Point = tuple[int, int]


class Region(NamedTuple):
    """A rectangle of pixels; it indexes an array (height, width) as it is."""

    rows: slice
    columns: slice


class Canvas:
    """Colour planes, int32 (3, height, width), and label ids, uint8 (height, width), painted over and
    over.

    ``centres_y``, ``centres_x``: of the pixels, in sub-pixels, int64 (height,) and (width,).
    """

    def __init__(self, height: int, width: int) -> None:
        self.planes = np.zeros((3, height, width), np.int32)
        self.labels = np.zeros((height, width), np.uint8)
        self.centres_y = _centres(height)
        self.centres_x = _centres(width)

    def region(self, points: Sequence[Point]) -> Region | None:
        """The rows and columns whose pixel centres lie in the bounding box of the points; None if there are
        none."""
        height, width = self.labels.shape
        rows = _pixels_among([y for _, y in points], height)
        columns = _pixels_among([x for x, _ in points], width)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return Region(rows, columns)

    def centres(self, region: Region) -> tuple[Ints, Ints]:
        """x (1, w) and y (h, 1) of the region's pixel centres, in sub-pixels."""
        return self.centres_x[region.columns][None, :], self.centres_y[region.rows][:, None]

    def inside(self, region: Region, points: Sequence[Point]) -> Bools:
        """Which pixel centres of the region lie in the convex polygon, its boundary included; any winding."""
        corners = np.array(points, np.int64)
        edges = np.concatenate((corners[1:], corners[:1])) - corners
        if area(points) <= 0:
            edges = -edges
        x, y = corners[:, :1], corners[:, 1:]  # (edges, 1), as the next two
        dx, dy = edges[:, :1], edges[:, 1:]
        # A centre is on the inner side of an edge where the cross product of the edge with the way from its
        # corner to the centre is not negative. Its two products depend on the row alone and the column alone.
        by_row = dx * (self.centres_y[region.rows] - y)  # (edges, rows)
        by_column = dy * (self.centres_x[region.columns] - x)  # (edges, columns)
        inner_side = by_row[:, :, None] >= by_column[:, None, :]
        mask: Bools = np.logical_and.reduce(inner_side)
        return mask

    def paint(
        self, region: Region, mask: Bools, colours: NDArray[np.integer] | Colour, label: int | None
    ) -> None:
        """Colours, one or (3, h, w), and a label, or None to leave the labels, where the mask of the region
        is set."""
        fresh = np.asarray(colours)
        if fresh.ndim == 1:
            fresh = fresh.reshape(3, 1, 1)
        np.copyto(self.planes[:, *region], fresh, where=mask, casting="same_kind")
        if label is not None:
            np.copyto(self.labels[region], np.uint8(label), where=mask)

    def fill(self, points: Sequence[Point], colour: Colour, label: int | None) -> None:
        """One colour over a convex polygon."""
        if region := self.region(points):
            self.paint(region, self.inside(region, points), colour, label)

    def shade(self, points: Sequence[Point], gain: int) -> None:
        """What is there in a convex polygon, times gain / 256."""
        if region := self.region(points):
            shaded = self.planes[:, *region] * gain >> 8
            self.paint(region, self.inside(region, points), shaded, None)


def area(points: Sequence[Point]) -> int:
    """Twice the signed area; negative where the points run counter-clockwise as seen (y points down)."""
    total, (x0, y0) = 0, points[-1]
    for x1, y1 in points:
        total += x0 * y1 - x1 * y0
        x0, y0 = x1, y1
    return total


def _centres(size: int) -> Ints:
    """The centres of the pixels of a side, in sub-pixels."""
    return np.arange(size, dtype=np.int64) * SUB + HALF_PIXEL


def _pixels_among(ends: Sequence[int], size: int) -> slice:
    """The pixels 0 … size - 1 whose centres lie between the least and the greatest of ``ends``, in
    sub-pixels."""
    first = -((HALF_PIXEL - min(ends)) // SUB)  # rounded up
    last = (max(ends) - HALF_PIXEL) // SUB
    return slice(max(first, 0), min(last + 1, size))
