"""An integer raster: convex polygons, discs, noise and a pinhole camera, without one float.

Points on the canvas are in sub-pixels, ``SUB`` to a pixel, so that the centre of pixel (row, column) lies at
(SUB·column + SUB/2, SUB·row + SUB/2). The world is in millimetres: x to the right, y up from the ground, z
ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poisongen.randomness import Stream

SUB = 16

Ints = NDArray[np.int64]
Colour = tuple[int, int, int]
Point = tuple[int, int]
Corner = tuple[int, int, int]
Region = tuple[slice, slice]


def noise(a: Ints, b: Ints, salt: int) -> Ints:
    """A byte for each pair of integers, int64 in 0 … 255, of the shape that ``a`` and ``b`` broadcast to."""
    bits = a.astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32(salt & 0xFFFFFFFF)
    bits = (bits ^ bits >> np.uint32(15)) + b.astype(np.uint32) * np.uint32(0x85EBCA77)
    bits = (bits ^ bits >> np.uint32(16)) * np.uint32(0x2C1B3C6D)
    result: Ints = (bits >> np.uint32(24)).astype(np.int64)
    return result


def smooth_noise(stream: Stream, height: int, width: int, rows: int, columns: int) -> Ints:
    """A lattice of rows × columns random bytes, interpolated to (height, width), int64 in 0 … 255."""
    lattice = (
        (stream.raw((rows + 1) * (columns + 1)) >> np.uint64(56))
        .astype(np.int64)
        .reshape(rows + 1, columns + 1)
    )
    down, across = (
        np.arange(size, dtype=np.int64) * cells * 256 // size
        for size, cells in ((height, rows), (width, columns))
    )
    i, j, v, u = down >> 8, across >> 8, (down & 255)[:, None], (across & 255)[None, :]
    rows_between = lattice[i] * (256 - v) + lattice[i + 1] * v  # (height, columns + 1)
    result: Ints = (rows_between[:, j] * (256 - u) + rows_between[:, j + 1] * u) >> 16
    return result


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks along z from ``height`` mm above the ground; ``focal`` and the vanishing point in
    sub-pixels."""

    focal: int
    x: int
    y: int
    height: int

    def project(self, x: int, y: int, z: int) -> Point:
        """Where a point of the world, z > 0, appears."""
        return self.x + self.focal * x // z, self.y + self.focal * (self.height - y) // z


@dataclass(frozen=True)
class Light:
    """The weather: sky colours above and at the horizon, gain / 256 of each channel, half of a colour lost in
    haze at ``sight`` mm, the sun's side (-1 left, 0 none, 1 right), the share of sky under clouds and of
    windows lit, of 256."""

    zenith: Colour
    horizon: Colour
    gain: Colour
    sight: int
    sun: int
    clouds: int
    lamps: int

    def facing(self, side: int) -> int:
        """The light / 256 on a wall that faces left (-1), right (1) or along the street (0)."""
        return 226 + 44 * self.sun * side - (16 if self.sun and not side else 0)


