"""What stands in a drawn street: cars, people, trees, lamps, signs; each a few convex shapes in the world.

Every function paints one thing on a stage at (x, z) on the ground, with its Cityscapes raw label id. A
thing's own dimensions are in mm; colours are RGB before light and haze.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from poisongen.randomness import Stream
from poisongen.streets.canvas import SUB, Colour, Corner, Point, Stage, noise

T = TypeVar("T")

STATIC, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, PERSON, CAR, BUS = 4, 17, 19, 20, 21, 24, 26, 28

# A circle of radius 1024 in integers.
CIRCLE: tuple[Point, ...] = (
    (1024, 0), (946, 392), (724, 724), (392, 946), (0, 1024), (-392, 946), (-724, 724), (-946, 392),
    (-1024, 0), (-946, -392), (-724, -724), (-392, -946), (0, -1024), (392, -946), (724, -724), (946, -392),
)  # fmt: skip

PAINTS: tuple[Colour, ...] = (
    (178, 34, 38), (38, 78, 160), (236, 236, 232), (40, 42, 46), (120, 122, 126), (168, 172, 176), (90, 92, 96),
    (218, 170, 40), (44, 110, 74), (110, 60, 40), (70, 130, 180), (196, 92, 40), (92, 40, 92), (206, 196, 170),
)  # fmt: skip
LIVERIES: tuple[Colour, ...] = ((190, 36, 40), (228, 178, 30), (34, 84, 166), (30, 122, 90))
CLOTHES: tuple[Colour, ...] = (
    (180, 50, 50), (50, 70, 140), (40, 40, 46), (200, 190, 170), (60, 110, 80), (220, 160, 50), (120, 70, 120),
    (90, 90, 96), (230, 230, 226), (70, 130, 150), (150, 90, 60), (200, 110, 130),
)  # fmt: skip
SKINS: tuple[Colour, ...] = ((236, 196, 166), (206, 156, 122), (150, 104, 76), (98, 66, 50))
HAIRS: tuple[Colour, ...] = ((40, 30, 24), (90, 60, 30), (170, 140, 90), (120, 120, 120))
LEAVES: tuple[Colour, ...] = (
    (70, 118, 50),
    (50, 96, 54),
    (96, 128, 52),
    (122, 120, 44),
    (58, 108, 70),
    (140, 132, 46),
)
WHITE: Colour = (234, 234, 228)
GLASS: Colour = (44, 54, 66)
RUBBER: Colour = (26, 26, 28)


def pick(stream: Stream, choices: Sequence[T]) -> T:
    """One of the choices."""
    return choices[stream.below(len(choices))]


def between(stream: Stream, low: int, high: int) -> int:
    """An integer in low … high, both included."""
    return low + stream.below(high - low + 1)


@dataclass(frozen=True)
class Body:
    """A vehicle's side view, mm: a body up to ``belt`` and a cabin from ``belt`` to ``top``, both along its
    length."""

    label: int
    length: int
    width: int
    belt: int
    hood: int
    top: int
    cabin: tuple[int, int, int, int]  # below: rear, front; above: rear, front
    wheel: int = 330
    taper: int = 180
    panes: int = 2


CARS = (
    Body(CAR, 4500, 1800, 900, 760, 1440, (450, 3350, 1050, 2650)),
    Body(CAR, 3800, 1720, 920, 800, 1490, (60, 2900, 330, 2250)),
    Body(CAR, 4600, 1900, 1060, 980, 1740, (60, 3400, 300, 2750), 370),
    Body(CAR, 4600, 1820, 920, 780, 1490, (40, 3350, 500, 2650)),
    Body(CAR, 5000, 1950, 1180, 1060, 2050, (30, 4350, 120, 3700), 350),
)
COACH = Body(BUS, 11500, 2500, 1350, 1350, 3150, (0, 11500, 0, 11460), 480, 60, 6)


@dataclass(frozen=True)
class Vehicle:
    """A vehicle centred at (x, z) that heads along ``heading``, a vector (x, z) of about length 64."""

    stage: Stage
    x: int
    z: int
    heading: Point
    body: Body
    paint: Colour

    def at(self, u: int, v: int, up: int) -> Corner:
        """The point u mm ahead of the rear bumper, v mm to the right of the middle."""
        (hx, hz), u = self.heading, u - self.body.length // 2
        return self.x + (u * hx + v * hz) // 64, up, self.z + (u * hz - v * hx) // 64

    def gain(self, ahead: int, right: int) -> int:
        """The light on a face whose normal points ``ahead`` or ``right``."""
        return 214 + 40 * self.stage.light.sun * (ahead * self.heading[0] + right * self.heading[1]) // 64

    def face(self, corners: Sequence[Corner], colour: Colour, gain: int) -> bool:
        """A convex face, its corners counter-clockwise as seen from outside; whether it is seen."""
        return self.stage.polygon(corners, colour, self.body.label, gain)

    def side(self, right: int, outline: Sequence[tuple[int, int, int]], colour: Colour, gain: int) -> None:
        """A face (u, mm from the middle, up) on the right (1) or the left (-1), counter-clockwise as seen
        from the right."""
        self.face([self.at(u, right * v, up) for u, v, up in outline[::right]], colour, gain)

    def prism(self, outline: Sequence[tuple[int, int, int]], paint: Colour) -> None:
        """A painted solid: the outline (u, half the width, up), counter-clockwise as seen from the right,
        from side to side."""
        for right in (-1, 1):
            self.side(right, outline, paint, self.gain(0, right))
        for (u0, v0, up0), (u1, v1, up1) in zip(outline, [*outline[1:], outline[0]], strict=True):
            gain = 280 if abs(u1 - u0) > abs(up1 - up0) else self.gain((up1 > up0) - (up1 < up0), 0)
            corners = ((u0, v0, up0), (u0, -v0, up0), (u1, -v1, up1), (u1, v1, up1))
            self.face([self.at(*corner) for corner in corners], paint, gain)

    def draw(self) -> None:
        """Shadow, tyres, body, cabin, glass, wheels, and what is on the rear or the front."""
        body, half = self.body, self.body.width // 2
        low, wheels = body.wheel * 3 // 4, (body.length // 5, body.length * 4 // 5)
        cast = 450 * self.stage.light.sun * self.heading[1] // 64
        v0, v1 = -half - max(cast, 0), half - min(cast, 0)
        ground = [
            self.at(u, v, 0)
            for u, v in ((-80, v0), (-80, v1), (body.length + 80, v1), (body.length + 80, v0))
        ]
        self.stage.canvas.shade([self.stage.camera.project(*corner) for corner in ground], 110)
        for u in wheels:
            for v in (-half, half - 220):
                tyre = [
                    self.at(u, v, 0),
                    self.at(u, v + 220, 0),
                    self.at(u, v + 220, low + 60),
                    self.at(u, v, low + 60),
                ]
                self.face(tyre, RUBBER, 256)
                self.face(tyre[::-1], RUBBER, 256)
        rear, front, rear_top, front_top = body.cabin
        waist, roof, end = half - 40, half - body.taper, half - 20
        nose = [(body.length, end, low), (body.length, end, body.hood)]
        self.prism([(0, half, low), *nose, (front, half, body.belt), (0, half, body.belt)], self.paint)
        sill = [(rear, waist, body.belt), (front, waist, body.belt)]
        self.prism(
            [*sill, (front_top, roof, body.top), (rear_top, roof, body.top)],
            self.paint if body.label == CAR else WHITE,
        )
        self.glaze(waist, roof)
        fine = self.stage.camera.focal * 100 > self.z * SUB  # 100 mm are more than a pixel
        for right in (-1, 1):
            for u in wheels:
                for radius, colour in ((body.wheel, RUBBER), (body.wheel * 5 // 9, (150, 152, 156)))[
                    : 1 + fine
                ]:
                    rim = [
                        (u + radius * c // 1024, half, body.wheel + radius * s // 1024)
                        for c, s in CIRCLE[::2]
                    ]
                    self.side(right, rim, colour, 240)
        if fine:
            self.end(0, 1, body.belt, (214, 30, 26))
            self.end(body.length, -1, body.hood, (250, 246, 214))

    def glaze(self, waist: int, roof: int) -> None:
        """The windows: one behind, one ahead, and a row on each side of the cabin."""
        body, sixth = self.body, (self.body.top - self.body.belt) // 6
        rear, front, rear_top, front_top = body.cabin
        for right, u, u_top in ((1, rear, rear_top), (-1, front, front_top)):
            v, v_top, step = right * waist * 7 // 8, right * roof * 7 // 8, (u_top - u) // 6
            low, high = body.belt + sixth, body.top - sixth
            pane = (
                (u + step, -v, low),
                (u + step, v, low),
                (u_top - step, v_top, high),
                (u_top - step, -v_top, high),
            )
            self.face([self.at(*corner) for corner in pane], GLASS, 300)
        for right in (-1, 1):
            for n in range(body.panes):
                (u0, w0), (u1, w1) = (
                    [
                        u + (u_end - u) * (8 * n + part) // (8 * body.panes)
                        for u, u_end in ((rear, front), (rear_top, front_top))
                    ]
                    for part in (1, 7)
                )
                sill, top = ((u0, waist, body.belt), (u1, waist, body.belt)), body.top - sixth
                self.side(right, [*sill, (w1, roof, top), (w0, roof, top)], GLASS, 280)

    def end(self, u: int, right: int, height: int, lamp: Colour) -> None:
        """Bumper, two lamps, a plate, and ahead a grille; ``right`` is 1 for the rear, -1 for the front."""
        half, low = self.body.width // 2, self.body.wheel * 3 // 4

        def plate(v0: int, v1: int, up0: int, up1: int, colour: Colour) -> bool:
            corners = ((v0, up0), (v1, up0), (v1, up1), (v0, up1))
            return self.face([self.at(u, right * v, up) for v, up in corners], colour, 270)

        if plate(-half, half, low, low + 160, (52, 52, 56)):
            plate(-half + 40, -half + 340, height - 280, height - 80, lamp)
            plate(half - 340, half - 40, height - 280, height - 80, lamp)
            plate(-260, 260, low + 170, low + 290, (230, 230, 214))
            if right < 0:
                plate(-450, 450, height - 300, height - 160, (36, 36, 40))


def person(stage: Stage, x: int, z: int, stream: Stream) -> None:
    """Somebody who stands or walks."""
    tall, stride, turned = between(stream, 1400, 1950), stream.below(260), 1 - 2 * stream.below(2)
    coat, trousers, bag = pick(stream, CLOTHES), pick(stream, CLOTHES), pick(stream, CLOTHES)
    skin, hair = pick(stream, SKINS), pick(stream, HAIRS)
    hem, carries = 700 if stream.below(4) == 0 else 860, stream.below(3) == 0

    def part(shape: Sequence[Point], colour: Colour, gain: int = 240) -> None:
        stage.flat(
            x,
            z,
            [(turned * a * tall // 1800, up * tall // 1800) for a, up in shape],
            colour,
            PERSON,
            gain=gain,
        )

    away = x - stage.light.sun * tall // 6
    shadow = [(away + c * tall // 6000, 0, z + s * tall // 12_000) for c, s in CIRCLE[::2]]
    stage.canvas.shade([stage.camera.project(*corner) for corner in shadow], 150)
    for lean, gain in ((-stride, 200), (stride, 240)):
        part([(-150, 900), (160, 900), (lean + 105, 60), (lean - 105, 60)], trousers, gain)
        part([(lean - 110, 0), (lean + 180, 0), (lean + 120, 100), (lean - 110, 100)], (40, 34, 30), gain)
    part([(-220, 1460), (-320, 1380), (-stride - 330, 840), (-stride - 190, 840)], coat, 190)
    part([(-260, 1490), (260, 1490), (230, hem), (-230, hem)], coat)
    part([(220, 1470), (320, 1380), (stride + 320, 840), (stride + 180, 840)], coat, 215)
    if carries:
        part([(-420, 1000), (-180, 1000), (-180, 620), (-420, 620)], bag)
    part([(-70, 1540), (70, 1540), (70, 1460), (-70, 1460)], skin, 215)
    part([(150 * c // 1024, 1640 + 165 * s // 1024) for c, s in CIRCLE[::2]], skin)
    part([(160 * c // 1024 - 10, 1670 + 160 * s // 1024) for c, s in CIRCLE[:9:2]], hair)


def post(stage: Stage, place: Point, thick: int, span: Point, colour: Colour, *, label: int = POLE) -> None:
    """An upright bar at (x, z), from one height to another, at least a pixel wide, and darker on the side
    without sun."""
    (x, z), (low, high) = place, span
    (left, top), (right, bottom) = (
        stage.camera.project(x - thick // 2, high, z),
        stage.camera.project(x + thick // 2, low, z),
    )
    right = max(right, left + SUB)
    third = (right - left) // 3
    dark = (left, left + third) if stage.light.sun >= 0 else (right - third, right)
    for (x0, x1), gain in (((left, right), 256), (dark, 190)):
        stage.canvas.fill(
            [(x0, top), (x1, top), (x1, bottom), (x0, bottom)], stage.haze(colour, z, gain), label
        )


def lamp(stage: Stage, x: int, z: int, side: int) -> None:
    """A street lamp with an arm over the road; ``side`` is the side of the road that it stands on."""
    colour = (74, 80, 84)
    post(stage, (x, z), 280, (0, 6400), colour)
    stage.flat(x, z, [(0, 6400), (0, 6160), (-side * 1700, 6620), (-side * 1700, 6820)], colour, POLE)
    head = [(-side * 1500, 6640), (-side * 2300, 6650), (-side * 2200, 6880), (-side * 1600, 6880)]
    stage.flat(x, z, head, (206, 200, 170), POLE)


def sign(stage: Stage, x: int, z: int, stream: Stream) -> None:
    """A traffic sign on a pole: a disc, a triangle, a square or a diamond, with a rim."""
    up, red, white, blue = between(stream, 2300, 2800), (196, 28, 34), (240, 240, 236), (30, 80, 170)
    disc, triangle = CIRCLE, ((-1024, -700), (1024, -700), (0, 1024))
    square, diamond = (
        ((-850, -850), (850, -850), (850, 850), (-850, 850)),
        ((-1100, 0), (0, -1100), (1100, 0), (0, 1100)),
    )
    bar = ((-650, -160), (650, -160), (650, 160), (-650, 160))
    shape, rim, field, mark, ink = pick(
        stream,
        (
            (disc, red, white, None, red),
            (disc, red, red, bar, white),
            (disc, red, white, bar, (30, 30, 34)),
            (disc, white, blue, bar, white),
            (triangle, red, white, None, red),
            (square, white, blue, triangle, white),
            (diamond, white, (236, 180, 30), None, white),
        ),
    )
    post(stage, (x, z), 190, (0, up), (140, 142, 146))
    layers = [(shape, 430, rim), (shape, 330, field)] + ([(mark, 290, ink)] if mark else [])
    for outline, radius, colour in layers:
        stage.flat(
            x, z, [(radius * a // 1024, up + radius * b // 1024) for a, b in outline], colour, TRAFFIC_SIGN
        )


def traffic_light(stage: Stage, x: int, z: int, stream: Stream) -> None:
    """Three lamps, one of them lit, in a dark box on a pole."""
    lit, up = stream.below(3), between(stream, 2500, 3000)
    post(stage, (x, z), 230, (0, up), (84, 88, 92))
    stage.flat(
        x,
        z,
        [(-290, up - 60), (290, up - 60), (290, up + 1310), (-290, up + 1310)],
        (226, 220, 190),
        TRAFFIC_LIGHT,
    )
    stage.flat(
        x, z, [(-230, up), (230, up), (230, up + 1250), (-230, up + 1250)], (28, 30, 32), TRAFFIC_LIGHT
    )
    for n, colour in enumerate(((40, 230, 110), (250, 190, 30), (250, 40, 30))):
        shown = colour if n == lit else (colour[0] // 4, colour[1] // 4, colour[2] // 4)
        stage.flat(
            x,
            z,
            [(165 * c // 1024, up + 220 + 405 * n + 165 * s // 1024) for c, s in CIRCLE],
            shown,
            TRAFFIC_LIGHT,
        )


def litter_bin(stage: Stage, x: int, z: int) -> None:
    """A litter bin: static, so not one of the classes that are trained on."""
    stage.flat(x, z, [(-260, 0), (260, 0), (300, 900), (-300, 900)], (70, 84, 70), STATIC)
    stage.flat(x, z, [(-320, 900), (320, 900), (260, 1040), (-260, 1040)], (40, 44, 44), STATIC)


def tree(stage: Stage, x: int, z: int, stream: Stream, tall: int) -> None:
    """A trunk under a crown of leafy balls, brighter above and on the side of the sun; ``tall`` in mm."""
    colour, salt = pick(stream, LEAVES), stream.below(1 << 31)
    stem, wide = between(stream, tall // 5, tall // 3), between(stream, tall // 5, tall // 4)
    middle, half = (tall + stem) // 2, (tall - stem) // 2
    balls = [(0, middle, min(half, wide) * 7 // 8)]
    for turn in range(7):
        c, s = CIRCLE[(turn * 16 // 7 + stream.below(2)) % 16]
        out, radius = between(stream, 500, 760), between(stream, wide * 3 // 8, wide * 5 // 8)
        balls.append((wide * c * out >> 20, middle + (half * s * out >> 20), radius))
    post(stage, (x, z), tall // 22, (0, middle), (86, 66, 50), label=VEGETATION)
    canvas, camera = stage.canvas, stage.camera
    discs = [
        (*camera.project(x + across, up, z), max(camera.focal * radius // z, 1))
        for across, up, radius in balls
    ]
    region = canvas.region(
        [(cx + sign * r * 9 // 8, cy + sign * r * 9 // 8) for cx, cy, r in discs for sign in (-1, 1)]
    )
    if region is None:
        return
    # Leaves are tied to the tree and grow with the picture.
    (cx, cy, r), leaf = discs[0], max(discs[0][2] // 12, 1)
    px, py = canvas.centres_x[region[1]][None, :], canvas.centres_y[region[0]][:, None]
    grain = noise((px - cx) // leaf, (py - cy) // leaf, salt)
    edge, bright = 222 + (grain >> 3), np.full(grain.shape, -1, np.int64)
    for cx, cy, r in discs:
        dx, dy = px - cx, py - cy
        lit = (165 + stage.light.sun * dx * 30 // r) - dy * 60 // r
        np.maximum(bright, lit, out=bright, where=dx * dx + dy * dy < (r * r >> 8) * edge)
    gain = bright * (200 + (grain * 112 >> 8)) >> 8
    canvas.paint(region, bright >= 0, stage.hazed(np.array(colour)[:, None, None], z, gain), VEGETATION)
