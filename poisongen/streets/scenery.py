"""The sky and the ground of a drawn street.

Each pixel of the ground is coloured by the place in the world that it shows, so that paving and lane marks
lie in perspective. Lengths are in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poisongen.randomness import Stream
from poisongen.streets.canvas import HALF_PIXEL, Bools, Colour
from poisongen.streets.chance import Ints, noise, smooth_noise
from poisongen.streets.class_ids import ROAD, SIDEWALK, SKY, TERRAIN
from poisongen.streets.stage import Stage, Surface
from poisongen.streets.street import KERB_WIDTH, Side, Street

KERB: Colour = (176, 174, 170)
JOINT: Colour = (112, 108, 104)
LANE_MARK: Colour = (206, 206, 200)

FARTHEST = 400_000
"""What lies farther, up to the horizon, is drawn as if it lay there."""

LEFT_PAVING, LEFT_GRASS, LEFT_KERB, CARRIAGEWAY, RIGHT_KERB, RIGHT_GRASS, RIGHT_PAVING = range(7)
"""The strips of the ground from left to right."""


@dataclass(frozen=True)
class CloudLayer:
    """Smooth noise of ``columns`` cells over the picture's width, half as many over the sky's height."""

    columns: int
    weight: int  # in 16ths


CLOUD_LAYERS = (
    CloudLayer(columns=5, weight=8),
    CloudLayer(columns=11, weight=5),
    CloudLayer(columns=24, weight=3),
)


def draw_sky(stage: Stage, stream: Stream) -> None:
    """A gradient down to the horizon, and clouds that thin out towards it; SKY everywhere."""
    canvas, camera, light = stage.canvas, stage.camera, stage.light
    canvas.labels[:] = SKY
    canvas.planes[:] = np.array(light.horizon)[:, None, None]
    rows = int((canvas.centres_y < camera.y).sum())
    sky_height = max(camera.y, 1)
    down = canvas.centres_y[:rows, None] * 256 // sky_height  # how far to the horizon a row is, in 256ths
    cover = cloud_cover(stage, stream, rows, down)
    for plane, zenith, horizon in zip(canvas.planes, light.zenith, light.horizon, strict=True):
        clear = (zenith * (256 - down) + horizon * down) >> 8
        cloud = min(horizon + 24, 250)
        plane[:rows] = clear + ((cloud - clear) * cover >> 8)


def cloud_cover(stage: Stage, stream: Stream, rows: int, down: Ints) -> Ints:
    """How much of each pixel of the sky is under clouds, in 256ths, (rows, width). ``down``: as in
    ``draw_sky``."""
    width = stage.canvas.labels.shape[1]
    layers = [
        smooth_noise(stream, rows, width, layer.columns // 2, layer.columns) * layer.weight
        for layer in CLOUD_LAYERS
    ]
    mean = np.sum(layers, axis=0, dtype=np.int64) >> 4
    # More clouds lower the level above which the noise is one; 64 above it, a cloud hides all.
    density = np.clip(mean - 200 + stage.light.clouds * 3 // 4, 0, 64)
    return density * 3 * (288 - down) >> 8


@dataclass(frozen=True)
class Ground:
    """The ground that is seen, from the first row below the horizon to the last of the picture.

    ``x`` (h, w) and ``z`` (h, 1): the place in the world. ``strip`` (h, w): which strip it lies in.
    """

    first_row: int
    x: Ints
    z: Ints
    strip: NDArray[np.intp]

    @property
    def on_road(self) -> Bools:
        """Which of it is carriageway."""
        return np.asarray(self.strip == CARRIAGEWAY)

    @property
    def paved(self) -> Bools:
        """Which of it is paved sidewalk."""
        return np.asarray((self.strip == LEFT_PAVING) | (self.strip == RIGHT_PAVING))


@dataclass(frozen=True)
class Material:
    """What a strip is made of; ``roughness``: how strong its grain is, in 128ths."""

    colour: Colour
    roughness: int
    label: int


def draw_ground(stage: Stage, street: Street) -> None:
    """Road, kerbs, sidewalks and grass up to the horizon, with lane marks, a crossing and the shadows of the
    buildings."""
    canvas = stage.canvas
    ground = ground_seen(stage, street)
    materials = strip_materials(street)
    palette = np.array([material.colour for material in materials])
    labels = np.array([material.label for material in materials], np.uint8)
    colours = palette.T[:, ground.strip]
    marks = road_marks(ground, street) & ground.on_road
    joints = paving_joints(ground)
    for plane, white, dark in zip(colours, LANE_MARK, JOINT, strict=True):
        plane[marks] = white
        plane[joints] = dark
    gain = worn_gain(ground, materials, street.salt)
    for side in (street.left, street.right):
        if side.sign == stage.light.sun:
            gain = np.where(in_shadow(ground, side), gain * 160 >> 8, gain)
    canvas.planes[:, ground.first_row :] = stage.hazed(Surface(colours, gain), ground.z)
    canvas.labels[ground.first_row :] = labels[ground.strip]


def ground_seen(stage: Stage, street: Street) -> Ground:
    """Which place of the ground each pixel below the horizon shows."""
    canvas, camera = stage.canvas, stage.camera
    first_row = int((canvas.centres_y <= camera.y + HALF_PIXEL).sum())
    below_horizon = canvas.centres_y[first_row:] - camera.y
    distance = camera.focal * camera.height // below_horizon
    z = np.minimum(distance, FARTHEST)[:, None]
    x = (canvas.centres_x - camera.x)[None, :] * z // camera.focal
    left, right = street.left, street.right
    ends_of_strips = (
        -left.path,
        -left.kerb - KERB_WIDTH,
        -left.kerb,
        right.kerb,
        right.kerb + KERB_WIDTH,
        right.path,
    )
    strip = np.zeros(x.shape, np.intp)
    for end in ends_of_strips:
        strip += x > end
    return Ground(first_row, x, z, strip)


def strip_materials(street: Street) -> tuple[Material, ...]:
    """Of each strip, from left to right."""
    paving = Material(street.paving, 22, SIDEWALK)
    grass = Material(street.grass, 72, TERRAIN)
    kerb = Material(KERB, 10, SIDEWALK)
    road = Material(street.asphalt, 28, ROAD)
    return paving, grass, kerb, road, kerb, grass, paving


def road_marks(ground: Ground, street: Street) -> Bools:
    """Where the road would be white, (h, w): dashes between lanes, lines at its edges, and a crossing, before
    which the lines end."""
    dash = ground.z % 9000 < 4200
    marks = np.zeros(ground.x.shape, np.bool_)
    last = len(street.lanes) - 1
    for number, line_x in enumerate(street.lanes):
        on_line = abs(ground.x - line_x) < 70
        whole = number in (0, last)
        marks |= on_line if whole else on_line & dash
    if street.zebra:
        beyond = ground.z - street.zebra
        around_crossing = (beyond > -1200) & (beyond < 3200)
        on_crossing = (beyond > 0) & (beyond < 2800)
        stripe = ground.x % 1000 < 500
        marks = np.where(around_crossing, on_crossing & stripe, marks)
    return marks


def paving_joints(ground: Ground) -> Bools:
    """Where joints between the stones of the sidewalks are seen, (h, w): not far away."""
    joint = (ground.x % 800 < 36) | (ground.z % 800 < 60)
    return joint & ground.paved & (ground.z < 30_000)


def worn_gain(ground: Ground, materials: Sequence[Material], salt: int) -> Ints:
    """Fine grain by material, and large patches that are strongest on the road, in 256ths, (h, w)."""
    roughness = np.array([material.roughness for material in materials])[ground.strip]
    grain = noise(ground.x // 12, ground.z // 24, salt) - 128
    patches = noise(ground.x // 1700, ground.z // 5000, salt + 1) - 128
    roughened = grain * roughness >> 7
    faded = patches >> np.where(ground.on_road, 3, 5)
    gain: Ints = 256 + roughened + faded
    return gain


def in_shadow(ground: Ground, side: Side) -> Bools:
    """What the buildings of the sun's side keep the sun from, (h, w)."""
    reach = np.zeros(ground.z.shape, np.int64)  # from the façade towards the road
    for block in side.blocks:
        beside = (ground.z >= block.z0) & (ground.z < block.z1)
        reach[beside] = block.height * 5 // 8
    return ground.x * side.sign > side.front - reach
