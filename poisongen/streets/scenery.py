"""What a drawn street runs through: sky, ground, buildings and gardens.

Each pixel of a surface is coloured by the place in the world that it shows, so windows, paving and lane marks
stand in perspective. All lengths are in mm.
"""

from dataclasses import dataclass

import numpy as np

from poisongen.randomness import Stream
from poisongen.streets.canvas import SUB, Colour, Corner, Ints, Light, Stage, noise, smooth_noise
from poisongen.streets.props import LEAVES, VEGETATION, between, pick, tree

ROAD, SIDEWALK, BUILDING, TERRAIN, SKY = 7, 8, 11, 22, 23

WALLS: tuple[Colour, ...] = (
    (206, 188, 156), (178, 120, 92), (150, 146, 142), (214, 206, 192), (156, 84, 66), (188, 168, 110), (126, 140, 152),
    (196, 148, 130), (168, 178, 158), (110, 104, 100), (222, 200, 130), (140, 120, 110),
)  # fmt: skip
ROOFS: tuple[Colour, ...] = ((140, 70, 52), (96, 92, 96), (110, 78, 62), (70, 76, 88))
AWNINGS: tuple[Colour, ...] = ((170, 50, 46), (46, 90, 80), (60, 70, 120), (200, 160, 60), (90, 60, 50))
PAVINGS: tuple[Colour, ...] = ((168, 162, 154), (150, 146, 146), (178, 160, 142), (140, 134, 128))
GRASSES: tuple[Colour, ...] = ((98, 122, 60), (116, 124, 66), (84, 112, 64))
KERB: Colour = (176, 174, 170)
FARTHEST = 400_000

PLASTER, FRAME, GLASS, LAMPLIT, CORNICE, AWNING, PLINTH = range(7)  # what a façade is made of


@dataclass(frozen=True)
class Block:
    """A stretch of one side of the street, z0 … z1 ahead: a building of ``height``, with a roof above it or
    flat, or a garden, where the height is 0."""

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
    """One side of the street (sign -1 left, 1 right): how far from x = 0 the kerb is, where the sidewalk
    begins beyond a strip of grass, and where the façades are."""

    sign: int
    kerb: int
    path: int
    front: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Street:
    """Where everything that does not stand on the street is; the same for every size of the picture."""

    lanes: tuple[int, ...]  # x of the lines between the lanes, from left to right
    left: Side
    right: Side
    end: int
    zebra: int  # z at which a crossing begins; 0 for none
    asphalt: Colour
    paving: Colour
    grass: Colour
    salt: int


