"""Street scenes that are drawn, not photographed: pictures with Cityscapes labels that need no download.

A street in perspective, seen from a car. The pixels are the same on every machine, because they come from
integer arithmetic and raw Philox output alone, and they are part of the format: whoever changes one makes
another data set. So does whoever changes the order in which a stream is drawn from.

``street`` lays out what does not move, ``things`` what stands on it; ``scenery``, ``blocks``, ``vehicles``,
``people`` and ``props`` draw it on a ``stage``, which is a ``canvas`` with a camera and a light; ``sensor``
makes the picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poisongen.randomness import Stream
from poisongen.streets import palettes
from poisongen.streets.blocks import draw_blocks
from poisongen.streets.canvas import SUB, Canvas, Point
from poisongen.streets.chance import between, pick
from poisongen.streets.class_ids import EGO_VEHICLE
from poisongen.streets.scenery import draw_ground, draw_sky
from poisongen.streets.sensor import develop
from poisongen.streets.stage import Camera, Light, Stage
from poisongen.streets.street import lay_street
from poisongen.streets.things import all_things

SMALL = 512
"""Pictures of up to so many rows are drawn at twice their size, so that thin things do not flicker."""

CLEAR = Light(
    zenith=(84, 138, 208),
    horizon=(196, 216, 232),
    gain=(256, 254, 246),
    sight=260_000,
    sun=1,
    clouds=90,
    lamps=6,
)
FAIR = Light(
    zenith=(100, 150, 214),
    horizon=(206, 220, 230),
    gain=(250, 252, 256),
    sight=200_000,
    sun=1,
    clouds=130,
    lamps=6,
)
OVERCAST = Light(
    zenith=(146, 156, 168),
    horizon=(206, 210, 214),
    gain=(224, 230, 238),
    sight=160_000,
    sun=0,
    clouds=220,
    lamps=24,
)
EVENING = Light(
    zenith=(112, 122, 172),
    horizon=(250, 196, 138),
    gain=(264, 232, 196),
    sight=150_000,
    sun=1,
    clouds=110,
    lamps=50,
)
LIGHTS = (CLEAR, FAIR, OVERCAST, EVENING)


@dataclass(frozen=True)
class Size:
    """Of a picture, in pixels, and how many pixels of the canvas, along a side, are one of them."""

    height: int
    width: int
    fine: int

    @property
    def sub_pixels(self) -> int:
        """Sub-pixels of the canvas to a pixel of the picture."""
        return self.fine * SUB


def draw_scene(seed: int, index: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Scene ``index`` of the world ``seed``: a picture, uint8 (height, width, 3) RGB, and Cityscapes raw
    label ids, uint8 (height, width).

    A pure function. Another size shows the same street; pictures of up to 512 rows are drawn at twice their
    size. Raises ValueError for a size below 16 × 16.
    """
    if min(height, width) < 16:
        raise ValueError(f"a scene is at least 16 × 16, found {height} × {width}")
    size = Size(height, width, fine=2 if height <= SMALL else 1)
    stream = Stream(seed, "street", str(index))
    stage = set_stage(stream, size)
    street = lay_street(stream)
    draw_sky(stage, stream)
    draw_ground(stage, street)
    draw_blocks(stage, street, stream)
    from_far_to_near = sorted(all_things(stage, street, stream), key=lambda thing: -thing.z)
    for thing in from_far_to_near:
        thing.draw()
    draw_hood(stage, stream)
    return develop(stage.canvas, stage.light.gain, size.fine, Stream(seed, "street sensor", str(index)))


def set_stage(stream: Stream, size: Size) -> Stage:
    """An empty canvas, a camera and a light."""
    canvas = Canvas(size.height * size.fine, size.width * size.fine)
    camera = choose_camera(stream, size)
    return Stage(canvas, camera, choose_light(stream))


def choose_camera(stream: Stream, size: Size) -> Camera:
    """About as wide an angle in every format; the horizon somewhat above the middle. The draws are 1024ths of
    a length, but the camera's height, which is in mm."""
    shorter_side = min(size.height, size.width * 3 // 4) * size.sub_pixels
    middle_x = size.width * size.sub_pixels // 2
    return Camera(
        focal=shorter_side * between(stream, 1220, 1500) >> 10,
        x=middle_x + (shorter_side * between(stream, -90, 90) >> 10),
        y=size.height * size.sub_pixels * between(stream, 390, 480) >> 10,
        height=between(stream, 1350, 1750),
    )


def choose_light(stream: Stream) -> Light:
    """One of the lights, brighter or darker, tinted a little, with the sun on either side."""
    mood = pick(stream, LIGHTS)
    level = between(stream, 230, 280)
    red, green, blue = (gain * (level + between(stream, -10, 10)) >> 8 for gain in mood.gain)
    return Light(
        zenith=mood.zenith,
        horizon=mood.horizon,
        gain=(red, green, blue),
        sight=mood.sight * between(stream, 3, 5) // 4,
        sun=mood.sun * pick(stream, (-1, 1)),
        clouds=mood.clouds,
        lamps=mood.lamps,
    )


def draw_hood(stage: Stage, stream: Stream) -> None:
    """The ego vehicle: an arched hood along the bottom, in four of five scenes."""
    height = stage.canvas.labels.shape[0]
    tall = height * between(stream, 25, 40) // 1000  # in pixels, as the height
    colour = pick(stream, palettes.CARS)
    if stream.below(5) == 0:
        return
    for lower, gain in ((0, 190), (tall // 3, 120)):
        arch = hood_outline(stage.canvas, tall, lower)
        stage.canvas.fill(arch, stage.haze(colour, 1000, gain), EGO_VEHICLE)


def hood_outline(canvas: Canvas, tall: int, lower: int) -> list[Point]:
    """A parabola over the whole width, ``tall`` pixels less ``lower`` above the bottom at its peak."""
    height, width = canvas.labels.shape
    bottom, right = height * SUB, width * SUB
    peak = bottom - (tall - lower) * SUB
    arch = []
    for step in range(17):
        from_middle = step - 8
        drop = tall * SUB * from_middle**2 // 80  # at both ends 64/80 of the height
        arch.append((right * step // 16, peak + drop))
    return [*arch, (right, bottom), (0, bottom)]
