"""What lines a drawn street: buildings with façades and roofs, and gardens with trees and a hedge.

Each pixel of a façade is coloured by the place in the world that it shows, so that windows stand in
perspective. Lengths are in mm.
"""

from dataclasses import dataclass

import numpy as np

from poisongen.randomness import Stream
from poisongen.streets.chance import Ints, between, noise, pick
from poisongen.streets.class_ids import BUILDING, VEGETATION
from poisongen.streets.facade import facade
from poisongen.streets.palettes import LEAVES, WALLS
from poisongen.streets.props import tree
from poisongen.streets.scenery import KERB
from poisongen.streets.stage import Corner, Stage, Surface
from poisongen.streets.street import Block, Side, Street

DEPTH_OF_BUILDING = 11_000
"""From its façade along the street to its back."""
CLOSING_REACH = 60_000
"""How far left and right of x = 0 the buildings at the end of the street reach."""


@dataclass(frozen=True)
class Placed:
    """A block on its side of the street; ``end_shows``: is it higher than the nearer one beside it?"""

    block: Block
    side: Side
    end_shows: bool


def draw_blocks(stage: Stage, street: Street, stream: Stream) -> None:
    """The buildings that close the street at its end, then both rows of buildings and gardens, from far to
    near."""
    draw_closing_buildings(stage, street, stream)
    rows = [*placed(street.left), *placed(street.right)]
    for one in sorted(rows, key=lambda one: -one.block.z1):
        if one.block.height:
            draw_building(stage, one)
        else:
            draw_garden(stage, one.block, one.side, stream)


def placed(side: Side) -> list[Placed]:
    """The blocks of a side."""
    nearer_ones = (side.blocks[0], *side.blocks[:-1])
    return [
        Placed(block, side, end_shows=nearer.height < block.height)
        for nearer, block in zip(nearer_ones, side.blocks, strict=True)
    ]


def draw_closing_buildings(stage: Stage, street: Street, stream: Stream) -> None:
    """A row of façades that face the camera, at the end of the street."""
    x = -CLOSING_REACH
    while x < CLOSING_REACH:
        width = between(stream, 9000, 22_000)
        storey = between(stream, 2900, 3400)
        floors = between(stream, 2, 7)
        closing = Block(
            z0=street.end,
            z1=street.end,
            height=storey * floors,
            roof=0,
            storey=storey,
            bay=2600,
            shop=False,
            wall=pick(stream, WALLS),
            tiles=KERB,
            awning=KERB,
            salt=stream.below(1 << 31),
        )
        draw_facade_across(stage, closing, x, x + width)
        x += width


def draw_building(stage: Stage, one: Placed) -> None:
    """Its end towards the camera, where that shows, its roof, and its façade along the street."""
    block, sign = one.block, one.side.sign
    front_x = one.side.front * sign
    back_x = front_x + DEPTH_OF_BUILDING * sign
    if one.end_shows:
        draw_facade_across(stage, block, front_x, back_x)
    if block.roof:
        draw_roof(stage, block, front_x, sign)
    draw_facade_along(stage, block, front_x, facing=-sign)


def draw_facade_across(stage: Stage, block: Block, x0: int, x1: int) -> None:
    """A façade that faces the camera."""
    z = block.z0
    wall = ((x0, 0, z), (x1, 0, z), (x1, block.height, z), (x0, block.height, z))
    corners = stage.outline(wall)
    canvas = stage.canvas
    if region := canvas.region(corners):
        along = abs(stage.x_seen(region, z) - x0)
        up = stage.height_seen(region, z)
        surface = facade(stage.light, block, along, up, stage.light.facing(0))
        canvas.paint(region, canvas.inside(region, corners), stage.hazed(surface, z), BUILDING)


def draw_facade_along(stage: Stage, block: Block, x: int, facing: int) -> None:
    """The façade along the street."""
    corners = stage.outline(wall_along(x, block, block.height))
    canvas = stage.canvas
    if region := canvas.region(corners):
        z = depth_seen(stage, canvas.centres_x[region.columns], x, block)
        up = stage.height_seen(region, z)
        surface = facade(stage.light, block, z - block.z0, up, stage.light.facing(facing))
        canvas.paint(region, canvas.inside(region, corners), stage.hazed(surface, z), BUILDING)


def draw_roof(stage: Stage, block: Block, x: int, sign: int) -> None:
    """A pitched roof: the gable towards the camera, and the slope towards the street."""
    eaves, peak = block.height, block.height + block.roof
    back_x = x + DEPTH_OF_BUILDING * sign
    front_ridge_x = x + 4000 * sign
    back_ridge_x = front_ridge_x + 3000 * sign
    gable = ((x, eaves), (back_x, eaves), (back_ridge_x, peak), (front_ridge_x, peak))
    stage.flat(0, block.z0, gable, block.tiles, BUILDING, gain=170)
    slope = (
        (x, eaves, block.z0),
        (x, eaves, block.z1),
        (front_ridge_x, peak, block.z1),
        (front_ridge_x, peak, block.z0),
    )
    tiles = stage.haze(block.tiles, block.z0 + 4000, stage.light.facing(-sign))
    stage.canvas.fill(stage.outline(slope), tiles, BUILDING)


def wall_along(x: int, block: Block, top: int) -> tuple[Corner, ...]:
    """The corners of a wall along the street, as long as the block."""
    return (x, 0, block.z0), (x, 0, block.z1), (x, top, block.z1), (x, top, block.z0)


def depth_seen(stage: Stage, centres: Ints, x: int, block: Block) -> Ints:
    """How far away the plane at x is that columns of pixels show, int64 (1, w), within the block."""
    offset = centres - stage.camera.x
    divisor = np.where(offset == 0, 1, offset)  # straight ahead the plane is never seen
    z: Ints = np.clip(stage.camera.focal * x // divisor, block.z0, block.z1)
    return z[None, :]


def draw_garden(stage: Stage, block: Block, side: Side, stream: Stream) -> None:
    """Trees behind an uneven hedge, higher than the camera: it hides the ground behind."""
    z = block.z1
    while z > max(block.z0, 2500):
        x = (side.front + between(stream, 2500, 5500)) * side.sign
        tall = between(stream, 5500, 10_500)
        tree(stage, x, z, stream, tall)
        z -= 4000 + z // 12
    draw_hedge(stage, block, side, stream)


def draw_hedge(stage: Stage, block: Block, side: Side, stream: Stream) -> None:
    """Leaves up to an uneven edge, darker below."""
    colour = pick(stream, LEAVES)
    tall = between(stream, 1800, 2600)
    x = side.front * side.sign
    tallest = tall + 500  # above what the noise of the edge adds, at most 127 + 255
    corners = stage.outline(wall_along(x, block, tallest))
    canvas = stage.canvas
    if region := canvas.region(corners):
        z = depth_seen(stage, canvas.centres_x[region.columns], x, block)
        up = stage.height_seen(region, z)
        leaf = noise(z // 110, up // 80, block.salt)
        twigs = noise(z // 240, np.zeros(z.shape, np.int64), block.salt) >> 1
        mask = canvas.inside(region, corners) & (up < tall + twigs + leaf)
        gain_by_height = stage.light.facing(-side.sign) * (100 + up * 110 // tall) >> 8
        gain = gain_by_height * (190 + (leaf >> 1)) >> 8
        surface = Surface(np.array(colour)[:, None, None], gain)
        canvas.paint(region, mask, stage.hazed(surface, z), VEGETATION)
