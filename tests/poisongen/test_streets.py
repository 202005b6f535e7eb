"""Drawn street scenes: the laws of their pixels."""

import ast
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import poisongen.streets
from poisongen.streets.class_ids import LABEL_IDS
from poisongen.streets.scene import draw_scene

ALL_FILES = sorted(Path(poisongen.streets.__file__).parent.glob("*.py"))
FILES = [file for file in ALL_FILES if file.stem not in ("__init__", "write")]
"""Those that draw."""
ROAD, SIDEWALK, BUILDING, POLE, TRAFFIC_SIGN, VEGETATION, SKY, PERSON, CAR = 7, 8, 11, 17, 20, 21, 23, 24, 26
IGNORED = {1, 4}
"""Cityscapes raw label ids, as its own documentation has them."""
SIZES = ((16, 16), (32, 64), (45, 131), (96, 48), (128, 256), (513, 600))

# (seed, index, height, width): sha256 of the picture's and the label map's pixels. They are part of the
# contract: manifests of drawn data sets hold these pixels, so a change here makes a rebuild fail for
# everybody.
GOLDEN: dict[tuple[int, int, int, int], str] = {
    (0, 0, 128, 256): "9c8516706c16c95370e54bbfda3a5c0af1053bd9591383b296f9102640b963e6",
    (0, 1, 128, 256): "5eae73dd961cb1ce9be7a6e1ff86c79a7b6b62a2d7d475bdb101768fc03e6edd",
    (7, 3, 45, 131): "85c4f7f09932b803218dea8f87c147b4b97d1b9ec857a3944b4caa5569555c65",
    (1, 2, 256, 512): "2d262aef2c83532ecc06a8bcbbbdee558b5e4564fe71b940a4c9e30baca63f0e",
    (0, 2, 520, 1040): "c355fefcdb68ac9b4a1350d6d7905e5b21cdfdb03715d7ccd521ff90eafce9f2",
}


def digest(seed: int, index: int, height: int, width: int) -> str:
    image, labels = draw_scene(seed, index, height, width)
    return hashlib.sha256(image.tobytes() + labels.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_scene(0, index, 128, 256) for index in range(20)]


@pytest.mark.parametrize("address", GOLDEN)
def test_the_same_arguments_give_the_same_pixels_everywhere(address: tuple[int, int, int, int]) -> None:
    """The pixels of a scene are the same on every machine, in every version."""
    assert digest(*address) == GOLDEN[address]


def test_a_scene_does_not_depend_on_what_was_drawn_before() -> None:
    """The same arguments give the same pixels, twice."""
    first = digest(3, 5, 48, 96)
    digest(3, 6, 48, 96)
    assert digest(3, 5, 48, 96) == first


def test_another_seed_or_index_is_another_scene() -> None:
    """No two of sixteen scenes are alike."""
    assert len({digest(seed, index, 32, 64) for seed in range(4) for index in range(4)}) == 16


@pytest.mark.parametrize("size", SIZES)
def test_a_scene_has_the_size_that_was_asked_for(size: tuple[int, int]) -> None:
    """A picture is uint8 (height, width, 3), its label map uint8 (height, width), and both are contiguous."""
    image, labels = draw_scene(1, 2, *size)
    assert image.dtype == np.uint8 and image.shape == (*size, 3)
    assert labels.dtype == np.uint8 and labels.shape == size
    assert image.flags.c_contiguous and labels.flags.c_contiguous


def test_a_scene_below_16_pixels_is_refused() -> None:
    """A size in which nothing could be seen is an error."""
    with pytest.raises(ValueError, match="16 × 16"):
        draw_scene(0, 0, 15, 64)


def test_every_label_is_one_of_the_documented_raw_ids(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A label map holds the ids of LABEL_IDS only, and twenty scenes hold all of them."""
    assert {int(label) for _, labels in scenes for label in np.unique(labels)} == set(LABEL_IDS)


def test_a_scene_is_a_street(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Each scene has road, building, sky, pole and a car of some size; nearly all have the other common
    classes."""
    counts = [Counter(labels.ravel().tolist()) for _, labels in scenes]
    trained = [count.keys() - IGNORED for count in counts]
    for count, classes in zip(counts, trained, strict=True):
        assert all(count[label] > 0 for label in (ROAD, BUILDING, POLE, SKY))
        assert count[CAR] >= 200
        assert len(classes) >= 8
    for label in (SIDEWALK, TRAFFIC_SIGN, VEGETATION, PERSON):
        assert sum(count[label] > 0 for count in counts) >= 17
    assert sum(len(classes) for classes in trained) >= 10 * len(counts)


def test_a_trigger_has_room_on_the_road_near_a_car(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A box of 14 × 14 pixels at 128 rows fits on road alone, within 30 pixels of a car, in at least nine of
    ten scenes."""
    fits = 0
    for _, labels in scenes:
        windows = np.lib.stride_tricks.sliding_window_view(labels == ROAD, (14, 14))
        on_road_alone = windows.all(axis=(2, 3))
        centres = np.argwhere(on_road_alone)[::7] + 7
        cars = np.argwhere(labels == CAR)[::7]
        distances = np.abs(centres[:, None] - cars[None]).max(axis=2)
        fits += bool((distances <= 30).any())
    assert fits >= 18


def test_another_size_shows_the_same_street() -> None:
    """Of the labels at twice the size, every second one of every second row is nearly always that of the size
    itself."""
    for index in range(3):
        _, small = draw_scene(0, index, 128, 256)
        _, large = draw_scene(0, index, 256, 512)
        assert (large[::2, ::2] == small).mean() > 0.95


def test_pictures_are_neither_black_nor_white(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Light and contrast stay within what a camera would show."""
    for image, _ in scenes:
        assert 40 < image.mean() < 200
        assert image.std() > 15
        assert (image == 255).mean() < 0.1


EXACT = {
    *("arange", "array", "asarray", "ascontiguousarray", "broadcast_arrays", "concatenate", "copyto"),
    *("empty", "full", "zeros"),
    *("bool_", "integer", "intp", "int32", "int64", "uint8", "uint32", "uint64"),
    *("clip", "logical_and", "maximum", "minimum", "sum", "where"),
}
"""Of NumPy: what is the same on every machine for whole numbers."""
INEXACT_MODULES = {"cv2", "math", "PIL", "random", "scipy"}


def imported(node: ast.AST) -> set[str]:
    """The packages that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_drawing_is_exact(file: Path) -> None:
    """No float, no true division, and of NumPy only what is exact in integers: nothing that may differ
    between machines."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Div), "true division"
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float | complex), ast.dump(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            assert node.attr in EXACT, node.attr
        assert not imported(node) & INEXACT_MODULES, ast.dump(node)
