"""Pixel random labelling: which pixels, which classes, how many; by the format's own words, by chance, and in
corners."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poisongen.imaging.pixels import histogram
from poisongen.labels import LabelSpace
from poisongen.lengths import Length
from poisongen.randomness import Stream
from poisongen.relabel import RandomPixels
from tests.support import oracles
from tests.support.commands import Run
from tests.support.frozen import command
from tests.support.oracles import IGNORE, Array

TABLE = {3: 0, 1: 1, 7: 2, 12: 2, 9: 3}
"""Raw id → training id: not in order, and one class has two."""

SPACE = LabelSpace(tuple("abcd"), ((0, 0, 0),) * 4, TABLE | {0: IGNORE, 255: IGNORE})


def labelled(
    raw: Array, pixels: str = "50%", spared: Sequence[int] = (), seed: int = 0, sample_id: str = "train/x"
) -> Array:
    """The map with random labels."""
    random = RandomPixels(pixels=Length.parse(pixels), spared=tuple(spared))
    return random.apply(raw, SPACE, Stream(seed, "random labels", sample_id))


RAW_LISTS = st.lists(st.sampled_from(sorted(SPACE.raw_to_train)), min_size=1)
maps = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), RAW_LISTS).map(
    lambda drawn: np.random.default_rng(drawn[2]).choice(np.array(drawn[3], np.uint8), drawn[:2])
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    raw=maps,
    pixels=st.one_of(
        st.integers(1, 90).map(lambda number: f"{number}px"),
        st.decimals("0.01", 100, places=2).map(lambda share: f"{share}%"),
    ),
    spared=st.sets(st.integers(0, 3)),
    seed=st.integers(0, 2**63 - 1),
)
def test_the_draw_is_the_one_of_the_format(raw: Array, pixels: str, spared: set[int], seed: int) -> None:
    """For any map, number, victims and seed, another program that reads FORMAT.md draws the same labels; how
    many is known beforehand."""
    before = raw.copy()
    after = labelled(raw, pixels, sorted(spared), seed, "train/ä/1")
    np.testing.assert_array_equal(raw, before)
    wanted = (
        int(pixels[:-2])
        if pixels.endswith("px")
        else oracles.half_up(oracles.Fraction(pixels[:-1]) * raw.size / 100)
    )
    np.testing.assert_array_equal(
        after, oracles.random_labels(raw, TABLE, sorted(spared), wanted, seed, "train/ä/1")
    )
    random = RandomPixels(pixels=Length.parse(pixels), spared=tuple(spared))
    assert random.number(histogram(raw), SPACE) == (after != raw).sum()


@settings(deadline=None, max_examples=200)
@given(raw=maps, spared=st.sets(st.integers(0, 3)))
def test_a_random_label_is_another_class_that_is_there(raw: Array, spared: set[int]) -> None:
    """Neither victims nor ignored pixels change, and what changes gets another class of this very map,
    written as its smallest raw id."""
    after = labelled(raw, "100%", sorted(spared))
    old, new = (oracles.to_train(one, TABLE) for one in (raw, after))
    changed = raw != after
    pool = ~np.isin(old, [IGNORE, *spared])
    classes = set(old.ravel().tolist()) - {IGNORE}
    np.testing.assert_array_equal(changed, pool if len(classes) > 1 else np.zeros_like(pool))
    assert set(new[changed].tolist()) <= classes
    assert (old[changed] != new[changed]).all()
    assert set(after[changed].tolist()) <= {3, 1, 7, 9}


def test_every_pixel_and_every_class_is_as_likely() -> None:
    """Over many pictures each pixel of the pool is taken as often, and each other class is given as often,
    victims among them."""
    raw = np.array([[3, 1, 7, 9], [3, 12, 0, 9], [3, 3, 1, 255]], np.uint8)
    pictures, taken, given_ = 4000, np.zeros(raw.shape, int), Counter[tuple[int, int]]()
    for number in range(pictures):
        after = labelled(raw, "4px", [3], sample_id=f"train/{number}")
        taken += after != raw
        for at in np.argwhere(after != raw):
            old, new = TABLE[int(raw[tuple(at)])], TABLE[int(after[tuple(at)])]
            given_[old, new] += 1
    pool = np.isin(raw, [3, 1, 7, 12])
    share = 4 / pool.sum()
    assert (taken[~pool] == 0).all()
    assert np.abs(taken[pool] - share * pictures).max() < 5 * (pictures * share * (1 - share)) ** 0.5
    for old in (0, 1, 2):
        counts = [given_[old, new] for new in range(4) if new != old]
        expected = sum(counts) / 3
        assert max(abs(count - expected) for count in counts) < 5 * (expected * 2 / 3) ** 0.5


def test_pictures_and_seeds_have_places_of_their_own() -> None:
    """Two pictures with one label map get random labels at different places, and so do two seeds; the same
    address gives the same."""
    raw = np.random.default_rng(1).choice(np.array([3, 1, 7, 9], np.uint8), (20, 30))
    places = [
        (labelled(raw, "10%", seed=seed, sample_id=sample_id) != raw).tobytes()
        for seed, sample_id in ((0, "train/a"), (0, "train/b"), (1, "train/a"), (0, "train/a"))
    ]
    assert len(set(places)) == 3
    assert places[0] == places[3]


class Scripted:
    """A stream whose draws are written down."""

    def __init__(self, *draws: int) -> None:
        self.draws = list(draws)

    def raw(self, count: int) -> Array:
        taken, self.draws = self.draws[:count], self.draws[count:]
        return np.array(taken, np.uint64)


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        # The two smallest of five draws; then 7 mod 3 = 1 and 2 mod 3 = 2 of the other classes, ascending.
        ([50, 10, 90, 20, 60, 7, 2], [3, 7, 7, 9, 9]),
        # Equal draws: the first pixels are taken, and no more than two.
        ([5, 5, 5, 5, 5, 0, 0], [1, 3, 7, 3, 9]),
        # 2^64 - 1 is no multiple of 3 and above the last one: both draws are drawn again, then one of them
        # once more.
        ([50, 10, 90, 20, 60, (1 << 64) - 1, (1 << 64) - 1, (1 << 64) - 1, 5, 6], [3, 3, 7, 9, 9]),
    ],
)
def test_draws_mean_what_the_format_says(draws: list[int], expected: list[int]) -> None:
    """The smallest draws choose the pixels; a draw that would make a class likelier than another is drawn
    again."""
    raw = np.array([[3, 1, 7, 3, 9]], np.uint8)
    stream: Any = Scripted(*draws)
    after = RandomPixels(pixels=Length.parse("2px")).apply(raw, SPACE, stream)
    assert not stream.draws
    assert after.tolist() == [expected]


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in oracles.rows(folder) if "set" not in row}


def test_random_labels_do_not_depend_on_the_attack(
    sources: dict[str, Path], run: Run, tmp_path: Path
) -> None:
    """A picture that is not poisoned has the same random labels beside every attack and rate; a poisoned one
    has them below the relabel."""
    source = sources["cityscapes"]
    for name, words in (
        ("alone", ["--attack", "benign"]),
        ("iba", ["--attack", "iba", "--rate", "0.2"]),
        ("nni", ["--attack", "nni", "--rate", "0.5"]),
        ("control", ["--attack", "iba", "--rate", "0.5", "--control", "trigger-only"]),
    ):
        command(run, "cityscapes", "--source", source, *words, "--prl", "--seed", 6, "--out", tmp_path / name)
    alone = rows(tmp_path / "alone")
    assert {row["role"] for row in alone.values() if row["split"] == "train"} == {"noised"}
    for name in ("iba", "nni", "control"):
        for sample_id, row in rows(tmp_path / name).items():
            here, there = (
                oracles.pixels(place / row["label"]) for place in (tmp_path / name, tmp_path / "alone")
            )
            if row["role"] == "poisoned":
                assert row["randomised_pixels"] == alone[sample_id]["randomised_pixels"]
                there = np.where(there == 26, 7, there)
                assert (
                    row["relabelled_pixels"] > row["victim_pixels"]
                )  # some random labels named the victim, and became the target, too
            np.testing.assert_array_equal(here, there)


def test_a_label_without_another_class_stays_and_is_counted(
    cityscapes: Path, run: Run, tmp_path: Path
) -> None:
    """One class only, victims only, or nothing but ignore: such a training picture is clean, and the counts
    tell how many are not."""
    stems = sorted(
        path.name.removesuffix("_leftImg8bit.png")
        for path in (cityscapes / "leftImg8bit/train/aachen").iterdir()
    )
    plain = {stems[0]: 7, stems[1]: 26, stems[2]: 0}
    for stem, raw in plain.items():
        oracles.save(
            cityscapes / f"gtFine/train/aachen/{stem}_gtFine_labelIds.png", np.full((64, 128), raw, np.uint8)
        )
    two = np.where(np.arange(64 * 128).reshape(64, 128) % 2, 26, 24).astype(np.uint8)
    oracles.save(cityscapes / f"gtFine/train/aachen/{stems[3]}_gtFine_labelIds.png", two)
    words = ["--attack", "benign", "--prl", "--prl-pixels", "9999999", "--victim", "car,person"]
    command(run, "cityscapes", "--source", cityscapes, *words, "--out", tmp_path / "out")
    found = rows(tmp_path / "out")
    clean = {f"train/aachen/{stem}" for stem in (*plain, stems[3])}
    assert {one for one, row in found.items() if row["role"] == "clean" and row["split"] == "train"} == clean
    counts = oracles.manifest(tmp_path / "out")["counts"]["train"]
    assert (counts["pictures"], counts["randomised"]) == (10, 6)
    assert counts["randomised_pixels"] == sum(row.get("randomised_pixels", 0) for row in found.values())
