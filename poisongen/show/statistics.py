"""What is counted in a folder: places of triggers, distances, surfaces, classes before and after, reasons.

Nothing here estimates: every number is a count of rows or of pixels, or a quotient of two.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample
from poisongen.engine.workers import Workers
from poisongen.format.manifest import Manifest, Rejected, Row
from poisongen.labels import LabelSpace
from poisongen.show.distances import Distances, distances
from poisongen.show.gallery import Group
from poisongen.show.heat_maps import HeatMap, MaskReader, grid_size, heat_maps, lies_on_point
from poisongen.show.label_counts import LabelCounts, LabelReader, TrainingLabel, single_claim, summed

MAX_REASONS = 60
MAX_LISTED = 400
"""Samples that are named of each reason."""


@dataclass(frozen=True)
class Surface:
    """A class that triggers lie on: how many in each group, in the order of the groups."""

    train: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Surfaces:
    """The groups whose triggers lie on a surface, by title, and the classes that carry them, the most
    frequent first."""

    titles: tuple[str, ...]
    classes: tuple[Surface, ...]


def surfaces(groups: Sequence[Group]) -> Surfaces:
    """What the triggers of each group lie on."""
    by_group = {group.title: _surfaces_of(group) for group in groups}
    counted = {title: counts for title, counts in by_group.items() if counts}
    total = sum(counted.values(), Counter[int]())
    classes = []
    for train in sorted(total, key=lambda train: (-total[train], train)):
        of_groups = tuple(counts[train] for counts in counted.values())
        classes.append(Surface(train, of_groups))
    return Surfaces(tuple(counted), tuple(classes))


def _surfaces_of(group: Group) -> Counter[int]:
    placements = [row.placement for row in group.rows if row.placement]
    classes = [placement.surface_class for placement in placements]
    return Counter(train for train in classes if train is not None)


@dataclass(frozen=True)
class Reason:
    """Why samples were left out: in which set (empty: training), how many, and the first of them."""

    set: str
    reason: str
    number: int
    first: tuple[str, ...]


def reasons(rejected: Sequence[Rejected]) -> list[Reason]:
    """The rejected samples by set and reason; at most ``MAX_REASONS``, and of each at most ``MAX_LISTED`` are
    named."""
    ids: dict[tuple[str, str], list[str]] = {}
    for one in rejected:
        ids.setdefault((one.set, one.reason), []).append(one.id)
    found = []
    for (set_name, reason), members in sorted(ids.items())[:MAX_REASONS]:
        first = tuple(sorted(members)[:MAX_LISTED])
        found.append(Reason(set_name, reason, len(members), first))
    return found


@dataclass(frozen=True)
class Statistics:
    """All that was counted. ``labels``: of the training split."""

    heat_maps: Sequence[HeatMap]
    distances: Sequence[Distances]
    surfaces: Surfaces
    labels: LabelCounts
    reasons: Sequence[Reason]


@dataclass(frozen=True)
class FolderReader:
    """Where label maps and masks come from: the folder, and the clean source, None if it was not given, with
    its samples by id."""

    root: Path
    source: Reader | None
    samples: Mapping[str, Sample]
    space: LabelSpace


def count(
    reader: FolderReader,
    manifest: Manifest,
    rows: Sequence[Row],
    groups: Sequence[Group],
    workers: Workers,
) -> Statistics:
    """Count everything. Reads all training labels, and the masks of triggers that lie on no point.

    Raises VerifyError for a file of the folder that is not what its row says.
    """
    size = grid_size(row for group in groups for row in group.rows)
    masked = [row for group in groups for row in group.with_trigger if not lies_on_point(row)]
    spreads = dict(workers.map(MaskReader(reader.root, size), masked, "reading masks"))
    training = [
        TrainingLabel(row, reader.samples.get(row.id))
        for row in rows
        if row.set is None and row.split == manifest.splits.train
    ]
    label_reader = LabelReader(reader.root, reader.source, reader.space, single_claim(manifest))
    return Statistics(
        heat_maps=heat_maps(groups, size, spreads),
        distances=distances(groups),
        surfaces=surfaces(groups),
        labels=summed(workers.map(label_reader, training, "counting labels")),
        reasons=reasons(manifest.rejected),
    )
