"""Every trigger, relabel and placement keeps the public laws of `poisongen.testing`, and the laws see what
breaks them."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from poisongen.datasets import LAYOUTS
from poisongen.errors import RecipeError
from poisongen.extend import (
    Art,
    Box,
    Everything,
    Fixed,
    LabelSpace,
    Location,
    NearVictim,
    OneSurface,
    Painted,
    Pixels,
    Relabel,
    Scene,
    Stream,
    Trigger,
    Triggered,
    VictimToTarget,
    require_fit,
)
from poisongen.placement import PLACEMENTS
from poisongen.relabel import RELABELS
from poisongen.testing import check_placement, check_relabel, check_trigger
from poisongen.triggers import TRIGGERS, parse_trigger
from tests.support.oracles import save

STREETS = LAYOUTS["cityscapes"].space
assert STREETS is not None

WORDS = ("default", "line", "frame", "checkerboard", "blend", "stripes", "semantic:car")
VALUES: dict[str, tuple[dict[str, Any], ...]] = {
    "patch": ({"size": "7px", "opacity": "0.3"}, {"size": "own"}),
    "patch-folder": ({"size": "9%"},),
    "line": ({"size": "5px", "colour": "#10ff00"}, {"size": "0%", "opacity": "0.01"}),
    "frame": ({"size": "10%"},),
    "checkerboard": ({"cells": 3, "opacity": "0.5"},),
    "blend": ({"opacity": "0.9"},),
    "stripes": ({"cycles": 13, "opacity": "1"},),
    "semantic": ({"min_pixels": 5},),
}

PLACED = (
    *(Fixed(anchor=anchor) for anchor in ("top-left", "top-right", "bottom-left", "bottom-right", "centre")),
    OneSurface(),
    OneSurface(edge_margin="3px"),
    NearVictim(),
    NearVictim(lower="3px", upper="9px"),
    NearVictim(rule="band", lower="2px", upper="10px", edge_margin="10%"),
)


@pytest.fixture
def each(tmp_path: Path) -> Path:
    """A folder with the art of one sample: a square with a hole."""
    pixels = np.full((6, 6, 4), 200, np.uint8)
    pixels[2:4, 2:4, 3] = 0
    save(tmp_path / "train/one.png", pixels)
    return tmp_path


@pytest.mark.parametrize("kind", TRIGGERS)
def test_every_trigger_keeps_the_laws(kind: str, each: Path) -> None:
    """With its defaults and with other values: the mask says what changes, and nothing else does."""
    words = [word for word in WORDS if word.partition(":")[0] == kind] or [f"patch:{each}"]
    trigger, art = parse_trigger("default" if kind == "patch" else words[0], STREETS)
    assert type(trigger) is TRIGGERS[kind]
    check_trigger(trigger, art=art)
    for values in VALUES[kind]:
        other = type(trigger).model_validate(trigger.model_dump() | values)
        check_trigger(other, art=art, sizes=((61, 83), (300, 310)))


@pytest.mark.parametrize("space", LAYOUTS)
@pytest.mark.parametrize("kind", RELABELS)
def test_every_relabel_keeps_the_laws(kind: str, space: str) -> None:
    """In each dataset's own label space, whose ids are many to one class."""
    if (known := LAYOUTS[space].space) is not None:
        check_relabel(RELABELS[kind](), known, victims=(1, 2), target=0)
    check_relabel(Everything(include_ignore=True), STREETS)


@pytest.mark.long
def test_every_placement_keeps_the_laws() -> None:
    """Each rule, with and without margins and bounds."""
    assert {placement.kind for placement in PLACED} == PLACEMENTS.keys()
    for placement in PLACED:
        check_placement(placement)


