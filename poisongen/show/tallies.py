"""What is counted in a folder: places of triggers, distances, surfaces, classes before and after. Rows and
label maps in, numbers out.

Nothing here estimates: every number is a count of rows or of pixels, or a quotient of two.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from poisongen.attacks import BAND_LIMITS, BAND_ROWS
from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample
from poisongen.engine.workers import Workers
from poisongen.errors import VerifyError
from poisongen.format.manifest import Manifest, Rejected, Row
from poisongen.imaging.pixels import Pixels, histogram
from poisongen.labels import IGNORE, LabelSpace
from poisongen.show.gallery import Bools, Group, changes_label, missing, read_label, read_mask, source_label

COLUMNS = 32
"""Cells of a heat map over the picture's width."""
STEP = 10
"""Width of a bin of distances, in the same pixels."""
MAX_BINS = 500
"""No picture is so wide; the last bin holds all that a stranger's rows claim to be farther."""

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """Where the triggers of a group lie in the picture. ``cells`` (rows, columns) sum to ``number``;
    ``spread``: over masks, not points."""

    title: str
    number: int
    withheld: bool
    spread: bool
    cells: Grid


def grid_shape(rows: Iterable[Row]) -> tuple[int, int]:
    """Rows and columns of heat maps whose cells are about square in the median picture."""
    aspects = [row.height / row.width for row in rows if row.width]
    return min(48, max(6, round(COLUMNS * median(aspects)))) if aspects else 16, COLUMNS


def lies_on_point(row: Row) -> bool:
    """Was a place looked for? Then its reference point says where; a trigger that is always at one place, or
    everywhere, has a mask."""
    return row.placement is not None and (row.placement.surface_class is not None or row.mask is None)


