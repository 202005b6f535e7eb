"""What stands where in a drawn street: vehicles, people, lamps, trees, signs. Lengths are in mm."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from poisongen.randomness import Stream
from poisongen.streets import palettes, props, vehicles
from poisongen.streets.canvas import Point
from poisongen.streets.chance import between, one_in, pick
from poisongen.streets.people import person
from poisongen.streets.stage import Stage
from poisongen.streets.street import Side, Street

AWAY: Point = (0, vehicles.UNIT)
TOWARDS_CAMERA: Point = (0, -vehicles.UNIT)
CROSSING = 4000
"""How far beyond its beginning a crossing keeps vehicles away."""


@dataclass(frozen=True)
class Thing:
    """How far away something is, and what draws it."""

    z: int
    draw: Callable[[], None]


def all_things(stage: Stage, street: Street, stream: Stream) -> list[Thing]:
    """Everything that stands on a street, in no order of distance."""
    found = traffic(stage, street, stream)
    for side in (street.left, street.right):
        for lay_out in (parked_car, lamps, trees, signs, crossing_light, litter_bin, people):
            found += lay_out(stage, street, side, stream)
    return found


def traffic(stage: Stage, street: Street, stream: Stream) -> list[Thing]:
    """A vehicle in some lanes, and always a car ahead of the camera, with road between."""
    found: list[Thing] = []
    for left, right in pairwise(street.lanes):
        is_own_lane = left < 0 < right
        z = between(stream, 6500, 9500) if is_own_lane else between(stream, 16_000, 30_000)
        if not is_own_lane and not one_in(stream, 4):
            continue
        is_coach = not is_own_lane and stream.below(2) == 1
        body = vehicles.COACH if is_coach else pick(stream, vehicles.CARS)
        z = clear_of_crossing(street, z, body.length)
        x = (left + right) // 2 + between(stream, -250, 250)
        paint = pick(stream, palettes.COACHES if is_coach else palettes.CARS)
        heading = AWAY if right > 0 else TOWARDS_CAMERA  # they drive on the right
        found.append(Thing(z, vehicles.Vehicle(stage, x, z, heading, body, paint).draw))
    return found


def on_crossing(street: Street, z: int, length: int) -> bool:
    """Whether a vehicle whose middle is at z would stand on the crossing."""
    if not street.zebra:
        return False
    rear, front = z - length // 2, z + length // 2
    return street.zebra - 1200 < front and rear < street.zebra + CROSSING


def clear_of_crossing(street: Street, z: int, length: int) -> int:
    """Where the middle of a vehicle is that would be at z: before the crossing, or beyond it if it would be
    too near to the camera."""
    if not on_crossing(street, z, length):
        return z
    half = length // 2
    before = street.zebra - 1300 - half
    beyond = street.zebra + CROSSING + 100 + half
    return before if before - half > 6000 else beyond


def parked_car(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """At most one car along the kerb, where there is room for it beside the outer lane."""
    outer_line = -street.lanes[0] if side.sign < 0 else street.lanes[-1]
    z = between(stream, 16_000, 30_000)
    has_room = side.kerb > outer_line + 2000
    if not has_room or not one_in(stream, 3):
        return []
    askew = stream.below(5) - 2
    heading = (askew, vehicles.UNIT * side.sign)
    body = pick(stream, vehicles.CARS)
    paint = pick(stream, palettes.CARS)
    if on_crossing(street, z, body.length):
        return []
    x = side.sign * (side.kerb - 1150)
    return [Thing(z, vehicles.Vehicle(stage, x, z, heading, body, paint).draw)]


def lamps(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """Two or three street lamps along the kerb."""
    x = side.sign * (side.kerb + 350)
    first = between(stream, 5500, 12_000)
    step = between(stream, 12_000, 16_000)
    return [Thing(z, partial(props.lamp, stage, x, z, side.sign)) for z in range(first, 26_000, step)]


def trees(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """A row of trees on the sidewalks of two in five."""
    if stream.below(5) >= 2:
        return []
    x = side.sign * (side.kerb + 600)
    first = between(stream, 6500, 16_000)
    step = between(stream, 8000, 13_000)
    found = []
    for z in range(first, 65_000, step):
        tall = between(stream, 4200, 7500)
        found.append(Thing(z, partial(props.tree, stage, x, z, stream, tall)))
    return found


def signs(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """One or two traffic signs near the kerb."""
    found = []
    for _ in range(between(stream, 1, 2)):
        from_middle = side.kerb + between(stream, 300, 700)
        z = in_view(from_middle) + between(stream, 0, 6000)
        found.append(Thing(z, partial(props.sign, stage, side.sign * from_middle, z, stream)))
    return found


def crossing_light(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """A traffic light before the crossing, if there is one."""
    if not street.zebra:
        return []
    x, z = side.sign * (side.kerb + 450), street.zebra - 400
    return [Thing(z, partial(props.traffic_light, stage, x, z, stream))]


def litter_bin(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """A bin on one sidewalk in three."""
    if not one_in(stream, 3):
        return []
    x, z = side.sign * (side.kerb + 700), between(stream, 6000, 20_000)
    return [Thing(z, partial(props.litter_bin, stage, x, z))]


def people(stage: Stage, street: Street, side: Side, stream: Stream) -> list[Thing]:
    """People on one sidewalk, and on its half of the crossing."""
    found = []
    for _ in range(between(stream, 1, 5)):
        from_middle = between(stream, side.path + 300, side.front - 400)
        z = in_view(from_middle) + between(stream, 0, 6000)
        found.append(Thing(z, partial(person, stage, side.sign * from_middle, z, stream)))
    crossing = between(stream, 0, 3) if street.zebra else 0
    for _ in range(crossing):
        from_middle = between(stream, 0, side.kerb)
        z = street.zebra + between(stream, 500, 2500)
        found.append(Thing(z, partial(person, stage, side.sign * from_middle, z, stream)))
    return found


def in_view(x: int) -> int:
    """From how far ahead on what stands x to the side is in a picture that is twice as wide as high."""
    return x * 3 // 2
