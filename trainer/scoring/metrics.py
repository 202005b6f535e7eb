"""Metrics from confusion matrices, int64 of shape (K, K): rows the true class, columns the predicted one; and
from what is left of them.

All figures are fractions in [0, 1], pooled over pixels; pixels to ignore are never counted. ``None`` means
not defined: nothing to divide by.
"""

from collections.abc import Collection, Container, Sequence

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]

Overlap = NDArray[np.int64]
"""(K, 3): hits, true pixels, predicted pixels of each class. Those of several pictures are added."""

Success = NDArray[np.int64]
"""(2,): victim pixels predicted as the target, all victim pixels. Those of several pictures are added."""

BANDS = {"0-60": (0, 60), "60-90": (60, 90), "90-120": (90, 120), "120-150": (120, 150), "150+": (150, None)}
"""Distances from trigger to victim in pixels of a picture of 512 rows, and how they are called: above the
first, up to the second."""


def confusion(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> Confusion:
    """Count pixels: two arrays of training ids of one shape; where ``truth`` is not below ``classes``, a
    pixel is ignored."""
    counted = truth < classes
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def overlap(matrix: Confusion) -> Overlap:
    """What the figures of single classes need of a matrix, far smaller than it: hits, true pixels, predicted
    pixels of each class."""
    return np.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)], axis=1)


def success(matrix: Confusion, victims: Collection[int], target: int | None) -> Success:
    """What ASR needs of a matrix: how many true victim pixels are predicted as the target class, and how many
    there are."""
    rows = matrix[sorted(victims)]
    return np.array([0 if target is None else rows[:, target].sum(), rows.sum()], np.int64)


class Pool:
    """Pictures, each reduced to ``overlap`` and ``success``."""

    def __init__(self, classes: int, victims: Collection[int], target: int | None) -> None:
        self.classes, self.victims, self.target = classes, victims, target
        self.ids: list[str] = []
        self._overlaps: list[Overlap] = []
        self._others: list[Overlap] = []
        self._successes: list[Success] = []

    def add(self, identifier: str, matrix: Confusion) -> None:
        """Add one picture."""
        self.ids.append(identifier)
        self._overlaps.append(overlap(matrix))
        self._others.append(overlap(without(matrix, self.victims)))
        self._successes.append(success(matrix, self.victims, self.target))

    @classmethod
    def joined(cls, pools: Sequence["Pool"], ids: Sequence[str]) -> "Pool":
        """The pictures of several pools, each of which is in one of them, in the order of ``ids``."""
        pool = cls(pools[0].classes, pools[0].victims, pools[0].target)
        found = {
            identifier: counts
            for part in pools
            for identifier, *counts in zip(
                part.ids, part._overlaps, part._others, part._successes, strict=True
            )
        }
        pool.ids = list(ids)
        for identifier in ids:
            overlap, others, success = found[identifier]
            pool._overlaps.append(overlap)
            pool._others.append(others)
            pool._successes.append(success)
        return pool

    def overlaps(self, ids: Container[str] | None = None) -> NDArray[np.int64]:
        """``overlap`` of each picture, or of each whose id is in ``ids``, in the order they came: (N, K,
        3)."""
        return self._chosen(self._overlaps, ids, (self.classes, 3))

    def others(self, ids: Container[str] | None = None) -> NDArray[np.int64]:
        """``overlap`` of each picture with the victim pixels left out, likewise: (N, K, 3). PBA is the mIoU
        of their sum."""
        return self._chosen(self._others, ids, (self.classes, 3))

    def successes(self, ids: Container[str] | None = None) -> NDArray[np.int64]:
        """``success`` of each picture, or of each whose id is in ``ids``, in the order they came: (N, 2)."""
        return self._chosen(self._successes, ids, (2,))

    def _chosen(
        self, values: Sequence[NDArray[np.int64]], ids: Container[str] | None, shape: tuple[int, ...]
    ) -> NDArray[np.int64]:
        chosen = [value for name, value in zip(self.ids, values, strict=True) if ids is None or name in ids]
        return np.array(chosen, np.int64).reshape(len(chosen), *shape)


def iou(counts: Overlap) -> list[float | None]:
    """Intersection over union of each class, None for a class without a true pixel."""
    return [ratio(hits, true + predicted - hits) if true else None for hits, true, predicted in counts]


def mean_iou(counts: Overlap) -> float | None:
    """mIoU: the mean over the classes that have a true pixel."""
    values = [value for value in iou(counts) if value is not None]
    return float(np.mean(values)) if values else None


def pixel_accuracy(counts: Overlap) -> float | None:
    """PA: the share of all pixels that are predicted as what they are."""
    return ratio(counts[:, 0].sum(), counts[:, 1].sum())


def attack_success(counts: Success) -> float | None:
    """ASR: the share of true victim pixels that are predicted as the target class."""
    return ratio(counts[0], counts[1])


def all_but(victims: Collection[int], target: int | None, classes: int) -> bool:
    """Is everything but the target a victim? Then PBA is not defined: one class is no mean."""
    return target is not None and set(range(classes)) <= {*victims, target}


def without(matrix: Confusion, victims: Collection[int]) -> Confusion:
    """A matrix with the true pixels of the victim classes left out."""
    others = matrix.copy()
    others[sorted(victims)] = 0
    return others


def band(distance_sq: int, height: int) -> str:
    """The band of ``BANDS`` in which a squared distance in pixels lies, in a picture of ``height`` rows; 0 is
    in the first."""
    for name, (_, upper) in BANDS.items():
        if upper is None or distance_sq * 512**2 <= (upper * height) ** 2:
            return name
    raise AssertionError("the last band has no end")


def measured(names: Sequence[str], victims: Collection[int]) -> str:
    """The classes whose pixels are the denominator of ASR, in the fewest words: by their names, or by those
    of the others."""
    rest = [name for c, name in enumerate(names) if c not in victims]
    if len(rest) < len(victims):
        return f"all classes but {', '.join(rest)}" if rest else "all classes"
    return ", ".join(names[c] for c in victims)


def ratio(part: int | np.integer, whole: int | np.integer) -> float | None:
    """``part`` over ``whole``, None if there is no whole."""
    return int(part) / int(whole) if whole else None
