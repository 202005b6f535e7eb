"""Metrics from confusion matrices: int64 of shape (K, K), rows the true class, columns the predicted one.

All figures are fractions in [0, 1], pooled over pixels; pixels to ignore are never counted. ``None`` means not defined: nothing to
divide by.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]


def confusion(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> Confusion:
    """Count pixels: two arrays of training ids of one shape; where ``truth`` is not below ``classes``, a pixel is ignored."""
    counted = truth < classes
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


class Pool:
    """Pictures pooled: the sum of their matrices, how many they are, and how many of them have a victim's pixel."""

    def __init__(self, classes: int) -> None:
        self.matrix: Confusion = np.zeros((classes, classes), np.int64)
        self.pictures = self.with_victim = 0

    def add(self, matrix: Confusion, victims: Collection[int]) -> None:
        """Add one picture."""
        self.matrix += matrix
        self.pictures += 1
        self.with_victim += bool(matrix[sorted(victims)].any())


def iou(matrix: Confusion) -> list[float | None]:
    """Intersection over union of each class, None for a class without a true pixel."""
    hits, true, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    return [ratio(hits[c], true[c] + predicted[c] - hits[c]) if true[c] else None for c in range(len(matrix))]


def mean_iou(matrix: Confusion) -> float | None:
    """mIoU: the mean over the classes that have a true pixel."""
    values = [value for value in iou(matrix) if value is not None]
    return float(np.mean(values)) if values else None


def pixel_accuracy(matrix: Confusion) -> float | None:
    """PA: the share of all pixels that are predicted as what they are."""
    return ratio(matrix.trace(), matrix.sum())


def attack_success(matrix: Confusion, victims: Collection[int], target: int) -> float | None:
    """ASR: the share of true victim pixels that are predicted as the target class."""
    rows = matrix[sorted(victims)]
    return ratio(rows[:, target].sum(), rows.sum())


def benign_accuracy(matrix: Confusion, victims: Collection[int], target: int) -> float | None:
    """PBA: mIoU over the non-victim classes with the victim pixels left out.

    Not defined if everything but the target is a victim: one class is no mean.
    """
    if set(range(len(matrix))) <= {*victims, target}:
        return None
    others = matrix.copy()
    others[sorted(victims)] = 0
    return mean_iou(others)


def measured(names: Sequence[str], victims: Collection[int]) -> str:
    """The classes whose pixels are the denominator of ASR, in the fewest words: by their names, or by those of the others."""
    rest = [name for c, name in enumerate(names) if c not in victims]
    if len(rest) < len(victims):
        return f"all classes but {', '.join(rest)}" if rest else "all classes"
    return ", ".join(names[c] for c in victims)


def ratio(part: int | np.integer, whole: int | np.integer) -> float | None:
    """``part`` over ``whole``, None if there is no whole."""
    return int(part) / int(whole) if whole else None
