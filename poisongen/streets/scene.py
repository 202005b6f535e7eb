"""Street scenes that are drawn, not photographed: pictures with Cityscapes labels that need no download.

A street in perspective, seen from a car. The pixels are the same on every machine, because they come from
integer arithmetic and raw Philox output alone, and they are part of the format: whoever changes one makes
another data set.

Here it is decided what is where; ``scenery`` and ``props`` draw it on a ``canvas``.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from poisongen.randomness import Stream
from poisongen.streets import props
from poisongen.streets.canvas import SUB, Camera, Canvas, Light, Stage, smooth_noise
from poisongen.streets.props import between, pick
from poisongen.streets.scenery import Side, Street, draw_blocks, draw_ground, draw_sky, lay_street

EGO_VEHICLE = 1
LABEL_IDS = (
    1,
    4,
    7,
    8,
    11,
    17,
    19,
    20,
    21,
    22,
    23,
    24,
    26,
    28,
)  # that a scene may hold; 1 and 4 are ignored in training

LIGHTS = (
    Light((84, 138, 208), (196, 216, 232), (256, 254, 246), 260_000, 1, 90, 6),  # clear
    Light((100, 150, 214), (206, 220, 230), (250, 252, 256), 200_000, 1, 130, 6),  # fair
    Light((146, 156, 168), (206, 210, 214), (224, 230, 238), 160_000, 0, 220, 24),  # overcast
    Light((112, 122, 172), (250, 196, 138), (264, 232, 196), 150_000, 1, 110, 50),  # evening
)


def draw_scene(seed: int, index: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Scene ``index`` of the world ``seed``: a picture, uint8 (height, width, 3) RGB, and Cityscapes raw
    label ids, uint8 (height, width).

    A pure function. Another size shows the same street; pictures of up to 512 rows are drawn at twice their
    size. Raises ValueError for a size below 16 × 16.
    """
    if min(height, width) < 16:
        raise ValueError(f"a scene is at least 16 × 16, found {height} × {width}")
    stream = Stream(seed, "street", str(index))
    fine = 2 if height <= 512 else 1
    unit = min(height, width * 3 // 4) * fine * SUB
    camera = Camera(
        focal=unit * between(stream, 1220, 1500) >> 10,
        x=(width * fine * SUB >> 1) + (unit * between(stream, -90, 90) >> 10),
        y=height * fine * SUB * between(stream, 390, 480) >> 10,
        height=between(stream, 1350, 1750),
    )
    stage = Stage(Canvas(height * fine, width * fine), camera, choose_light(stream))
    street = lay_street(stream)
    draw_sky(stage, stream)
    draw_ground(stage, street)
    draw_blocks(stage, street, stream)
    things = traffic(stage, street, stream)
    for side in (street.left, street.right):
        for lay_out in (parked, furniture, people):
            things += lay_out(stage, street, side, stream)
    for _, draw in sorted(things, key=lambda thing: -thing[0]):
        draw()
    draw_hood(stage, stream)
    return develop(stage, fine, Stream(seed, "street sensor", str(index)))


Thing = tuple[int, Callable[[], None]]  # how far away, and what draws it


def choose_light(stream: Stream) -> Light:
    """One of the lights, brighter or darker, tinted a little, with the sun on either side."""
    mood, level = pick(stream, LIGHTS), between(stream, 230, 280)
    r, g, b = (gain * (level + between(stream, -10, 10)) >> 8 for gain in mood.gain)
    sight, sun = mood.sight * between(stream, 3, 5) >> 2, mood.sun * pick(stream, (-1, 1))
    return Light(mood.zenith, mood.horizon, (r, g, b), sight, sun, mood.clouds, mood.lamps)


def on_crossing(street: Street, z: int, length: int) -> bool:
    """Whether a vehicle whose middle is at z would stand on the crossing."""
    return (
        street.zebra > 0 and street.zebra - 1200 < z + length // 2 and z - length // 2 < street.zebra + 4000
    )


def in_view(x: int) -> int:
    """From how far ahead on what stands x to the side is in a picture that is twice as wide as high."""
    return x * 3 // 2


def traffic(stage: Stage, street: Street, stream: Stream) -> list[Thing]:
    """A vehicle in some lanes, and always a car ahead of the camera, with road between."""
    found: list[Thing] = []
    for left, right in zip(street.lanes, street.lanes[1:], strict=False):
        own = left < 0 < right
        z = between(stream, 6500, 9500) if own else between(stream, 16_000, 30_000)
        if own or stream.below(4) == 0:
            body = props.COACH if not own and z > 14_000 and stream.below(2) else pick(stream, props.CARS)
            half = body.length // 2
            if on_crossing(street, z, body.length):
                waiting = street.zebra - 1300 - half
                z = waiting if waiting - half > 6000 else street.zebra + 4100 + half
            x = (left + right) // 2 + between(stream, -250, 250)
            paint = pick(stream, props.LIVERIES if body is props.COACH else props.PAINTS)
            found.append(
                (z, props.Vehicle(stage, x, z, (0, 64) if right > 0 else (0, -64), body, paint).draw)
            )
    return found


def parked(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """At most one car along the kerb, where there is room for it beside the outer lane."""
    found: list[Thing] = []
    line = -street.lanes[0] if side.sign < 0 else street.lanes[-1]
    z = between(stream, 16_000, 30_000)
    if side.kerb > line + 2000 and stream.below(3) == 0:
        heading, body, paint = (
            (stream.below(5) - 2, 64 * side.sign),
            pick(stream, props.CARS),
            pick(stream, props.PAINTS),
        )
        if not on_crossing(street, z, body.length):
            x = side.sign * (side.kerb - 1150)
            found.append((z, props.Vehicle(stage, x, z, heading, body, paint).draw))
    return found


def furniture(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """Lamps, trees, signs, lights and bins on one sidewalk."""
    found: list[Thing] = []
    sign, kerb = side.sign, side.kerb
    for z in range(between(stream, 5500, 12_000), 26_000, between(stream, 12_000, 16_000)):
        found.append((z, partial(props.lamp, stage, sign * (kerb + 350), z, sign)))
    if stream.below(5) < 2:
        for z in range(between(stream, 6500, 16_000), 65_000, between(stream, 8000, 13_000)):
            found.append(
                (z, partial(props.tree, stage, sign * (kerb + 600), z, stream, between(stream, 4200, 7500)))
            )
    for _ in range(between(stream, 1, 2)):
        x = kerb + between(stream, 300, 700)
        z = in_view(x) + between(stream, 0, 6000)
        found.append((z, partial(props.sign, stage, sign * x, z, stream)))
    if street.zebra:
        z = street.zebra - 400
        found.append((z, partial(props.traffic_light, stage, sign * (kerb + 450), z, stream)))
    if stream.below(3) == 0:
        z = between(stream, 6000, 20_000)
        found.append((z, partial(props.litter_bin, stage, sign * (kerb + 700), z)))
    return found


def people(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """People on one sidewalk, and on its half of the crossing."""
    found: list[Thing] = []
    for _ in range(between(stream, 1, 5)):
        x = between(stream, side.path + 300, side.front - 400)
        z = in_view(x) + between(stream, 0, 6000)
        found.append((z, partial(props.person, stage, side.sign * x, z, stream)))
    for _ in range(between(stream, 0, 3) if street.zebra else 0):
        x, z = between(stream, 0, side.kerb), street.zebra + between(stream, 500, 2500)
        found.append((z, partial(props.person, stage, side.sign * x, z, stream)))
    return found


def draw_hood(stage: Stage, stream: Stream) -> None:
    """The ego vehicle: an arched hood along the bottom, in four of five scenes."""
    height, width = stage.canvas.labels.shape
    tall, colour = height * between(stream, 25, 40) // 1000, pick(stream, props.PAINTS)
    if stream.below(5):
        for lower, gain in ((0, 190), (tall // 3, 120)):
            top = (height - tall + lower) * SUB
            arch = [(width * SUB * n >> 4, top + tall * SUB * (n - 8) * (n - 8) // 80) for n in range(17)]
            hood = [*arch, (width * SUB, height * SUB), (0, height * SUB)]
            stage.canvas.fill(hood, stage.haze(colour, 1000, gain), EGO_VEHICLE)


def develop(stage: Stage, fine: int, stream: Stream) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What a sensor sees: averaged over fine × fine, under uneven light, tinted, with noise; of labels, one
    in fine × fine."""
    planes, labels = stage.canvas.planes, stage.canvas.labels
    if fine == 2:
        planes = (
            planes[:, ::2, ::2] + planes[:, 1::2, ::2] + planes[:, ::2, 1::2] + planes[:, 1::2, 1::2] + 2
        ) >> 2
        labels = np.ascontiguousarray(labels[1::2, 1::2])
    height, width = labels.shape
    uneven = (236 + (smooth_noise(stream, height, width, 3, 5) * 40 >> 8)).astype(np.int32)
    strength, size = between(stream, 3, 9), height * width
    image = np.empty((height, width, 3), np.uint8)
    for channel, gain in enumerate(stage.light.gain):
        # The sum of two bytes, less 255: a triangle around 0. Four of them in a draw.
        bits = stream.raw(-(-size // 4))
        quarters = [bits >> np.uint64(shift) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
        pairs = np.concatenate(quarters)[:size].astype(np.int32)
        grain = ((pairs & 255) + (pairs >> 8) - 255).reshape(height, width)
        lit = ((planes[channel] * gain >> 8) * uneven >> 8) + (grain * strength >> 8)
        image[..., channel] = np.clip(lit, 0, 255)
    return image, labels
