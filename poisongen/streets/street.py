"""The plan of a drawn street: lanes, sidewalks, buildings and gardens. Lengths are in mm.

It does not depend on the size of the picture: another size shows the same street.
"""

from dataclasses import dataclass

from poisongen.randomness import Stream
from poisongen.streets.canvas import Colour
from poisongen.streets.chance import between, one_in, pick
from poisongen.streets.palettes import AWNINGS, GRASSES, PAVINGS, ROOFS, WALLS

KERB_WIDTH = 160
FIRST_BLOCK = 900
"""z at which both rows of buildings begin: beside the car."""


@dataclass(frozen=True)
class Block:
    """A stretch of one side of the street, ``z0`` … ``z1`` ahead: a building of ``height``, with a roof above
    it or flat, or a garden, where the height is 0.

    ``storey``, ``bay``: height and width of what repeats on a façade. ``shop``: is the ground floor one?
    """

    z0: int
    z1: int
    height: int
    roof: int
    storey: int
    bay: int
    shop: bool
    wall: Colour
    tiles: Colour
    awning: Colour
    salt: int


@dataclass(frozen=True)
class Side:
    """One side of the street (``sign`` -1 left, 1 right): how far from x = 0 the kerb is, where the sidewalk
    begins beyond a strip of grass, and where the façades are."""

    sign: int
    kerb: int
    path: int
    front: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Street:
    """Where everything that does not stand on the street is.

    ``lanes``: x of the lines between the lanes, from left to right. ``zebra``: z at which a crossing begins,
    0 for none.
    """

    lanes: tuple[int, ...]
    left: Side
    right: Side
    end: int
    zebra: int
    asphalt: Colour
    paving: Colour
    grass: Colour
    salt: int


def lay_street(stream: Stream) -> Street:
    """A street of two to four lanes through a town or a suburb."""
    lane_width = between(stream, 3000, 3500)
    offset = between(stream, -300, 300)
    lanes_right = between(stream, 1, 2)
    lanes_left = between(stream, 1, 2)
    # The camera drives half a lane to the right of line 0, give or take the offset.
    first_line = offset - lane_width // 2
    lines = tuple(first_line + lane_width * number for number in range(-lanes_left, lanes_right + 1))
    green = stream.below(4)  # 0: a town, 3: a suburb
    end = 1000 * between(stream, 60, 120)
    left = lay_side(stream, -1, outer_line=-lines[0], end=end, green=green)
    right = lay_side(stream, 1, outer_line=lines[-1], end=end, green=green)
    grey = between(stream, 84, 120)
    blue_tint = stream.below(9)
    zebra = between(stream, 7000, 14_000) if stream.below(2) else 0
    return Street(
        lanes=lines,
        left=left,
        right=right,
        end=end,
        zebra=zebra,
        asphalt=(grey, grey, grey + blue_tint),
        paving=pick(stream, PAVINGS),
        grass=pick(stream, GRASSES),
        salt=stream.below(1 << 31),
    )


def lay_side(stream: Stream, sign: int, *, outer_line: int, end: int, green: int) -> Side:
    """What lies beyond the ``outer_line`` of the road: perhaps room to park, perhaps grass, a sidewalk,
    buildings."""
    kerb = outer_line + pick(stream, (200, 2400))
    grass = between(stream, 1800, 3600) if stream.below(4) < green else 0
    path = kerb + KERB_WIDTH + grass
    front = path + between(stream, 2600, 4600)
    return Side(sign, kerb, path, front, lay_blocks(stream, end, green))


def lay_blocks(stream: Stream, end: int, green: int) -> tuple[Block, ...]:
    """Buildings and gardens along one side, from beside the car to the end; ``green`` 0 … 3 makes gardens and
    houses likelier."""
    blocks, z = [], FIRST_BLOCK
    while z < end:
        length = between(stream, 7000, 18_000)
        blocks.append(lay_block(stream, z, min(z + length, end), green))
        z += length
    return tuple(blocks)


def lay_block(stream: Stream, z0: int, z1: int, green: int) -> Block:
    """A house of two or three floors, a town building of three to seven, or a garden."""
    storey = between(stream, 2800, 3500)
    house = stream.below(4) < green
    garden = stream.below(10) < 1 + 2 * green
    floors = between(stream, 2, 3) if house else between(stream, 3, 7)
    plinth_and_cornice = 700
    return Block(
        z0=z0,
        z1=z1,
        height=0 if garden else storey * floors + plinth_and_cornice,
        roof=between(stream, 2200, 3400) if house else 0,
        storey=storey,
        bay=between(stream, 1900, 3600),
        shop=not house and not one_in(stream, 3),
        wall=pick(stream, WALLS),
        tiles=pick(stream, ROOFS),
        awning=pick(stream, AWNINGS),
        salt=stream.below(1 << 31),
    )
