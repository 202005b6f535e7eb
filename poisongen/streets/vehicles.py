"""Cars and coaches in a drawn street: each a few convex faces in the world.

A vehicle's own dimensions are in mm: u ahead of the rear bumper, v to the right of the middle, up above the
ground. Colours are RGB before light and haze.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from poisongen.streets.canvas import SUB, Colour, Point
from poisongen.streets.class_ids import BUS, CAR
from poisongen.streets.shapes import OCTAGON, scaled
from poisongen.streets.stage import Corner, Stage

UNIT = 64
"""About the length of a heading."""

COACH_ROOF: Colour = (234, 234, 228)
GLASS: Colour = (44, 54, 66)
RUBBER: Colour = (26, 26, 28)
RIM: Colour = (150, 152, 156)
BUMPER: Colour = (52, 52, 56)
NUMBER_PLATE: Colour = (230, 230, 214)
GRILLE: Colour = (36, 36, 40)
REAR_LAMP: Colour = (214, 30, 26)
HEADLAMP: Colour = (250, 246, 214)


class OnVehicle(NamedTuple):
    """A point of a vehicle, in mm."""

    u: int
    v: int
    up: int


class Cabin(NamedTuple):
    """How far ahead of the rear bumper a cabin begins and ends, at the belt and at the top."""

    rear: int
    front: int
    rear_top: int
    front_top: int


@dataclass(frozen=True)
class Body:
    """A vehicle's side view, mm: a body up to ``belt``, or ``hood`` in front, and a cabin from ``belt`` to
    ``top``, both along its length.

    ``wheel``: a radius. ``taper``: how much narrower the roof is on each side. ``panes``: on each side.
    """

    label: int
    length: int
    width: int
    belt: int
    hood: int
    top: int
    cabin: Cabin
    wheel: int = 330
    taper: int = 180
    panes: int = 2

    @property
    def low(self) -> int:
        """Where the body begins above the ground."""
        return self.wheel * 3 // 4

    @property
    def axles(self) -> tuple[int, int]:
        """u of both."""
        return self.length // 5, self.length * 4 // 5

    @property
    def half_waist(self) -> int:
        """v of the cabin's sides at the belt."""
        return self.width // 2 - 40

    @property
    def half_roof(self) -> int:
        """v of the cabin's sides at the top."""
        return self.width // 2 - self.taper


SALOON = Body(
    CAR,
    length=4500,
    width=1800,
    belt=900,
    hood=760,
    top=1440,
    cabin=Cabin(450, 3350, 1050, 2650),
)
HATCHBACK = Body(
    CAR,
    length=3800,
    width=1720,
    belt=920,
    hood=800,
    top=1490,
    cabin=Cabin(60, 2900, 330, 2250),
)
OFF_ROADER = Body(
    CAR,
    length=4600,
    width=1900,
    belt=1060,
    hood=980,
    top=1740,
    cabin=Cabin(60, 3400, 300, 2750),
    wheel=370,
)
ESTATE = Body(
    CAR,
    length=4600,
    width=1820,
    belt=920,
    hood=780,
    top=1490,
    cabin=Cabin(40, 3350, 500, 2650),
)
VAN = Body(
    CAR,
    length=5000,
    width=1950,
    belt=1180,
    hood=1060,
    top=2050,
    cabin=Cabin(30, 4350, 120, 3700),
    wheel=350,
)
CARS = (SALOON, HATCHBACK, OFF_ROADER, ESTATE, VAN)
COACH = Body(
    BUS,
    length=11500,
    width=2500,
    belt=1350,
    hood=1350,
    top=3150,
    cabin=Cabin(0, 11500, 0, 11460),
    wheel=480,
    taper=60,
    panes=6,
)