def places(
    groups: Sequence[Group], shape: tuple[int, int], spreads: Mapping[tuple[str, str], Grid]
) -> list[Places]:
    """A heat map for each group with triggers, or with places of withheld ones. ``spreads``: what masks were
    read, by the row's key.

    A trigger counts 1 in the cell of its reference point, or its mask's pixels count equally and sum to 1.
    """
    found = []
    for group in groups:
        cells, number, spread = np.zeros(shape), 0, False
        for row in group.rows:
            if row.placement is not None and lies_on_point(row):
                top, left, rows, columns = row.placement.box
                cells[
                    _cell(top + rows // 2, row.height, shape[0]),
                    _cell(left + columns // 2, row.width, shape[1]),
                ] += 1
            elif row.key in spreads:
                cells += spreads[row.key]
                spread = True
            else:
                continue
            number += 1
        if number:
            found.append(Places(group.title, number, group.withheld, spread, cells))
    return found


def _cell(at: int, side: int, cells: int) -> int:
    return min(cells - 1, at * cells // max(1, side))


@dataclass(frozen=True)
class MaskReader:
    """Reads where a trigger lies. Runs in worker processes."""

    root: Path
    shape: tuple[int, int]

    def __call__(self, row: Row) -> tuple[tuple[str, str], Grid]:
        """The row's key, and how its mask's pixels spread over the cells of a heat map; they sum to 1. Raises
        VerifyError."""
        return row.key, spread(read_mask(self.root, row), self.shape)


def spread(mask: Bools, shape: tuple[int, int]) -> Grid:
    """The share of a mask's pixels in each cell of a heat map of ``shape``."""
    rows, columns = (np.arange(side) * cells // side for side, cells in zip(mask.shape, shape, strict=True))
    down = np.zeros((shape[0], mask.shape[1]), np.int64)
    np.add.at(down, rows, mask)
    cells = np.zeros(shape, np.int64)
    np.add.at(cells.T, columns, down.T)
    return cells / max(1, int(cells.sum()))


@dataclass(frozen=True)
class Distances:
    """How far the triggers of a group are from the victim: ``bins`` of ``STEP``, ``bands`` by metric, in
    pixels at 512 rows.

    A bin holds STEP · i ≤ d < STEP · (i + 1). A band holds lower < d ≤ upper, the first one also 0, the last
    one all that is farther.
    """

    title: str
    number: int
    bins: tuple[int, ...]
    bands: Mapping[str, tuple[int, ...]]
    summary: Mapping[str, tuple[float, float, float]]


def distances(groups: Sequence[Group]) -> list[Distances]:
    """For each group whose rows have distances."""
    found = []
    for group in groups:
        locations = [(row.placement, max(1, row.height)) for row in group.rows if row.placement]
        euclidean = [
            (location.distance_sq, height)
            for location, height in locations
            if location.distance_sq is not None
        ]
        chebyshev = [
            (location.chebyshev**2, height)
            for location, height in locations
            if location.chebyshev is not None
        ]
        if euclidean:
            bins = Counter(_bin(squared, height) for squared, height in euclidean)
            metrics = {"Euclidean": euclidean} | ({"Chebyshev": chebyshev} if chebyshev else {})
            found.append(
                Distances(
                    group.title,
                    len(euclidean),
                    tuple(bins[index] for index in range(max(bins) + 1)),
                    {metric: _bands(values) for metric, values in metrics.items()},
                    {metric: _summary(values) for metric, values in metrics.items()},
                )
            )
    return found


def _bin(squared: int, height: int) -> int:
    return min(MAX_BINS - 1, isqrt(squared * BAND_ROWS**2 // (height * STEP) ** 2))


def _bands(values: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    counts = [0] * (len(BAND_LIMITS) + 1)
    for squared, height in values:
        counts[sum(squared * BAND_ROWS**2 > (bound * height) ** 2 for bound in BAND_LIMITS)] += 1
    return tuple(counts)


def _summary(values: Sequence[tuple[int, int]]) -> tuple[float, float, float]:
    scaled = [squared**0.5 * BAND_ROWS / height for squared, height in values]
    return min(scaled), median(scaled), max(scaled)


@dataclass(frozen=True)
class Surface:
    """A class that triggers lie on: how many in each group, in the order of the groups."""

    train: int
    counts: tuple[int, ...]


def surfaces(groups: Sequence[Group]) -> tuple[list[str], list[Surface]]:
    """The groups whose triggers lie on a surface, by title, and the classes that carry them, the most
    frequent first."""
    tallies = {
        group.title: Counter(
            row.placement.surface_class
            for row in group.rows
            if row.placement and row.placement.surface_class is not None
        )
        for group in groups
    }
    tallies = {title: tally for title, tally in tallies.items() if tally}
    total = sum(tallies.values(), Counter[int | None]())
    ordered = sorted(
        (train for train in total if train is not None), key=lambda train: (-total[train], train)
    )
    return list(tallies), [
        Surface(train, tuple(tally[train] for tally in tallies.values())) for train in ordered
    ]


@dataclass(frozen=True)
class Labelled:
    """Pixels of each class in the labels of the training split, ignored ones last: after, and before if that
    is known."""

    after: tuple[int, ...]
    before: tuple[int, ...] | None
    note: str

    @property
    def changed(self) -> bool:
        """Is any number another one?"""
        return self.before is not None and self.before != self.after


@dataclass(frozen=True)
class LabelReader:
    """Counts the classes in a training label, before and after. Runs in worker processes."""

    root: Path
    source: Reader | None
    space: LabelSpace
    single: tuple[int, int] | None

    def __call__(
        self, item: tuple[Row, Sample | None]
    ) -> tuple[tuple[int, ...], tuple[int, ...] | None, str]:
        """Pixels of each class after and before, ignored ones last; if the latter are not known, why. Raises
        VerifyError.

        ``single``: the one victim and the target, where the label before follows from the row alone.
        """
        row, sample = item
        after = self._count(read_label(self.root, row), self.root / row.label)
        if not changes_label(row):
            return after, after, ""
        note = missing("labels before", self.source)
        if self.source is not None and sample is not None:
            raw, note = source_label(self.source, sample, row)
            if raw is not None:
                return after, self._count(raw, self.source.root / sample.label), ""
        if self.single and row.relabelled_pixels is not None and not row.randomised_pixels:
            victim, target = self.single
            before = list(after)
            before[victim] += row.relabelled_pixels
            before[target] -= row.relabelled_pixels
            if before[target] < 0:
                raise VerifyError(
                    "A row says that more pixels were relabelled than its label map has of the target.",
                    file=self.root / row.label,
                    expected=f"{after[target]:,} or less",
                    found=f"{row.relabelled_pixels:,}",
                )
            return after, tuple(before), ""
        return after, None, note

    def _count(self, raw: Pixels, path: Path) -> tuple[int, ...]:
        counts = histogram(raw)
        self.space.check(counts, path)
        classes = range(len(self.space.names))
        return tuple(self.space.count(counts, (train,)) for train in (*classes, IGNORE))


def labelled(counted: Iterable[tuple[tuple[int, ...], tuple[int, ...] | None, str]]) -> Labelled:
    """The sum of what was counted in each label map; no label before, and why, if one of them is not
    known."""
    after: Counter[int] = Counter()
    before: Counter[int] = Counter()
    notes: Counter[str] = Counter()
    classes = 0
    for one, earlier, note in counted:
        classes = len(one)
        after.update(dict(enumerate(one)))
        before.update(dict(enumerate(earlier or ())))
        if earlier is None:
            notes[note] += 1
    told = "; ".join(f"{note} ({number:,} label maps)" for note, number in sorted(notes.items()))
    numbers = [tuple(one[train] for train in range(classes)) for one in (after, before)]
    return Labelled(numbers[0], None if notes else numbers[1], told)


@dataclass(frozen=True)
class Reason:
    """Why samples were left out: in which set (empty: training), how many, and the first of them."""

    set: str
    reason: str
    number: int
    first: tuple[str, ...]


MAX_LISTED, MAX_REASONS = 400, 60


def reasons(rejected: Sequence[Rejected]) -> list[Reason]:
    """The rejected samples by set and reason; at most ``MAX_REASONS``, and of each at most ``MAX_LISTED`` are
    named."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for one in rejected:
        kinds.setdefault((one.set, one.reason), []).append(one.id)
    return [
        Reason(*kind, len(ids), tuple(sorted(ids)[:MAX_LISTED]))
        for kind, ids in sorted(kinds.items())[:MAX_REASONS]
    ]


def single_claim(manifest: Manifest) -> tuple[int, int] | None:
    """Victim and target, if there is one victim, so that relabelled pixels were all of it."""
    poison = manifest.recipe.poison
    if poison is None or len(poison.victim_classes) != 1:
        return None
    return poison.victim_classes[0], poison.target_class


@dataclass(frozen=True)
class Tallies:
    """All that was counted."""

    places: Sequence[Places]
    distances: Sequence[Distances]
    surfaces: tuple[Sequence[str], Sequence[Surface]]
    labelled: Labelled
    reasons: Sequence[Reason]


def count(
    root: Path,
    source: Reader | None,
    manifest: Manifest,
    rows: Sequence[Row],
    groups: Sequence[Group],
    space: LabelSpace,
    samples: Mapping[str, Sample],
    workers: Workers,
) -> Tallies:
    """Count everything. Reads all training labels, and the masks of triggers that lie on no point;
    ``samples``: of the source, by id.

    Raises VerifyError for a file of the folder that is not what its row says.
    """
    shape = grid_shape(row for group in groups for row in group.rows)
    masked = [row for group in groups for row in group.with_trigger if not lies_on_point(row)]
    spreads = dict(workers.map(MaskReader(root, shape), masked, "reading masks"))
    training = [
        (row, samples.get(row.id)) for row in rows if row.set is None and row.split == manifest.splits.train
    ]
    reader = LabelReader(root, source, space, single_claim(manifest))
    return Tallies(
        places=places(groups, shape, spreads),
        distances=distances(groups),
        surfaces=surfaces(groups),
        labelled=labelled(workers.map(reader, training, "counting labels")),
        reasons=reasons(manifest.rejected),
    )
