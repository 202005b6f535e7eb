"""How far triggers are from the victim. Rows in, counts out; lengths are in pixels of a picture with 512
rows, as the papers give them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, sqrt
from statistics import median
from typing import NamedTuple

from poisongen.attacks import BAND_LIMITS, BAND_ROWS
from poisongen.show.gallery import Group

STEP = 10
"""Width of a bin of distances."""
MAX_BINS = 500
"""No picture is so wide; the last bin holds all that a stranger's rows claim to be farther."""


class Distance(NamedTuple):
    """Of a trigger, squared, in pixels of a picture of ``height`` rows: exact."""

    squared: int
    height: int

    @property
    def bin(self) -> int:
        """Which bin of ``STEP`` it lies in."""
        scaled = self.squared * BAND_ROWS**2 // (self.height * STEP) ** 2
        return min(MAX_BINS - 1, isqrt(scaled))

    @property
    def band(self) -> int:
        """Which band it lies in; each includes its upper limit."""
        scaled = self.squared * BAND_ROWS**2
        return sum(scaled > (limit * self.height) ** 2 for limit in BAND_LIMITS)

    @property
    def at_band_rows(self) -> float:
        """In pixels of a picture with 512 rows."""
        return sqrt(self.squared) * BAND_ROWS / self.height


@dataclass(frozen=True)
class MetricSummary:
    """Distances in one metric: how many lie in each band, and three of them.

    A band holds lower < d ≤ upper, the first one also 0, the last one all that is farther.
    """

    metric: str
    bands: tuple[int, ...]
    nearest: float
    median: float
    farthest: float


@dataclass(frozen=True)
class Distances:
    """How far the triggers of a group are from the victim.

    A bin holds the Euclidean distances STEP · i ≤ d < STEP · (i + 1). ``chebyshev``: None if it is not known.
    """

    title: str
    number: int
    bins: tuple[int, ...]
    euclidean: MetricSummary
    chebyshev: MetricSummary | None

    @property
    def metrics(self) -> tuple[MetricSummary, ...]:
        """Those that are known."""
        return (self.euclidean,) if self.chebyshev is None else (self.euclidean, self.chebyshev)


def distances(groups: Sequence[Group]) -> list[Distances]:
    """For each group whose rows have distances."""
    found = []
    for group in groups:
        euclidean, chebyshev = [], []
        for row in group.rows:
            height = max(1, row.height)
            if row.placement and row.placement.distance_sq is not None:
                euclidean.append(Distance(row.placement.distance_sq, height))
            if row.placement and row.placement.chebyshev is not None:
                chebyshev.append(Distance(row.placement.chebyshev**2, height))
        if euclidean:
            summary = _summary("Euclidean", euclidean)
            other = _summary("Chebyshev", chebyshev) if chebyshev else None
            found.append(Distances(group.title, len(euclidean), _bins(euclidean), summary, other))
    return found


def _bins(found: Sequence[Distance]) -> tuple[int, ...]:
    counts = Counter(distance.bin for distance in found)
    return tuple(counts[index] for index in range(max(counts) + 1))


def _summary(metric: str, found: Sequence[Distance]) -> MetricSummary:
    counts = Counter(distance.band for distance in found)
    number_of_bands = len(BAND_LIMITS) + 1
    lengths = [distance.at_band_rows for distance in found]
    return MetricSummary(
        metric=metric,
        bands=tuple(counts[index] for index in range(number_of_bands)),
        nearest=min(lengths),
        median=median(lengths),
        farthest=max(lengths),
    )