class Square(Painted):
    """White, 3×3."""

    kind: Literal["square"] = "square"

    def render(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        require_fit(3, 3, height, width, "3px")
        return np.full((3, 3, 4), 255, np.uint8)

    def describe(self) -> str:
        return "three by three"


class Everywhere(Trigger):
    """Inverts the picture: no overlay, and no placement."""

    placed: ClassVar[bool] = False
    kind: Literal["everywhere"] = "everywhere"

    def apply(self, picture: Pixels, art: Art, sample_id: str, box: Box | None) -> Triggered:
        return Triggered(255 - picture, np.full(picture.shape[:2], 255, np.uint8))

    def describe(self) -> str:
        return "the negative"


def test_the_laws_hold_for_triggers_of_one_s_own() -> None:
    """One that is laid over the picture, and one that changes all of it and is not placed."""
    check_trigger(Square())
    check_trigger(Everywhere())


class Leaks(Square):
    def apply(self, picture: Pixels, art: Art, sample_id: str, box: Box | None) -> Triggered:
        triggered = super().apply(picture, art, sample_id, box)
        triggered.picture[-1, 0] ^= 1
        return triggered


class InPlace(Square):
    def apply(self, picture: Pixels, art: Art, sample_id: str, box: Box | None) -> Triggered:
        triggered = super().apply(picture, art, sample_id, box)
        picture[:] = triggered.picture
        return triggered


class Random(Square):
    def render(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        rendered = super().render(art, sample_id, height, width)
        rendered[0, 0, :3] = np.random.default_rng().integers(0, 256, 3)
        return rendered


class Grows(Square):
    def mask_in(self, train: Pixels, art: Art, sample_id: str, box: Box | None) -> Pixels:
        return np.full(train.shape, 255, np.uint8)


class Grey(Square):
    def mask_in(self, train: Pixels, art: Art, sample_id: str, box: Box | None) -> Pixels:
        return super().mask_in(train, art, sample_id, box) // 2


class Huge(Square):
    def render(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        return np.full((500, 500, 4), 255, np.uint8)


class Unseen(Square):
    def apply(self, picture: Pixels, art: Art, sample_id: str, box: Box | None) -> Triggered:
        return Triggered(picture.copy(), super().apply(picture, art, sample_id, box).mask)


class Forgets(Square):
    def __hash__(self) -> int:
        return id(self)


class Silent(Square):
    def describe(self) -> str:
        return ""


class SameKind(Square):
    kind: str = "square"

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"kind": "other"} | values)


BAD_TRIGGERS: tuple[tuple[type[Trigger], str], ...] = (
    (Leaks, "outside of the mask"),
    (InPlace, "not changed"),
    (Random, "same result"),
    (Grows, "inside of the box"),
    (Grey, "0 or 255"),
    (Huge, "fits into the picture"),
    (Unseen, "changes a pixel"),
    (Forgets, "one hash"),
    (Silent, "described"),
    (SameKind, "kind of its own"),
)


@pytest.mark.parametrize(("bad", "law"), BAD_TRIGGERS)
def test_a_broken_law_of_a_trigger_is_named(bad: type[Trigger], law: str) -> None:
    """Each law sees a trigger that breaks it alone."""
    with pytest.raises(AssertionError, match=f"Broken law: .*{law}"):
        check_trigger(bad(), sizes=((40, 60),))


CALLS = count()


class Bad(Relabel):
    """Does what a test says."""

    kind: Literal["bad"] = "bad"
    how: str = ""

    def claims(self, space: LabelSpace, victims: Sequence[int], target: int) -> dict[int, int]:
        if self.how == "claims nothing":
            raise NotImplementedError
        return VictimToTarget().claims(space, victims, target)

    def measured(self, space: LabelSpace, victims: Sequence[int], target: int) -> tuple[int, ...]:
        return (target,) if self.how == "measures the target" else tuple(victims)

    def apply(
        self,
        raw: Pixels,
        space: LabelSpace,
        victims: Sequence[int],
        target: int,
        *,
        mask: Pixels | None = None,
    ) -> Pixels:
        after = VictimToTarget().apply(raw, space, victims, target)
        if self.how in ("more than it claims", "claims nothing"):
            after[raw == space.raw_of[5]] = space.raw_of[target]
        elif self.how == "nothing":
            return raw.copy()
        elif self.how == "in place":
            raw[:] = after
        elif self.how == "an id of no class":
            after[0, 0] = 200
        elif self.how == "another each time":
            after[0, 0] = space.raw_of[next(CALLS) % 19]
        elif self.how == "another size":
            return after[1:]
        return after


@pytest.mark.parametrize(
    ("how", "law"),
    [
        ("more than it claims", "becomes what its id claims"),
        ("claims nothing", "only pixels of the measured classes"),
        ("nothing", "becomes what its id claims"),
        ("in place", "not changed"),
        ("an id of no class", "ids only that the label space knows"),
        ("another each time", "same result"),
        ("another size", "keeps its size"),
        ("measures the target", "does not measure the target"),
    ],
)
def test_a_broken_law_of_a_relabel_is_named(how: str, law: str) -> None:
    """Each law sees a relabel that breaks it."""
    with pytest.raises(AssertionError, match=f"Broken law: .*{law}"):
        check_relabel(Bad(how=how), STREETS)


class NearTrigger(Relabel):
    """Victim pixels in the mask's columns: a relabel that depends on where the trigger is."""

    needs_mask: ClassVar[bool] = True
    kind: Literal["near-trigger"] = "near-trigger"

    def apply(
        self,
        raw: Pixels,
        space: LabelSpace,
        victims: Sequence[int],
        target: int,
        *,
        mask: Pixels | None = None,
    ) -> Pixels:
        assert mask is not None
        taken = np.isin(space.to_train(raw), victims) & (mask > 0).any(axis=0)
        return np.where(taken, np.uint8(space.raw_of[target]), raw)


def test_a_relabel_may_depend_on_where_the_trigger_is() -> None:
    """It is given the mask, and held against what it measures."""
    check_relabel(NearTrigger(), STREETS)


class Loose(OneSurface):
    """Anywhere on one surface, but for what a test breaks."""

    kind: Literal["loose"] = "loose"  # type: ignore[assignment]
    how: str = ""

    def place(self, scene: Scene, stream: Stream) -> Location | str:
        if self.how == "own randomness":
            stream = Stream(int(np.random.randint(1 << 30)), "placement", "")
        if self.how == "anywhere":
            rows, columns = scene.covered.shape
            top, left = (
                stream.below(scene.train.shape[0] - rows),
                stream.below(scene.train.shape[1] - columns),
            )
            return Location(box=(top, left, rows, columns), surface_class=0, component_pixels=1)
        location = super().place(scene, stream)
        if self.how == "writes":
            scene.train[:] = 0
        if self.how == "no reason":
            return ""
        if self.how == "lies" and isinstance(location, Location):
            return location.model_copy(update={"gap_sq": 1 << 20})
        return location

    def prove(self, scene: Scene, box: Box) -> Location | None:
        if self.how == "proves all":
            return super().prove(scene, box) or Location(box=box, surface_class=0, component_pixels=1)
        return None if self.how == "proves nothing" else super().prove(scene, box)


@pytest.mark.parametrize(
    ("how", "law"),
    [
        ("own randomness", "comes from the stream"),
        ("anywhere", "4-connected component|neither a victim|says truly"),
        ("writes", "not changed"),
        ("no reason", "says why"),
        ("lies", "says truly how far"),
        ("proves all", "prove refuses"),
        ("proves nothing", "prove gives the facts"),
    ],
)
def test_a_broken_law_of_a_placement_is_named(how: str, law: str) -> None:
    """Each law sees a placement that breaks it."""
    with pytest.raises(AssertionError, match=f"Broken law: .*({law})"):
        check_placement(Loose(how=how))


class Slides(Fixed):
    """Fixed, but proves whatever it is given."""

    kind: Literal["slides"] = "slides"  # type: ignore[assignment]

    def prove(self, scene: Scene, box: Box) -> Location | None:
        rows, columns = scene.covered.shape
        inside = box[0] + rows <= scene.train.shape[0] and box[1] + columns <= scene.train.shape[1]
        return Location(box=box) if inside and box[2:] == (rows, columns) else None


def test_a_place_that_is_always_the_same_cannot_be_moved() -> None:
    """A rule that gives one place must not accept another."""
    with pytest.raises(AssertionError, match="prove refuses a box that was moved"):
        check_placement(Slides())


class Misrendered(Painted):
    """A trigger that forgets alpha."""

    kind: Literal["misrendered"] = "misrendered"

    def render(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        return np.zeros((4, 4, 3), np.uint8)

    def describe(self) -> str:
        return "four pixels"


def test_a_trigger_that_is_no_rgba_is_named() -> None:
    """By its law, and in planning by an error that says what was expected; never by an index."""
    trigger = Misrendered()
    with pytest.raises(AssertionError, match="rendered as RGBA"):
        check_trigger(trigger)
    with pytest.raises(RecipeError, match=r"not rendered as RGBA(?s:.*)uint8 \(4, 4, 3\)"):
        trigger.footprint_in(Art(), "one", 64, 64)
