"""A pinhole camera, the weather, and both over a canvas: what it takes to paint surfaces of the world.

The world is in millimetres: x to the right, y up from the ground, z ahead. Light is a gain in 256ths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poisongen.streets.canvas import Canvas, Colour, Point, Region, area
from poisongen.streets.chance import Ints

Corner = tuple[int, int, int]
"""A point of the world: x, y, z."""


@dataclass(frozen=True)
class Camera:
    """A pinhole that looks along z from ``height`` mm above the ground; ``focal`` and the vanishing point
    (``x``, ``y``) are in sub-pixels."""

    focal: int
    x: int
    y: int
    height: int

    def project(self, x: int, y: int, z: int) -> Point:
        """Where a point of the world, z > 0, appears."""
        below_eye = self.height - y
        return self.x + self.focal * x // z, self.y + self.focal * below_eye // z


@dataclass(frozen=True)
class Light:
    """The weather.

    ``zenith``, ``horizon``: colours of the sky. ``gain``: of each channel, in 256ths. ``sight``: how many mm
    away half of a colour is lost in haze. ``sun``: its side, -1 left, 0 none, 1 right. ``clouds``, ``lamps``:
    the share of sky under clouds and of windows lit, in 256ths.
    """

    zenith: Colour
    horizon: Colour
    gain: Colour
    sight: int
    sun: int
    clouds: int
    lamps: int

    def facing(self, side: int) -> int:
        """The light / 256 on a wall that faces left (-1), right (1) or along the street (0)."""
        against_the_sun = 16 if self.sun and not side else 0
        return 226 + 44 * self.sun * side - against_the_sun


@dataclass(frozen=True)
class Surface:
    """Part of a surface before haze: colours (3, h, w) or (3, 1, 1), and their light in 256ths, which
    broadcasts to (h, w)."""

    colours: Ints
    gain: Ints


@dataclass(frozen=True)
class Stage:
    """A canvas, a camera and a light."""

    canvas: Canvas
    camera: Camera
    light: Light

    def outline(self, corners: Sequence[Corner]) -> list[Point]:
        """Where the corners of a shape in the world appear."""
        return [self.camera.project(*corner) for corner in corners]

    def x_seen(self, region: Region, z: Ints | int) -> Ints:
        """x (mm) of what the region's pixels show at z, which broadcasts to (h, w)."""
        right_of_centre = self.canvas.centres_x[region.columns] - self.camera.x
        x: Ints = right_of_centre[None, :] * z // self.camera.focal
        return x

    def height_seen(self, region: Region, z: Ints | int) -> Ints:
        """The height (mm, not below the ground) of what the region's pixels show at z, which broadcasts to
        (h, w)."""
        below_centre = self.canvas.centres_y[region.rows] - self.camera.y
        below_eye = below_centre[:, None] * z // self.camera.focal
        height: Ints = np.maximum(self.camera.height - below_eye, 0)
        return height

    def haze(self, colour: Colour, z: int, gain: int = 256) -> Colour:
        """A colour under gain / 256 of light, seen from z mm away."""
        lost = 256 * z // (z + self.light.sight)
        red, green, blue = (
            ((channel * gain >> 8) * (256 - lost) + air * lost) >> 8
            for channel, air in zip(colour, self.light.horizon, strict=True)
        )
        return red, green, blue

    def hazed(self, surface: Surface, z: Ints | int) -> Ints:
        """The same for a surface, z mm away, which broadcasts to (h, w): colours, int64 (3, h, w)."""
        lost = 256 * z // (z + self.light.sight)
        kept = surface.gain * (256 - lost) >> 8
        horizon = np.array(self.light.horizon, np.int64)
        own_colour = surface.colours * kept >> 8
        air = horizon[:, None, None] * lost >> 8
        return own_colour + air

    def polygon(self, corners: Sequence[Corner], colour: Colour, label: int, gain: int = 256) -> bool:
        """A convex polygon in the world that is seen from one side only; whether it was."""
        points = self.outline(corners)
        seen = area(points) < 0
        if seen:
            first_z = corners[0][2]
            self.canvas.fill(points, self.haze(colour, first_z, gain), label)
        return seen

    def flat(
        self, x: int, z: int, shape: Sequence[Point], colour: Colour, label: int, *, gain: int = 256
    ) -> None:
        """A convex shape in the upright plane at z: pairs (mm right of x, mm above the ground), any
        winding."""
        points = [self.camera.project(x + across, up, z) for across, up in shape]
        self.canvas.fill(points, self.haze(colour, z, gain), label)

    def shadow(self, corners: Sequence[Corner], gain: int) -> None:
        """What is there, times gain / 256, in a convex polygon in the world."""
        self.canvas.shade(self.outline(corners), gain)