class Canvas:
    """Colour planes, int32 (3, height, width), and label ids, uint8 (height, width), painted over and
    over."""

    def __init__(self, height: int, width: int) -> None:
        self.planes = np.zeros((3, height, width), np.int32)
        self.labels = np.zeros((height, width), np.uint8)
        self.centres_y = np.arange(height, dtype=np.int64) * SUB + SUB // 2
        self.centres_x = np.arange(width, dtype=np.int64) * SUB + SUB // 2

    def region(self, points: Sequence[Point]) -> Region | None:
        """The rows and columns whose pixel centres lie in the bounding box of the points; None if there are
        none."""
        spans = []
        for axis, size in ((1, self.labels.shape[0]), (0, self.labels.shape[1])):
            values = [point[axis] for point in points]
            first, last = -((SUB // 2 - min(values)) // SUB), (max(values) - SUB // 2) // SUB
            spans.append(slice(max(first, 0), min(last + 1, size)))
        rows, columns = spans
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def world(self, region: Region, camera: Camera, z: Ints | int) -> tuple[Ints, Ints]:
        """x (mm) and height (mm, not below the ground) of what the region's pixels show at z, which
        broadcasts to (h, w)."""
        x = (self.centres_x[region[1]] - camera.x)[None, :] * z // camera.focal
        up = camera.height - (self.centres_y[region[0]] - camera.y)[:, None] * z // camera.focal
        return x, np.maximum(up, 0)

    def inside(self, region: Region, points: Sequence[Point]) -> NDArray[np.bool_]:
        """Which pixel centres of the region lie in the convex polygon, its boundary included; any winding."""
        corners = np.array(points, np.int64)
        x0, y0 = corners[:, :1], corners[:, 1:]
        edges = np.concatenate((corners[1:], corners[:1])) - corners
        dx, dy = (edges[:, :1], edges[:, 1:]) if area(points) > 0 else (-edges[:, :1], -edges[:, 1:])
        down, across = (
            (self.centres_y[region[0]] - y0) * dx,
            (self.centres_x[region[1]] - x0) * dy,
        )  # (edges, h), (edges, w)
        mask: NDArray[np.bool_] = np.logical_and.reduce(down[:, :, None] >= across[:, None, :])
        return mask

    def paint(
        self,
        region: Region,
        mask: NDArray[np.bool_],
        colours: NDArray[np.integer] | Colour,
        label: int | None,
    ) -> None:
        """Colours, one or (3, h, w), and a label, or None to leave the labels, where the mask of the region
        is set."""
        fresh = np.asarray(colours)
        np.copyto(
            self.planes[:, *region],
            fresh.reshape(3, 1, 1) if fresh.ndim == 1 else fresh,
            where=mask,
            casting="same_kind",
        )
        if label is not None:
            np.copyto(self.labels[region], np.uint8(label), where=mask)

    def fill(self, points: Sequence[Point], colour: Colour, label: int | None) -> None:
        """One colour over a convex polygon."""
        if region := self.region(points):
            self.paint(region, self.inside(region, points), colour, label)

    def shade(self, points: Sequence[Point], gain: int) -> None:
        """What is there in a convex polygon, times gain / 256."""
        if region := self.region(points):
            self.paint(region, self.inside(region, points), self.planes[:, *region] * gain >> 8, None)


@dataclass(frozen=True)
class Stage:
    """A canvas, a camera and a light: what it takes to paint surfaces of the world."""

    canvas: Canvas
    camera: Camera
    light: Light

    def haze(self, colour: Colour, z: int, gain: int = 256) -> Colour:
        """A colour under gain / 256 of light, seen from z mm away."""
        lost = 256 * z // (z + self.light.sight)
        r, g, b = (
            ((c * gain >> 8) * (256 - lost) + air * lost) >> 8
            for c, air in zip(colour, self.light.horizon, strict=True)
        )
        return r, g, b

    def hazed(self, colours: Ints, z: Ints | int, gain: Ints | int) -> Ints:
        """The same for arrays: colours (3, h, w) or (3, 1, 1); z and gain broadcast to (h, w)."""
        lost = 256 * z // (z + self.light.sight)
        air = np.array(self.light.horizon, np.int64)[:, None, None]
        return (colours * (gain * (256 - lost) >> 8) >> 8) + (air * lost >> 8)

    def polygon(self, corners: Sequence[Corner], colour: Colour, label: int, gain: int = 256) -> bool:
        """A convex polygon in the world that is seen from one side only; whether it was."""
        points = [self.camera.project(*corner) for corner in corners]
        if seen := area(points) < 0:
            self.canvas.fill(points, self.haze(colour, corners[0][2], gain), label)
        return seen

    def flat(
        self, x: int, z: int, shape: Sequence[Point], colour: Colour, label: int, *, gain: int = 256
    ) -> None:
        """A convex shape in the upright plane at z: pairs (mm right of x, mm above the ground), any
        winding."""
        points = [self.camera.project(x + across, up, z) for across, up in shape]
        self.canvas.fill(points, self.haze(colour, z, gain), label)


def area(points: Sequence[Point]) -> int:
    """Twice the signed area; negative where the points run counter-clockwise as seen (y points down)."""
    total, (x0, y0) = 0, points[-1]
    for x1, y1 in points:
        total += x0 * y1 - x1 * y0
        x0, y0 = x1, y1
    return total
