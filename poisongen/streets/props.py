"""What stands in a drawn street: lamps, signs, lights, bins and trees; each a few convex shapes in the world.

Every function paints one thing on a stage at (x, z) on the ground, with its Cityscapes raw label id. A
thing's own dimensions are in mm; colours are RGB before light and haze.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poisongen.randomness import Stream
from poisongen.streets.canvas import SUB, Bools, Canvas, Colour, Point, Region
from poisongen.streets.chance import Ints, between, noise, pick
from poisongen.streets.class_ids import POLE, STATIC, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION
from poisongen.streets.palettes import LEAVES
from poisongen.streets.shapes import BAR, CIRCLE, DIAMOND, RADIUS, SQUARE, TRIANGLE, box, mirrored, scaled
from poisongen.streets.stage import Stage, Surface

SIGN_RED: Colour = (196, 28, 34)
SIGN_WHITE: Colour = (240, 240, 236)
SIGN_BLUE: Colour = (30, 80, 170)
SIGN_YELLOW: Colour = (236, 180, 30)
SIGN_BLACK: Colour = (30, 30, 34)
LAMP_POST: Colour = (74, 80, 84)
LAMP_HEAD: Colour = (206, 200, 170)
SIGN_POST: Colour = (140, 142, 146)
LIGHT_POST: Colour = (84, 88, 92)
LIGHT_RIM: Colour = (226, 220, 190)
LIGHT_BOX: Colour = (28, 30, 32)
LIGHT_COLOURS: tuple[Colour, ...] = ((40, 230, 110), (250, 190, 30), (250, 40, 30))
"""From below."""
BIN_GREEN: Colour = (70, 84, 70)
BIN_BLACK: Colour = (40, 44, 44)
BARK: Colour = (86, 66, 50)


@dataclass(frozen=True)
class Bar:
    """An upright bar from ``low`` to ``high`` above the ground."""

    thick: int
    low: int
    high: int


def draw_bar(stage: Stage, x: int, z: int, bar: Bar, colour: Colour, *, label: int = POLE) -> None:
    """At least a pixel wide, and darker on the side without sun."""
    half = bar.thick // 2
    left, top = stage.camera.project(x - half, bar.high, z)
    right, bottom = stage.camera.project(x + half, bar.low, z)
    right = max(right, left + SUB)
    third = (right - left) // 3
    if stage.light.sun >= 0:
        dark_part = box(left, left + third, bottom, top)
    else:
        dark_part = box(right - third, right, bottom, top)
    stage.canvas.fill(box(left, right, bottom, top), stage.haze(colour, z), label)
    stage.canvas.fill(dark_part, stage.haze(colour, z, 190), label)


LAMP_STEM = Bar(thick=280, low=0, high=6400)
LAMP_ARM_OF_RIGHT = ((0, 6400), (0, 6160), (-1700, 6620), (-1700, 6820))
LAMP_HEAD_OF_RIGHT = ((-1500, 6640), (-2300, 6650), (-2200, 6880), (-1600, 6880))
"""Of a lamp on the right side of the road, whose arm reaches to the left."""


def lamp(stage: Stage, x: int, z: int, side: int) -> None:
    """A street lamp with an arm over the road; ``side`` is the side of the road that it stands on."""
    draw_bar(stage, x, z, LAMP_STEM, LAMP_POST)
    stage.flat(x, z, mirrored(LAMP_ARM_OF_RIGHT, side), LAMP_POST, POLE)
    stage.flat(x, z, mirrored(LAMP_HEAD_OF_RIGHT, side), LAMP_HEAD, POLE)


@dataclass(frozen=True)
class SignDesign:
    """An outline with a rim around a field, and a mark on it, or none."""

    outline: Sequence[Point]
    rim: Colour
    field: Colour
    mark: Sequence[Point] | None = None
    ink: Colour = SIGN_WHITE


SIGN_DESIGNS = (
    SignDesign(CIRCLE, SIGN_RED, SIGN_WHITE),  # no vehicles
    SignDesign(CIRCLE, SIGN_RED, SIGN_RED, BAR, SIGN_WHITE),  # no entry
    SignDesign(CIRCLE, SIGN_RED, SIGN_WHITE, BAR, SIGN_BLACK),  # no overtaking, or a speed, from afar
    SignDesign(CIRCLE, SIGN_WHITE, SIGN_BLUE, BAR, SIGN_WHITE),  # ahead only, or the like
    SignDesign(TRIANGLE, SIGN_RED, SIGN_WHITE),  # danger
    SignDesign(SQUARE, SIGN_WHITE, SIGN_BLUE, TRIANGLE, SIGN_WHITE),  # a crossing
    SignDesign(DIAMOND, SIGN_WHITE, SIGN_YELLOW),  # a priority road
)


def sign(stage: Stage, x: int, z: int, stream: Stream) -> None:
    """A traffic sign on a pole: a disc, a triangle, a square or a diamond, with a rim."""
    up = between(stream, 2300, 2800)
    design = pick(stream, SIGN_DESIGNS)
    draw_bar(stage, x, z, Bar(thick=190, low=0, high=up), SIGN_POST)
    middle = (0, up)
    rim = scaled(design.outline, middle, 430)
    field = scaled(design.outline, middle, 330)
    stage.flat(x, z, rim, design.rim, TRAFFIC_SIGN)
    stage.flat(x, z, field, design.field, TRAFFIC_SIGN)
    if design.mark:
        mark = scaled(design.mark, middle, 290)
        stage.flat(x, z, mark, design.ink, TRAFFIC_SIGN)


def traffic_light(stage: Stage, x: int, z: int, stream: Stream) -> None:
    """Three lamps, one of them lit, in a dark box on a pole."""
    lit = stream.below(3)
    up = between(stream, 2500, 3000)
    draw_bar(stage, x, z, Bar(thick=230, low=0, high=up), LIGHT_POST)
    stage.flat(x, z, box(-290, 290, up - 60, up + 1310), LIGHT_RIM, TRAFFIC_LIGHT)
    stage.flat(x, z, box(-230, 230, up, up + 1250), LIGHT_BOX, TRAFFIC_LIGHT)
    for number, colour in enumerate(LIGHT_COLOURS):
        middle = (0, up + 220 + 405 * number)
        lens = scaled(CIRCLE, middle, 165)
        stage.flat(x, z, lens, colour if number == lit else unlit(colour), TRAFFIC_LIGHT)


def unlit(colour: Colour) -> Colour:
    """A lamp that is off."""
    red, green, blue = colour
    return red // 4, green // 4, blue // 4


BIN_BODY = ((-260, 0), (260, 0), (300, 900), (-300, 900))
BIN_LID = ((-320, 900), (320, 900), (260, 1040), (-260, 1040))


def litter_bin(stage: Stage, x: int, z: int) -> None:
    """A litter bin: static, so not one of the classes that are trained on."""
    stage.flat(x, z, BIN_BODY, BIN_GREEN, STATIC)
    stage.flat(x, z, BIN_LID, BIN_BLACK, STATIC)


@dataclass(frozen=True)
class Ball:
    """A ball of leaves in the upright plane of a tree: its middle, right of the trunk and above the ground,
    and its radius, in mm."""

    across: int
    up: int
    radius: int


@dataclass(frozen=True)
class Disc:
    """A ball as it appears, in sub-pixels."""

    x: int
    y: int
    radius: int


def tree(stage: Stage, x: int, z: int, stream: Stream, tall: int) -> None:
    """A trunk under a crown of leafy balls, brighter above and on the side of the sun; ``tall`` in mm."""
    colour = pick(stream, LEAVES)
    salt = stream.below(1 << 31)
    balls = crown(stream, tall)
    trunk = Bar(thick=tall // 22, low=0, high=balls[0].up)
    draw_bar(stage, x, z, trunk, BARK, label=VEGETATION)
    discs = [disc_of(stage, x, z, ball) for ball in balls]
    region = stage.canvas.region([corner for disc in discs for corner in around(disc)])
    if region is None:
        return
    grain = leaf_grain(stage.canvas, region, discs[0], salt)
    light, crown_mask = leaf_light(stage, region, discs, grain)
    gain = light * (200 + (grain * 112 >> 8)) >> 8
    surface = Surface(np.array(colour)[:, None, None], gain)
    stage.canvas.paint(region, crown_mask, stage.hazed(surface, z), VEGETATION)


def crown(stream: Stream, tall: int) -> list[Ball]:
    """A large ball in the middle, and seven around it."""
    stem = between(stream, tall // 5, tall // 3)
    wide = between(stream, tall // 5, tall // 4)
    middle = (tall + stem) // 2
    half_height = (tall - stem) // 2
    balls = [Ball(0, middle, min(half_height, wide) * 7 // 8)]
    for turn in range(7):
        direction = turn * 16 // 7 + stream.below(2)  # one of the circle's sixteen
        cosine, sine = CIRCLE[direction % 16]
        out = between(stream, 500, 760)  # of RADIUS
        radius = between(stream, wide * 3 // 8, wide * 5 // 8)
        across = wide * cosine * out // RADIUS**2
        up = middle + half_height * sine * out // RADIUS**2
        balls.append(Ball(across, up, radius))
    return balls


def disc_of(stage: Stage, x: int, z: int, ball: Ball) -> Disc:
    """How a ball of a tree at (x, z) appears: at least a sub-pixel large."""
    disc_x, disc_y = stage.camera.project(x + ball.across, ball.up, z)
    return Disc(disc_x, disc_y, max(stage.camera.focal * ball.radius // z, 1))


def around(disc: Disc) -> tuple[Point, Point]:
    """Two corners of a box around a disc with its uneven edge."""
    reach, opposite = disc.radius * 9 // 8, -disc.radius * 9 // 8
    return (disc.x + opposite, disc.y + opposite), (disc.x + reach, disc.y + reach)


def leaf_grain(canvas: Canvas, region: Region, middle: Disc, salt: int) -> Ints:
    """A byte for each leaf, (h, w). Leaves are tied to the tree and grow with the picture."""
    leaf = max(middle.radius // 12, 1)  # sub-pixels to a leaf
    x, y = canvas.centres(region)
    column_of_leaves = (x - middle.x) // leaf
    row_of_leaves = (y - middle.y) // leaf
    return noise(column_of_leaves, row_of_leaves, salt)


def leaf_light(stage: Stage, region: Region, discs: Sequence[Disc], grain: Ints) -> tuple[Ints, Bools]:
    """The light on each pixel's brightest disc, in 256ths, and whether there is one; both (h, w)."""
    x, y = stage.canvas.centres(region)
    edge = 222 + (grain >> 3)  # of a disc's squared radius, in 256ths: an uneven edge
    brightest = np.full(grain.shape, -1, np.int64)
    for disc in discs:
        dx, dy = x - disc.x, y - disc.y
        towards_sun = stage.light.sun * dx * 30 // disc.radius
        towards_ground = dy * 60 // disc.radius
        light = 165 + towards_sun - towards_ground
        radius_sq = disc.radius * disc.radius
        in_disc = dx * dx + dy * dy < (radius_sq >> 8) * edge
        np.maximum(brightest, light, out=brightest, where=in_disc)
    return brightest, brightest >= 0
