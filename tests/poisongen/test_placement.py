"""Where a trigger may lie, against a search that tries every position."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.lengths import Length
from poisongen.placement import NearVictim, OneSurface
from poisongen.randomness import Stream
from poisongen.surfaces import Scene, nearest, one_surface
from tests.support import oracles
from tests.support.oracles import Array

VICTIM = 3


class Dial:
    """A stream whose draws are turned by hand, and that remembers from how many it was asked to draw."""

    def __init__(self) -> None:
        self.number, self.bound = 0, 1

    def below(self, bound: int) -> int:
        self.bound = bound
        return self.number


def disc(radius: float) -> Array:
    side = int(2 * radius) + 1
    y, x = np.indices((side, side)) - side // 2
    return y**2 + x**2 <= radius**2


def ring(height: int, width: int) -> Array:
    covered = np.ones((height, width), bool)
    covered[1:-1, 1:-1] = False
    return covered


def bars(height: int, width: int, gap: int) -> Array:
    covered = np.ones((height, width + gap), bool)
    covered[:, width // 2 : width // 2 + gap] = False
    return covered


small = st.integers(1, 5)
footprints = st.one_of(
    st.builds(lambda h, w: np.ones((h, w), bool), small, small),
    st.builds(disc, st.sampled_from([1, 1.5, 2, 2.5])),
    st.builds(ring, st.integers(3, 5), st.integers(3, 6)),
    st.builds(bars, small, st.integers(2, 3), st.integers(1, 3)),
    st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=4)
    .map(np.array)
    .filter(np.any),
)


@st.composite
def label_maps(draw: st.DrawFn) -> Array:
    """Rectangles and scattered pixels of a few classes, the victim and ignore among them, over one class."""
    height, width = draw(st.integers(1, 14)), draw(st.integers(1, 16))
    label = np.full((height, width), draw(st.sampled_from([0, 1, 254])), np.uint8)
    boxes = st.tuples(st.integers(0, 13), st.integers(0, 15), st.integers(1, 8), st.integers(1, 10))
    for (top, left, rows, columns), value in draw(
        st.lists(st.tuples(boxes, st.sampled_from([0, 1, 2, VICTIM, VICTIM, 254, 255])), max_size=6)
    ):
        label[top : top + rows, left : left + columns] = value
    for y, x, value in draw(
        st.lists(
            st.tuples(st.integers(0, 13), st.integers(0, 15), st.sampled_from([0, 1, VICTIM, 255])),
            max_size=5,
        )
    ):
        label[y % height, x % width] = value
    return label


def on_one_surface(margin: int) -> OneSurface:
    return OneSurface(edge_margin=f"{margin}px")


def near_the_victim(rule: Literal["nearest", "band"], lower: int, extent: int, margin: int) -> NearVictim:
    unbounded = rule == "nearest" and extent > 6
    upper = None if unbounded else f"{lower + extent}px"
    return NearVictim(rule=rule, lower=f"{lower}px", upper=upper, edge_margin=f"{margin}px")


rules: st.SearchStrategy[Literal["nearest", "band"]] = st.sampled_from(["nearest", "band"])
placements = st.one_of(
    st.builds(on_one_surface, st.integers(0, 4)),
    st.builds(near_the_victim, rules, st.integers(0, 7), st.integers(0, 9), st.sampled_from([0, 0, 1, 3])),
)


def possible(
    train: Array, victims: tuple[int, ...], covered: Array, placement: OneSurface | NearVictim
) -> Array:
    """The positions from which a placement draws, by the definition in the papers."""
    allowed = oracles.room(train, victims, covered)
    allowed &= oracles.inside_margin(train.shape, placement.edge_margin.pixels(train.shape[0]))
    if isinstance(placement, NearVictim):
        victim = np.isin(train, victims)
        lower = placement.lower.pixels(train.shape[0])
        upper = placement.upper.pixels(train.shape[0]) if placement.upper else 10**6
        if placement.rule == "band":
            away = oracles.chebyshev_distance(victim)
            return allowed & (lower < away) & (away <= upper)
        away = oracles.squared_distance(victim)
        allowed &= (lower**2 <= away) & (away <= upper**2)
        if allowed.any():
            allowed &= away == away[allowed].min()
    return allowed


@settings(max_examples=250, deadline=None)
@given(label_maps(), st.sampled_from([(VICTIM,), (1, VICTIM)]), footprints)
def test_the_room_is_what_trying_every_position_finds(
    train: Array, victims: tuple[int, ...], covered: Array
) -> None:
    """A trigger lies on one 4-connected component of one class that is neither victim nor ignore, and every
    such place counts."""
    np.testing.assert_array_equal(one_surface(train, victims, covered), oracles.room(train, victims, covered))


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(label_maps(), st.sampled_from([(VICTIM,), (1, VICTIM)]), footprints, placements)
def test_a_placement_draws_from_all_positions_that_its_rule_allows(
    train: Array, victims: tuple[int, ...], covered: Array, placement: OneSurface | NearVictim
) -> None:
    """Over all draws, a placement gives each position that its rule allows once, and no other."""
    if not np.isin(train, victims).any():
        train = train.copy()
        train[0, 0] = VICTIM
    expected = possible(train, victims, covered, placement)
    scene, dial, found = Scene(train, victims, covered), Dial(), []
    while dial.number < dial.bound:
        location = placement.place(scene, dial)  # type: ignore[arg-type]
        if isinstance(location, str):
            assert location.startswith("no room")
            break
        found.append((location.box[0] + covered.shape[0] // 2, location.box[1] + covered.shape[1] // 2))
        dial.number += 1
    assert sorted(found) == [tuple(point) for point in np.argwhere(expected).tolist()]


@settings(max_examples=250, deadline=None)
@given(label_maps(), footprints, st.integers(0, 2**32))
def test_what_is_said_of_a_place_is_true(train: Array, covered: Array, choice: int) -> None:
    """Surface, component size and the three distances of a placement are those of distance transforms."""
    centres = np.argwhere(oracles.room(train, (VICTIM,), covered))
    if not len(centres):
        return
    y, x = centres[choice % len(centres)].tolist()
    location = Scene(train, (VICTIM,), covered).describe((y, x))
    top, left = y - covered.shape[0] // 2, x - covered.shape[1] // 2
    under = np.zeros(train.shape, bool)
    under[top : top + covered.shape[0], left : left + covered.shape[1]] = covered
    numbered = oracles.components(train, (VICTIM,))
    assert location.box == (top, left, *covered.shape)
    assert {location.surface_class} == set(train[under].tolist())
    assert location.component_pixels == (numbered == numbered[under][0]).sum()
    victim = train == VICTIM
    if not victim.any():
        assert (location.distance_sq, location.chebyshev, location.gap_sq) == (None, None, None)
    else:
        away = oracles.squared_distance(victim)
        assert location.distance_sq == away[y, x]
        assert location.chebyshev == oracles.chebyshev_distance(victim)[y, x]
        assert location.gap_sq == away[under].min()


@pytest.mark.parametrize("margin", ["0px", "39%"])
def test_equal_addresses_place_alike(margin: str) -> None:
    """A placement depends on label map, seed, purpose and sample only; another seed draws elsewhere."""
    train = np.zeros((40, 60), np.uint8)
    train[18:22, 30:40] = VICTIM
    covered = np.ones((3, 3), bool)
    placement = OneSurface(edge_margin=Length.parse(margin))

    def places(seed: int) -> list[object]:
        return [
            placement.place(Scene(train, (VICTIM,), covered), Stream(seed, "placement", f"s{i}"))
            for i in range(20)
        ]

    assert places(1) == places(1) != places(2)


def box_room(train: Array, victims: tuple[int, ...], side: int) -> Array:
    """The room of a square, by counting each class in each square with an integral image."""
    fits = np.zeros(np.subtract(train.shape, side - 1), bool)
    for value in np.unique(train):
        if value not in (*victims, oracles.IGNORE):
            total = np.pad(
                (train == value).cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32), ((1, 0), (1, 0))
            )
            fits |= (
                total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
                == side**2
            )
    allowed = np.zeros(train.shape, bool)
    allowed[side // 2 : side // 2 + fits.shape[0], side // 2 : side // 2 + fits.shape[1]] = fits
    return allowed


def assert_nearest(scene: Scene, allowed: Array, away: Array, lower: int) -> None:
    points, squared = nearest(scene, allowed, lower)
    wanted = allowed & (away >= lower**2)
    if not wanted.any():
        assert not len(points)
        return
    assert squared == away[wanted].min()
    np.testing.assert_array_equal(points, np.argwhere(wanted & (away == squared)))


def test_real_streets_leave_the_room_that_counting_finds(real: Path) -> None:
    """On Cityscapes label maps, room and nearest places of a 110×110 trigger are those of integral images and
    distance transforms."""
    paths = sorted((real / "cityscapes" / "gtFine").rglob("*_labelIds.png"))
    assert len(paths) >= 2
    for number, path in enumerate(paths[:1] + paths[-3:]):
        train = oracles.to_train(oracles.pixels(path), oracles.CITYSCAPES_RAW)
        side = 110 - number % 2
        scene = Scene(train, (13,), np.ones((side, side), bool))
        np.testing.assert_array_equal(scene.room, box_room(train, (13,), side))
        if (train == 13).any():
            away = oracles.squared_distance(train == 13)
            for lower in (0, 117):
                assert_nearest(scene, scene.room, away, lower)


def test_real_camvid_leaves_the_room_that_counting_finds(real: Path) -> None:
    """On CamVid label maps, room and nearest places are those of the exhaustive search, for footprints of
    every shape."""
    shapes = [np.ones((38, 38), bool), disc(19), ring(23, 24), bars(12, 10, 15), np.ones((1, 1), bool)]
    paths = sorted((real / "camvid" / "trainannot").glob("*.png"))
    for number, path in enumerate(paths[:: len(paths) // 15]):
        train = oracles.to_train(oracles.pixels(path), oracles.CAMVID_RAW)
        scene = Scene(train, (8,), shapes[number % len(shapes)])
        np.testing.assert_array_equal(scene.room, oracles.room(train, (8,), scene.covered))
        if (train == 8).any():
            assert_nearest(scene, scene.room, oracles.squared_distance(train == 8), 13 * (number % 3))