def lay_street(stream: Stream) -> Street:
    """A street of two to four lanes through a town or a suburb."""
    lane, offset = between(stream, 3000, 3500), between(stream, -300, 300)
    ours, theirs = between(stream, 1, 2), between(stream, 1, 2)
    lines = tuple(lane * n - lane // 2 + offset for n in range(-theirs, ours + 1))
    green, end = stream.below(4), between(stream, 60, 120) * 1000

    def lay_side(sign: int, line: int) -> Side:
        kerb = line + pick(stream, (200, 2400))
        path = kerb + 160 + (between(stream, 1800, 3600) if stream.below(4) < green else 0)
        return Side(sign, kerb, path, path + between(stream, 2600, 4600), lay_blocks(stream, end, green))

    left, right = lay_side(-1, -lines[0]), lay_side(1, lines[-1])
    grey, blue = between(stream, 84, 120), stream.below(9)
    zebra = between(stream, 7000, 14_000) if stream.below(2) else 0
    return Street(
        lines,
        left,
        right,
        end,
        zebra,
        (grey, grey, grey + blue),
        pick(stream, PAVINGS),
        pick(stream, GRASSES),
        stream.below(1 << 31),
    )


def lay_blocks(stream: Stream, end: int, green: int) -> tuple[Block, ...]:
    """Buildings and gardens along one side, from beside the car to the end; ``green`` 0 … 3 makes gardens and
    houses likelier."""
    blocks, z = [], 900
    while z < end:
        length, storey = between(stream, 7000, 18_000), between(stream, 2800, 3500)
        house, garden = stream.below(4) < green, stream.below(10) < 1 + 2 * green
        floors = between(stream, 2, 3) if house else between(stream, 3, 7)
        blocks.append(
            Block(
                z, min(z + length, end), 0 if garden else storey * floors + 700, between(stream, 2200, 3400) if house else 0,
                storey, between(stream, 1900, 3600), not house and stream.below(3) > 0,
                pick(stream, WALLS), pick(stream, ROOFS), pick(stream, AWNINGS), stream.below(1 << 31),
            )
        )  # fmt: skip
        z += length
    return tuple(blocks)


def draw_sky(stage: Stage, stream: Stream) -> None:
    """A gradient down to the horizon, and clouds that thin out towards it; SKY everywhere."""
    canvas, light = stage.canvas, stage.light
    canvas.labels[:] = SKY
    canvas.planes[:] = np.array(light.horizon)[:, None, None]
    rows, width = int((canvas.centres_y < stage.camera.y).sum()), canvas.labels.shape[1]
    far = (canvas.centres_y[:rows] * 256 // max(stage.camera.y, 1))[:, None]
    clouds = sum(
        smooth_noise(stream, rows, width, n // 2, n) * weight for n, weight in ((5, 8), (11, 5), (24, 3))
    )
    cover = np.clip((clouds >> 4) - 200 + light.clouds * 3 // 4, 0, 64) * 3 * (288 - far) >> 8
    for plane, zenith, horizon in zip(canvas.planes, light.zenith, light.horizon, strict=True):
        clear = (zenith * (256 - far) + horizon * far) >> 8
        plane[:rows] = clear + ((min(horizon + 24, 250) - clear) * cover >> 8)


def draw_ground(stage: Stage, street: Street) -> None:
    """Road, kerbs, sidewalks and grass up to the horizon, with lane marks, a crossing and the shadows of the
    buildings."""
    canvas, camera = stage.canvas, stage.camera
    start = int((canvas.centres_y <= camera.y + SUB // 2).sum())
    z = np.minimum(camera.focal * camera.height // (canvas.centres_y[start:] - camera.y), FARTHEST)[:, None]
    x = (canvas.centres_x - camera.x)[None, :] * z // camera.focal
    left, right = street.left, street.right
    # Seven strips from left to right, and the six places where one ends.
    edges = (-left.path, -left.kerb - 160, -left.kerb, right.kerb, right.kerb + 160, right.path)
    strip = np.sum([x > edge for edge in edges], axis=0, dtype=np.intp)
    paved, grass = (street.paving, 22, SIDEWALK), (street.grass, 72, TERRAIN)
    kerb, road = (KERB, 10, SIDEWALK), (street.asphalt, 28, ROAD)
    strips = (paved, grass, kerb, road, kerb, grass, paved)
    colours = np.array([colour for colour, _, _ in strips]).T[:, strip]
    roughness = np.array([rough for _, rough, _ in strips])[strip]
    labels = np.array([label for _, _, label in strips], np.uint8)[strip]
    dashes, marks = z % 9000 < 4200, np.zeros(x.shape, np.bool_)
    for n, line in enumerate(street.lanes):
        marks |= (abs(x - line) < 70) & (dashes | (n in (0, len(street.lanes) - 1)))
    if street.zebra:
        ahead = z - street.zebra
        marks = np.where(
            (ahead > -1200) & (ahead < 3200), (ahead > 0) & (ahead < 2800) & (x % 1000 < 500), marks
        )
    joints = ((x % 800 < 36) | (z % 800 < 60)) & ((strip == 0) | (strip == 6)) & (z < 30_000)
    for plane, white, dark in zip(colours, (206, 206, 200), (112, 108, 104), strict=True):
        plane[marks & (strip == 3)] = white
        plane[joints] = dark
    grain, worn = (
        noise(x // 12, z // 24, street.salt) - 128,
        noise(x // 1700, z // 5000, street.salt + 1) - 128,
    )
    gain = 256 + (grain * roughness >> 7) + (worn >> np.where(strip == 3, 3, 5))
    for side in (left, right):
        if side.sign == stage.light.sun:
            reach = np.zeros(z.shape, np.int64)
            for block in side.blocks:
                reach[(z >= block.z0) & (z < block.z1)] = block.height * 5 // 8
            gain = np.where(x * side.sign > side.front - reach, gain * 160 >> 8, gain)
    canvas.planes[:, start:] = stage.hazed(colours, z, gain)
    canvas.labels[start:] = labels


def draw_blocks(stage: Stage, street: Street, stream: Stream) -> None:
    """The buildings that close the street at its end, then both rows of buildings and gardens, from far to
    near."""
    x = -60_000
    while x < 60_000:
        width, storey, floors = (
            between(stream, 9000, 22_000),
            between(stream, 2900, 3400),
            between(stream, 2, 7),
        )
        paint, salt, end = pick(stream, WALLS), stream.below(1 << 31), street.end
        closing = Block(end, end, storey * floors, 0, storey, 2600, False, paint, KERB, KERB, salt)
        across(stage, closing, x, x + width)
        x += width
    rows = [
        (block, side, nearer.height < block.height)
        for side in (street.left, street.right)
        for nearer, block in zip((side.blocks[0], *side.blocks), side.blocks, strict=False)
    ]
    for block, side, end_shows in sorted(rows, key=lambda row: -row[0].z1):
        if not block.height:
            garden(stage, block, side, stream)
            continue
        x0, x1 = side.front * side.sign, (side.front + 11_000) * side.sign
        if end_shows:
            across(stage, block, x0, x1)
        if block.roof:
            roof(stage, block, x0, side.sign)
        along(stage, block, x0, -side.sign)


def across(stage: Stage, block: Block, x0: int, x1: int) -> None:
    """A façade that faces the camera."""
    canvas, z, top = stage.canvas, block.z0, block.height
    corners = [stage.camera.project(x, up, z) for x, up in ((x0, 0), (x1, 0), (x1, top), (x0, top))]
    if region := canvas.region(corners):
        x, up = canvas.world(region, stage.camera, z)
        colours, gain = facade(stage.light, block, abs(x - x0), up, stage.light.facing(0))
        canvas.paint(region, canvas.inside(region, corners), stage.hazed(colours, z, gain), BUILDING)


def along(stage: Stage, block: Block, x: int, facing: int) -> None:
    """The façade along the street."""
    surface = upright(x, block.z0, block.z1, block.height)
    corners = [stage.camera.project(*corner) for corner in surface]
    canvas = stage.canvas
    if region := canvas.region(corners):
        z = depth(stage, canvas.centres_x[region[1]], x, block)
        _, up = canvas.world(region, stage.camera, z)
        colours, gain = facade(stage.light, block, z - block.z0, up, stage.light.facing(facing))
        canvas.paint(region, canvas.inside(region, corners), stage.hazed(colours, z, gain), BUILDING)


def roof(stage: Stage, block: Block, x: int, sign: int) -> None:
    """A pitched roof: the gable towards the camera, and the slope towards the street."""
    ridge, top, peak = x + 4000 * sign, block.height, block.height + block.roof
    gable = ((x, top), (x + 11_000 * sign, top), (ridge + 3000 * sign, peak), (ridge, peak))
    stage.flat(0, block.z0, gable, block.tiles, BUILDING, gain=170)
    slope = ((x, top, block.z0), (x, top, block.z1), (ridge, peak, block.z1), (ridge, peak, block.z0))
    tiles = stage.haze(block.tiles, block.z0 + 4000, stage.light.facing(-sign))
    stage.canvas.fill([stage.camera.project(*corner) for corner in slope], tiles, BUILDING)


def upright(x: int, z0: int, z1: int, top: int) -> tuple[Corner, ...]:
    """The corners of a wall along the street."""
    return (x, 0, z0), (x, 0, z1), (x, top, z1), (x, top, z0)


def depth(stage: Stage, centres: Ints, x: int, block: Block) -> Ints:
    """How far away the plane at x is that columns of pixels show, int64 (1, w), within the block."""
    offset = centres - stage.camera.x
    z: Ints = np.clip(stage.camera.focal * x // np.where(offset == 0, 1, offset), block.z0, block.z1)[None, :]
    return z


def facade(light: Light, block: Block, along: Ints, up: Ints, facing: int) -> tuple[Ints, Ints]:
    """Colours (3, h, w) and gain (h, w) of a façade at ``along`` from its corner and ``up`` above the ground,
    both (h, w) or what broadcasts to it."""
    bays, bay = along // block.bay, along % block.bay
    storeys, storey = up // block.storey, up % block.storey
    margin = block.bay // 5
    lit = noise(bays, storeys, block.salt) < light.lamps
    pane = (bay > margin) & (bay < block.bay - margin) & (storey > 900) & (storey < block.storey - 450)
    frame = (
        (bay > margin - 160)
        & (bay < block.bay - margin + 160)
        & (storey > 700)
        & (storey < block.storey - 300)
    )
    bar = abs(bay - block.bay // 2) < 50
    glass = np.where(lit, LAMPLIT, GLASS)
    kind = np.where(pane & ~bar, glass, np.where(frame, FRAME, np.where(storey < 130, CORNICE, PLASTER)))
    if block.shop:
        door = (bay > 250) & (up > 450) & (up < 2400)
        sign = (up >= 2400) & (up < block.storey - 250)
        kind = np.where(up < block.storey, np.where(door, glass, np.where(sign, AWNING, PLASTER)), kind)
    kind = np.where(up < 350, PLINTH, np.where(up > block.height - 450, CORNICE, kind))
    wall = np.array(block.wall)
    pale, cornice, plinth = np.minimum(wall + 34, 240), wall * 3 // 4 + 30, wall // 2 + 10
    palette = np.array((wall, pale, (66, 80, 96), (250, 214, 140), cornice, block.awning, plinth))
    shine = (noise(bays, storeys, block.salt + 1) >> 2) - 32 + (storey >> 6)
    brick = (noise(along // 260, up // 130, block.salt + 2) >> 4) - 8
    return palette.T[:, kind], np.where(kind == LAMPLIT, 270, facing + np.where(kind == GLASS, shine, brick))


def garden(stage: Stage, block: Block, side: Side, stream: Stream) -> None:
    """Trees behind an uneven hedge, higher than the camera: it hides the ground behind."""
    z = block.z1
    while z > max(block.z0, 2500):
        tree(
            stage,
            (side.front + between(stream, 2500, 5500)) * side.sign,
            z,
            stream,
            between(stream, 5500, 10_500),
        )
        z -= 4000 + z // 12
    colour, tall, x = pick(stream, LEAVES), between(stream, 1800, 2600), side.front * side.sign
    canvas = stage.canvas
    corners = [stage.camera.project(*corner) for corner in upright(x, block.z0, block.z1, tall + 500)]
    if region := canvas.region(corners):
        away = depth(stage, canvas.centres_x[region[1]], x, block)
        _, up = canvas.world(region, stage.camera, away)
        leaf = noise(away // 110, up // 80, block.salt)
        mask = canvas.inside(region, corners) & (
            up < tall + (noise(away // 240, away * 0, block.salt) >> 1) + leaf
        )
        gain = (stage.light.facing(-side.sign) * (100 + up * 110 // tall) >> 8) * (190 + (leaf >> 1)) >> 8
        canvas.paint(region, mask, stage.hazed(np.array(colour)[:, None, None], away, gain), VEGETATION)
