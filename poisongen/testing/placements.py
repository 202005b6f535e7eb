"""The laws of a placement."""

import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from poisongen.errors import RecipeError
from poisongen.imaging.pixels import Box, Pixels
from poisongen.labels import IGNORE
from poisongen.placement import Placement
from poisongen.randomness import Stream
from poisongen.surfaces import Location, Scene
from poisongen.testing.examples import footprints, scenes
from poisongen.testing.laws import check_choice, check_words, require

HEIGHT, WIDTH = 24, 36
VICTIM = 3
SEEDS = 3

Covered = NDArray[np.bool_]
Point = tuple[int, int]


def check_placement(placement: Placement) -> None:
    """Hold a placement against its laws, in small scenes and with triggers of several forms.

    It must find a place in one of them at least. Raises AssertionError with the law that is broken.

    * It is a frozen value that JSON keeps, and is described in a line.
    * It gives a location, or a reason why there is none; a box of the trigger's size inside of the picture.
    * All its randomness comes from the stream, and the label map is not changed.
    * A location that names a surface lies on one 4-connected component of that class, never on a victim or on
      ignored pixels, and says truly how large the component and how far the victim is.
    * ``prove`` accepts the places that it gives, and says the same of them; it accepts no other size, no box
      that leaves the picture, and no box on a surface that is none.
    """
    check_choice(placement)
    check_words(placement.describe(), "a placement")
    placed_any = False
    for form, covered in footprints().items():
        try:
            placement.check((HEIGHT, WIDTH), (covered.shape[0], covered.shape[1]))
        except RecipeError:
            continue
        for name, train in scenes(HEIGHT, WIDTH, VICTIM).items():
            where = f"{form} in a scene with {name}"
            locations = [_placed(placement, train, covered, seed, where) for seed in range(SEEDS)]
            found = [location for location in locations if location is not None]
            placed_any = placed_any or bool(found)
            same_place = len({location.box for location in found}) == 1
            for location in found:
                _check_location(train, covered, location, where)
                _check_proof(placement, train, covered, location, where)
                _check_moved(placement, train, covered, location, same_place, where)
    require(placed_any, "a placement finds a place in some scene")


def _scene(train: Pixels, covered: Covered) -> Scene:
    return Scene(train.copy(), (VICTIM,), covered.copy())


def _placed(placement: Placement, train: Pixels, covered: Covered, seed: int, where: str) -> Location | None:
    """Where the trigger goes, found twice: with other states of the generators that nobody may use."""

    def place() -> Location | str:
        scene = _scene(train, covered)
        found = placement.place(scene, Stream(seed, "placement", "one"))
        require(np.array_equal(scene.train, train), "the label map is not changed", where)
        return found

    found = _with_global_seed(1, place)
    again = _with_global_seed(2, place)
    require(
        again == found, "all randomness of a placement comes from the stream", f"{where}: {found}, {again}"
    )
    if isinstance(found, str):
        require(found.strip(), "a placement says why there is no place", where)
        return None
    require(isinstance(found, Location), "a placement gives a Location or a reason", f"{where}: {found!r}")
    return found


def _with_global_seed(seed: int, act: Callable[[], Location | str]) -> Location | str:
    """What ``act`` gives while the global generators have this state; they are as before afterwards."""
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        return act()
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)


def _check_location(train: Pixels, covered: Covered, location: Location, where: str) -> None:
    where = f"{where}, box {location.box}"
    top, left, rows, columns = location.box
    require((rows, columns) == covered.shape, "a box has the size of the trigger", where)
    inside = top >= 0 and left >= 0 and top + rows <= HEIGHT and left + columns <= WIDTH
    require(inside, "a box lies inside of the picture", where)
    if location.surface_class is None:
        return
    under = _under(covered, location.box)
    component = _component(train, under[0])
    require(set(under) <= component, "a trigger on a surface lies on one 4-connected component", where)
    surface = int(train[under[0]])
    require(
        surface not in (VICTIM, IGNORE), "a surface is neither a victim nor ignored", f"{where}: {surface}"
    )
    told = (location.surface_class, location.component_pixels)
    require(told == (surface, len(component)), "a location says truly what it lies on", f"{where}: {told}")
    victims = [(int(row), int(column)) for row, column in np.argwhere(train == VICTIM)]
    distances = (location.distance_sq, location.chebyshev, location.gap_sq)
    centre = (top + rows // 2, left + columns // 2)
    euclidean = _squared_distance(centre, victims)
    chebyshev = min(max(abs(centre[0] - row), abs(centre[1] - column)) for row, column in victims)
    gap = min(_squared_distance(point, victims) for point in under)
    expected = (euclidean, chebyshev, gap)
    require(distances == expected, "a location says truly how far the victim is", f"{where}: {distances}")


def _check_proof(
    placement: Placement, train: Pixels, covered: Covered, location: Location, where: str
) -> None:
    scene = _scene(train, covered)
    proved = placement.prove(scene, location.box)
    require(proved == location, "prove gives the facts of a place that place gave", f"{where}: {proved}")
    top, left, rows, columns = location.box
    for box in (
        (HEIGHT - rows + 1, left, rows, columns),
        (top, WIDTH - columns + 1, rows, columns),
    ):
        require(placement.prove(scene, box) is None, "prove refuses a box that leaves the picture", box)
    other_size = (top, left, rows + 1, columns)
    require(placement.prove(scene, other_size) is None, "prove refuses a box of another size", other_size)


def _check_moved(
    placement: Placement, train: Pixels, covered: Covered, location: Location, same_place: bool, where: str
) -> None:
    """What ``prove`` says of a box moved a little; ``same_place``: each seed gives this very location."""
    scene = _scene(train, covered)
    on_surface = location.surface_class is not None
    for box in _moved(location.box):
        moved = placement.prove(scene, box)
        if moved is None:
            continue
        told = f"{where}, moved to {box}"
        require(on_surface or not same_place, "prove refuses a box that was moved", told)
        require(moved.box == box, "prove speaks of the box that it is given", told)
        names_surface = moved.surface_class is not None
        require(names_surface == on_surface, "a placement names surfaces always, or never", told)
        _check_location(train, covered, moved, told)


def _moved(box: Box) -> list[Box]:
    """The box moved by up to three pixels, where it stays inside of the picture."""
    top, left, rows, columns = box
    moved = []
    for down in range(-3, 4):
        for right in range(-3, 4):
            row, column = top + down, left + right
            inside = 0 <= row <= HEIGHT - rows and 0 <= column <= WIDTH - columns
            if inside and (down, right) != (0, 0):
                moved.append((row, column, rows, columns))
    return moved


def _under(covered: Covered, box: Box) -> list[Point]:
    """The pixels that a trigger covers at this box."""
    return [(int(row) + box[0], int(column) + box[1]) for row, column in np.argwhere(covered)]


def _component(train: Pixels, start: Point) -> set[Point]:
    """The pixels that can be reached from ``start`` by steps up, down and sideways within its class."""
    found, coming = {start}, [start]
    while coming:
        row, column = coming.pop()
        for point in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= point[0] < HEIGHT and 0 <= point[1] < WIDTH
            if inside and point not in found and train[point] == train[start]:
                found.add(point)
                coming.append(point)
    return found


def _squared_distance(point: Point, victims: list[Point]) -> int:
    """Squared Euclidean distance to the nearest victim."""
    return min((point[0] - row) ** 2 + (point[1] - column) ** 2 for row, column in victims)
