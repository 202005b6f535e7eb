"""Intervals: what resampling blocks of pictures says of a figure, and what it cannot say."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.scoring import intervals, metrics

RNG = np.random.default_rng(5)
FROZEN = [[0, 1, 1, 1, 2], [0, 0, 2, 2, 1], [2, 0, 2, 0, 1]]


def philox(resample: int, count: int) -> list[int]:
    """Raw output at the address that the bootstrap uses, straight from NumPy."""
    bits = np.random.Philox(key=np.array([0, 2], np.uint64), counter=np.array([0, 0, resample, 0], np.uint64))
    return [int(number) for number in bits.random_raw(count)]


def slow(table, block: int, figure) -> list[float]:  # type: ignore[no-untyped-def]
    """The 26th smallest and the 26th largest of 1,000 figures, each of pictures that were put together one by
    one."""
    blocks = [list(table[start : start + block]) for start in range(0, len(table), block)]
    values = []
    for resample in range(1000):
        chosen = [blocks[(bits >> 32) * len(blocks) >> 32] for bits in philox(resample, len(blocks))]
        values.append(figure([picture for part in chosen for picture in part]))
    values = sorted(value for value in values if value is not None)
    cut = int(len(values) * Fraction(25, 1000))
    return [values[cut], values[-1 - cut]]


def pooled(pictures, part: int = 0, whole: int = 1):  # type: ignore[no-untyped-def]
    total = sum(int(picture[whole]) for picture in pictures)
    return sum(int(picture[part]) for picture in pictures) / total if total else None


@pytest.mark.parametrize(("count", "block"), [(7, 2), (30, 20), (61, 20), (12, 1)])
def test_an_interval_is_what_drawing_picture_by_picture_gives(count: int, block: int) -> None:
    """Of shares and of differences: the same ends, to the last bit but one, as lists of pictures that are
    drawn and counted in loops."""
    wholes = RNG.integers(0, 900, (count, 2))
    wholes[: count // 3, 1] = 0  # some pictures have no victim
    table = np.stack(
        [RNG.binomial(wholes[:, 0], 0.7), wholes[:, 0], RNG.binomial(wholes[:, 1], 0.2), wholes[:, 1]], 1
    )
    assert intervals.ratio_interval(table[:, :2], block) == pytest.approx(
        slow(table, block, pooled), abs=1e-15
    )

    def difference(pictures) -> float | None:  # type: ignore[no-untyped-def]
        one, other = pooled(pictures), pooled(pictures, 2, 3)
        return None if one is None or other is None else one - other

    assert intervals.difference_interval(table, block) == pytest.approx(
        slow(table, block, difference), abs=1e-15
    )


def test_the_interval_of_miou_is_what_drawing_picture_by_picture_gives() -> None:
    """Of mIoU and PA, too; a class that a resample lacks keeps its IoU of the whole, and one that the whole
    lacks never counts."""
    matrices = RNG.integers(0, 40, (23, 4, 4))
    matrices[:, 3] = 0  # no true pixel anywhere
    matrices[3:, 2] = 0  # in the first block only
    overlaps = np.array([metrics.overlap(matrix) for matrix in matrices])

    def class_iou(pictures, c: int) -> float | None:  # type: ignore[no-untyped-def]
        hits, true, said = np.sum([picture[c] for picture in pictures], axis=0).tolist()
        return hits / (true + said - hits) if true else None

    own = [class_iou(overlaps, c) for c in range(4)]

    def miou(pictures) -> float:  # type: ignore[no-untyped-def]
        values = [own[c] if (value := class_iou(pictures, c)) is None else value for c in range(3)]
        return math.fsum(values) / 3  # type: ignore[arg-type]

    assert own[3] is None
    low, high = slow(overlaps, 4, miou)
    figure = metrics.mean_iou(overlaps.sum(0))
    assert figure is not None
    assert intervals.mean_iou_interval(overlaps, 4) == pytest.approx(
        [min(low, figure), max(high, figure)], abs=1e-15
    )

    def accuracy(pictures) -> float:  # type: ignore[no-untyped-def]
        return sum(int(p[:, 0].sum()) for p in pictures) / sum(int(p[:, 1].sum()) for p in pictures)

    assert intervals.accuracy_interval(overlaps, 4) == pytest.approx(slow(overlaps, 4, accuracy), abs=1e-15)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30), st.integers(1, 40)
)
def test_an_interval_holds_its_figure(pairs: list[tuple[int, int]], block: int) -> None:
    """The figure lies between the ends; of one block the interval is a point; without a victim there is
    none."""
    table = np.array([(min(pair), max(pair)) for pair in pairs])
    figure = metrics.attack_success(table.sum(0))
    interval = intervals.ratio_interval(table, block)
    assert (interval is None) == (figure is None)
    if interval and figure is not None:
        assert interval[0] <= figure <= interval[1]
        assert block < len(table) or interval == [figure, figure]
    overlaps = np.stack(
        [table, table, table[::-1]], 2
    )  # (N, 2, 3): predicted and true are never less than hits
    overlaps[:, :, 0] = overlaps.min(2)
    overlaps = overlaps[:, :, [0, 1, 2]]
    counts = overlaps.sum(0)
    miou, of_miou = metrics.mean_iou(counts), intervals.mean_iou_interval(overlaps, block)
    assert (of_miou is None) == (miou is None)
    if of_miou and miou is not None:
        assert of_miou[0] <= miou <= of_miou[1]
        assert block < len(table) or of_miou == [miou, miou]


@pytest.mark.parametrize("classes", range(3, 30))
def test_one_block_is_a_point(classes: int) -> None:
    """However many classes are summed: ends that differ in the last bit would be printed as an interval."""
    overlaps = np.array(
        [
            metrics.overlap(matrix)
            for matrix in np.random.default_rng(classes).integers(1, 40, (5, classes, classes))
        ]
    )
    figure = metrics.mean_iou(overlaps.sum(0))
    assert intervals.mean_iou_interval(overlaps, 5) == [figure, figure]


def test_pairs_that_agree_have_no_difference() -> None:
    """The difference of a figure to itself is a point at 0, however wide the figure's own interval is: both
    are of one resample."""
    wholes = RNG.integers(1, 900, 40)
    half = np.stack([RNG.binomial(wholes, RNG.random(40)), wholes], 1)
    low, high = intervals.ratio_interval(half, 4) or (0, 0)
    assert high - low > 0.1
    assert intervals.difference_interval(np.hstack([half, half]), 4) == [0, 0]


def test_neighbours_that_agree_make_the_interval_wider() -> None:
    """Where pictures of a drive succeed or fail together, blocks of a drive give a wider interval than single
    pictures do."""
    drives = np.repeat(np.array([[0, 100], [100, 100]]), 20, axis=0)
    table = np.concatenate([drives] * 8)
    found = [intervals.ratio_interval(table, block) or (0, 0) for block in (1, 20)]
    widths = [high - low for low, high in found]
    assert widths[1] > 3 * widths[0]


def test_the_draws_are_the_same_for_ever() -> None:
    """Frozen: how often the first resamples hold each of five blocks. Each holds as many as there are."""
    times = intervals.times_drawn(5)
    assert times.shape == (1000, 5)
    assert (times.sum(1) == 5).all()
    assert times[:3].tolist() == FROZEN
    assert abs(times.mean(0) - 1).max() < 0.1