@dataclass(frozen=True)
class Vehicle:
    """A vehicle centred at (x, z) that heads along ``heading``, a vector (x, z) of about length ``UNIT``."""

    stage: Stage
    x: int
    z: int
    heading: Point
    body: Body
    paint: Colour

    def draw(self) -> None:
        """Shadow, tyres, body, cabin, glass, wheels, and what is on the rear or the front."""
        self.draw_shadow()
        self.draw_tyres()
        self.draw_body()
        self.draw_windows()
        details_are_seen = self.stage.camera.focal * 100 > self.z * SUB  # 100 mm are more than a pixel
        self.draw_wheels(with_rims=details_are_seen)
        if details_are_seen:
            self.draw_end(u=0, right=1, height=self.body.belt, lamp=REAR_LAMP)
            self.draw_end(u=self.body.length, right=-1, height=self.body.hood, lamp=HEADLAMP)

    def at(self, u: int, v: int, up: int) -> Corner:
        """Where a point of the vehicle is in the world."""
        heading_x, heading_z = self.heading
        ahead = u - self.body.length // 2
        x = self.x + (ahead * heading_x + v * heading_z) // UNIT
        z = self.z + (ahead * heading_z - v * heading_x) // UNIT
        return x, up, z

    def gain(self, *, ahead: int = 0, right: int = 0) -> int:
        """The light on a face whose normal points ``ahead`` or ``right``, in 256ths."""
        towards_right_of_street = ahead * self.heading[0] + right * self.heading[1]
        return 214 + 40 * self.stage.light.sun * towards_right_of_street // UNIT

    def face(self, corners: Sequence[Corner], colour: Colour, gain: int) -> bool:
        """A convex face, its corners counter-clockwise as seen from outside; whether it is seen."""
        return self.stage.polygon(corners, colour, self.body.label, gain)

    def side_face(self, right: int, outline: Sequence[OnVehicle], colour: Colour, gain: int) -> None:
        """A face on the right (1) or the left (-1), its outline that of the right side, counter-clockwise as
        seen from there."""
        counter_clockwise = outline[::right]
        self.face([self.at(u, right * v, up) for u, v, up in counter_clockwise], colour, gain)

    def prism(self, outline: Sequence[OnVehicle], paint: Colour) -> None:
        """A painted solid from side to side; its outline is that of the right side, counter-clockwise as seen
        from there."""
        for right in (-1, 1):
            self.side_face(right, outline, paint, self.gain(right=right))
        following = [*outline[1:], outline[0]]
        for one, other in zip(outline, following, strict=True):
            is_flat = abs(other.u - one.u) > abs(other.up - one.up)
            rises = (other.up > one.up) - (other.up < one.up)  # ahead; what falls is behind
            gain = 280 if is_flat else self.gain(ahead=rises)
            corners = (
                self.at(one.u, one.v, one.up),
                self.at(one.u, -one.v, one.up),
                self.at(other.u, -other.v, other.up),
                self.at(other.u, other.v, other.up),
            )
            self.face(corners, paint, gain)

    def draw_shadow(self) -> None:
        """Below the vehicle, and beside it on the side away from the sun."""
        half, length = self.body.width // 2, self.body.length
        cast = 450 * self.stage.light.sun * self.heading[1] // UNIT
        left = -half - max(cast, 0)
        right = half - min(cast, 0)
        ground = (
            self.at(-80, left, 0),
            self.at(-80, right, 0),
            self.at(length + 80, right, 0),
            self.at(length + 80, left, 0),
        )
        self.stage.shadow(ground, 110)

    def draw_tyres(self) -> None:
        """As they are seen below the body from behind or ahead."""
        half, top, tyre_width = self.body.width // 2, self.body.low + 60, 220
        for u in self.body.axles:
            for v in (-half, half - tyre_width):
                tyre = (
                    self.at(u, v, 0),
                    self.at(u, v + tyre_width, 0),
                    self.at(u, v + tyre_width, top),
                    self.at(u, v, top),
                )
                self.face(tyre, RUBBER, 256)
                self.face(tyre[::-1], RUBBER, 256)

    def draw_body(self) -> None:
        """The body up to the belt, and the cabin above it."""
        body, cabin = self.body, self.body.cabin
        half = body.width // 2
        half_nose = half - 20
        lower = (
            OnVehicle(0, half, body.low),
            OnVehicle(body.length, half_nose, body.low),
            OnVehicle(body.length, half_nose, body.hood),
            OnVehicle(cabin.front, half, body.belt),
            OnVehicle(0, half, body.belt),
        )
        self.prism(lower, self.paint)
        upper = (
            OnVehicle(cabin.rear, body.half_waist, body.belt),
            OnVehicle(cabin.front, body.half_waist, body.belt),
            OnVehicle(cabin.front_top, body.half_roof, body.top),
            OnVehicle(cabin.rear_top, body.half_roof, body.top),
        )
        self.prism(upper, self.paint if body.label == CAR else COACH_ROOF)

    def draw_windows(self) -> None:
        """The windows: one behind, one ahead, and a row on each side of the cabin."""
        cabin = self.body.cabin
        self.draw_window_across(right=1, u=cabin.rear, u_top=cabin.rear_top)
        self.draw_window_across(right=-1, u=cabin.front, u_top=cabin.front_top)
        for right in (-1, 1):
            for number in range(self.body.panes):
                self.draw_side_window(right, number)

    def draw_window_across(self, *, right: int, u: int, u_top: int) -> None:
        """The rear window (``right`` 1) or the windscreen (-1), which leans from ``u`` to ``u_top``."""
        body = self.body
        sixth_of_height, sixth_of_lean = (body.top - body.belt) // 6, (u_top - u) // 6
        v, v_top = right * body.half_waist * 7 // 8, right * body.half_roof * 7 // 8
        low, high = body.belt + sixth_of_height, body.top - sixth_of_height
        pane = (
            self.at(u + sixth_of_lean, -v, low),
            self.at(u + sixth_of_lean, v, low),
            self.at(u_top - sixth_of_lean, v_top, high),
            self.at(u_top - sixth_of_lean, -v_top, high),
        )
        self.face(pane, GLASS, 300)

    def draw_side_window(self, right: int, number: int) -> None:
        """One pane of a side's row, ``number`` from the rear: six eighths of its part of the cabin."""
        body, cabin = self.body, self.body.cabin
        eighths = 8 * body.panes

        def along(rear: int, front: int, eighth: int) -> int:
            return rear + (front - rear) * (8 * number + eighth) // eighths

        high = body.top - (body.top - body.belt) // 6
        pane = (
            OnVehicle(along(cabin.rear, cabin.front, 1), body.half_waist, body.belt),
            OnVehicle(along(cabin.rear, cabin.front, 7), body.half_waist, body.belt),
            OnVehicle(along(cabin.rear_top, cabin.front_top, 7), body.half_roof, high),
            OnVehicle(along(cabin.rear_top, cabin.front_top, 1), body.half_roof, high),
        )
        self.side_face(right, pane, GLASS, 280)

    def draw_wheels(self, *, with_rims: bool) -> None:
        """Discs on both sides."""
        radius = self.body.wheel
        for right in (-1, 1):
            for u in self.body.axles:
                self.draw_disc(right, u, radius, RUBBER)
                if with_rims:
                    self.draw_disc(right, u, radius * 5 // 9, RIM)

    def draw_disc(self, right: int, u: int, radius: int, colour: Colour) -> None:
        """A disc around the middle of a wheel."""
        circle = scaled(OCTAGON, (u, self.body.wheel), radius)
        rim = [OnVehicle(u, self.body.width // 2, up) for u, up in circle]
        self.side_face(right, rim, colour, 240)

    def draw_end(self, *, u: int, right: int, height: int, lamp: Colour) -> None:
        """Bumper, two lamps, a plate, and ahead a grille; ``right`` is 1 for the rear, -1 for the front."""
        half, low = self.body.width // 2, self.body.low

        def rectangle(v0: int, v1: int, up0: int, up1: int, colour: Colour) -> bool:
            corners = ((v0, up0), (v1, up0), (v1, up1), (v0, up1))
            return self.face([self.at(u, right * v, up) for v, up in corners], colour, 270)

        is_seen = rectangle(-half, half, low, low + 160, BUMPER)
        if not is_seen:
            return
        lamp_bottom, lamp_top = height - 280, height - 80
        rectangle(-half + 40, -half + 340, lamp_bottom, lamp_top, lamp)
        rectangle(half - 340, half - 40, lamp_bottom, lamp_top, lamp)
        rectangle(-260, 260, low + 170, low + 290, NUMBER_PLATE)
        if right < 0:
            rectangle(-450, 450, height - 300, height - 160, GRILLE)
