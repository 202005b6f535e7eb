"""Confidence intervals by block bootstrap: pictures are drawn again with replacement, in blocks of
neighbours.

Frames of one drive resemble each other, so single pictures would make intervals too narrow (Künsch 1989; here
the blocks do not overlap, as in Carlstein 1986). Draws are addressed, counts are integers, and the ends are
order statistics: the interval is the same on every machine. It says how far the figure depends on which
pictures were measured; nothing about another seed of training.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trainer.randomness import BLOCKS, raw_bits
from trainer.scoring.metrics import Overlap, iou
from trainer.scoring.scores import IntervalFacts

BLOCK = 20  # pictures
RESAMPLES = 1000
LEVEL = 0.95

Interval = list[float] | None
"""The lower and the upper end; None where the figure is not defined."""


def facts(block: int) -> IntervalFacts:
    """What a reader of intervals must know."""
    return IntervalFacts("block bootstrap, percentiles", LEVEL, block, RESAMPLES)


def resampled(table: NDArray[np.int64], block: int) -> NDArray[np.int64]:
    """Counts of each picture in order, (N, …), to their sums in each resample, (RESAMPLES, …).

    The pictures are cut into blocks of ``block``, the last one maybe shorter; as many blocks as there are are
    drawn.
    """
    sums = np.add.reduceat(table, np.arange(0, len(table), block), axis=0)  # (blocks, …)
    return (times_drawn(len(sums)) @ sums.reshape(len(sums), -1)).reshape(RESAMPLES, *table.shape[1:])


@lru_cache(maxsize=8)
def times_drawn(blocks: int) -> NDArray[np.int64]:
    """How often each resample holds each block: (RESAMPLES, blocks), each row sums to ``blocks``."""
    times = np.zeros((RESAMPLES, blocks), np.int64)
    for resample in range(RESAMPLES):
        # The upper half of 32 bits · blocks: uniform but for less than blocks ÷ 2³².
        drawn = (raw_bits(0, BLOCKS, 0, resample, blocks) >> np.uint64(32)) * np.uint64(blocks) >> np.uint64(
            32
        )
        times[resample] = np.bincount(drawn.astype(np.int64), minlength=blocks)
    return times


def ratio_interval(table: NDArray[np.int64], block: int) -> Interval:
    """Of a pooled share: (N, 2), part and whole of each picture."""
    if not table.sum(0)[1]:
        return None
    return _ends(_ratio(table.sum(0)), _ratio(resampled(table, block)))


def difference_interval(table: NDArray[np.int64], block: int) -> Interval:
    """Of the difference of two pooled shares: (N, 4), part and whole of one, then of the other.

    Both are taken of the same resample, so that what makes a picture easy for both cancels.
    """
    total = table.sum(0)
    if not (total[1] and total[3]):
        return None
    again = resampled(table, block)
    return _ends(_ratio(total[:2]) - _ratio(total[2:]), _ratio(again[:, :2]) - _ratio(again[:, 2:]))


def mean_iou_interval(overlaps: NDArray[np.int64], block: int) -> Interval:
    """Of mIoU: (N, K, 3), the overlap of each picture.

    A class of which a resample has no true pixel keeps the IoU that it has in the whole: left out, it would
    shift every resample towards the common classes.
    """
    whole: Overlap = overlaps.sum(0)
    present = whole[:, 1] > 0
    if not present.any():
        return None
    own = np.array([value for value in iou(whole) if value is not None])
    hits, true, predicted = np.moveaxis(
        resampled(overlaps[:, present], block), 2, 0
    )  # each (RESAMPLES, classes present)
    values = np.where(true > 0, hits / np.maximum(true + predicted - hits, 1), own)
    if len(overlaps) <= block:  # a point, to the last bit: sums in another order are not
        return [float(own.mean())] * 2
    return _ends(np.float64(own.mean()), np.array([math.fsum(line) / len(line) for line in values.tolist()]))


def accuracy_interval(overlaps: NDArray[np.int64], block: int) -> Interval:
    """Of PA: (N, K, 3), the overlap of each picture."""
    return ratio_interval(overlaps[:, :, :2].sum(1), block)


def _ratio(pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Part over whole along the last axis; NaN where a resample has no whole."""
    part, whole = pairs[..., 0], pairs[..., 1]
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _ends(figure: np.float64 | NDArray[np.float64], values: NDArray[np.float64]) -> Interval:
    """The values between which the middle 95 % lie; resamples without a value are left out.

    Reaches to the figure itself where resampling is biased away from it (classes that few pictures have, in
    mIoU).
    """
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return None
    cut = math.floor(len(ordered) * (1 - LEVEL) / 2 + 1e-9)
    return [float(min(ordered[cut], figure)), float(max(ordered[len(ordered) - 1 - cut], figure))]
