"""The tables and figures of the report, line by line, as its template lays them out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from poisongen.attacks import BAND_LIMITS
from poisongen.format.manifest import CHANGED, Manifest
from poisongen.show import charts
from poisongen.show.classes import Classes
from poisongen.show.distances import STEP, Distances
from poisongen.show.label_counts import LabelCounts
from poisongen.show.overlays import IGNORED, Colour
from poisongen.show.statistics import Statistics, Surfaces
from poisongen.show.text import share

MAX_CLASSES = 24
"""Classes in a table before it folds."""
UNKNOWN_CLASS: Colour = (128, 128, 128)


@dataclass(frozen=True)
class Figure:
    """A number that a reader looks for first, and what it counts."""

    value: str
    meaning: str


def figures(manifest: Manifest, statistics: Statistics) -> list[Figure]:
    """The few numbers of the dataset."""
    found = _figures_of_poison(manifest)
    train = manifest.counts[manifest.splits.train]
    if "randomised" in train:
        pixels, pictures = train["randomised_pixels"], train["randomised"]
        found.append(Figure(f"{pixels:,}", f"pixels with a random label, in {pictures:,} pictures"))
    if statistics.distances:
        first = statistics.distances[0].euclidean
        extremes = f"{first.nearest:.0f} to {first.farthest:.0f} px"
        meaning = f"median distance to the victim at 512 rows ({extremes})"
        found.append(Figure(f"{first.median:.0f} px", meaning))
    if manifest.evaluation_sets:
        sets = [manifest.counts[f"triggered/{name}"] for name in manifest.evaluation_sets]
        pictures = sum(counts["triggered"] for counts in sets)
        plural = "s" if len(sets) > 1 else ""
        found.append(Figure(f"{pictures:,}", f"triggered pictures in {len(sets)} evaluation set{plural}"))
    return found


def _figures_of_poison(manifest: Manifest) -> list[Figure]:
    poison = manifest.recipe.poison
    if poison is None:
        return []
    train = manifest.counts[manifest.splits.train]
    changed, pictures = train[poison.role], train["pictures"]
    hidden, victim_pixels = train[f"victim_pixels_{poison.role}"], train["victim_pixels"]
    what = "victim pixels" if poison.victim_classes else "pixels of other classes"
    found = [
        Figure(share(changed, pictures), f"{changed:,} of {pictures:,} training pictures"),
        Figure(share(hidden, victim_pixels), f"of all {what} lie in them"),
    ]
    if poison.semantic:
        eligible = train["eligible"]
        meaning = f"coverage: of the {eligible:,} pictures that could be"
        found.append(Figure(share(changed, eligible), meaning))
    return found


@dataclass(frozen=True)
class CountsLine:
    """The counts of a split or an evaluation set, None for those that it has not, and shares of them, none
    where nothing was changed."""

    name: str
    counts: Sequence[int | None]
    shares: Sequence[str]


@dataclass(frozen=True)
class CountsTable:
    """``heads``: of the counts; ``share_heads``: of the shares."""

    heads: tuple[str, ...]
    share_heads: tuple[str, ...]
    lines: Sequence[CountsLine]


_COUNT_HEADS = {
    "pictures": "pictures",
    "with_victim": "with victim",
    "with_trigger_class": "with trigger class",
    "eligible": "eligible",
    "changed": "changed",
    "randomised": "random labels",
}
"""Of a manifest's counts, and of ``changed``, whatever role the rows have."""
_SHARE_HEADS = ("of pictures", "of those with victim", "of victim pixels")


def counts_table(manifest: Manifest) -> CountsTable:
    """The manifest's counts of each split and set."""
    counts = {name: _with_changed(given) for name, given in manifest.counts.items()}
    occurring = set().union(*counts.values())
    keys = [key for key in _COUNT_HEADS if key in occurring]
    lines = []
    for name, of_split in counts.items():
        cells = [of_split.get(key) for key in keys]
        lines.append(CountsLine(name, cells, _shares(of_split)))
    has_shares = any(line.shares for line in lines)
    return CountsTable(
        heads=tuple(_COUNT_HEADS[key] for key in keys),
        share_heads=_SHARE_HEADS if has_shares else (),
        lines=lines,
    )


def _changed_role(counts: Mapping[str, int]) -> str | None:
    """The role of the rows that the attack changed in a split or set."""
    return next((role for role in CHANGED if role in counts), None)


def _with_changed(counts: Mapping[str, int]) -> Mapping[str, int]:
    role = _changed_role(counts)
    if role is None:
        return counts
    changed = counts[role]
    return {**counts, "changed": changed, "eligible": counts.get("eligible", changed)}


def _shares(counts: Mapping[str, int]) -> tuple[str, ...]:
    """In the order of ``_SHARE_HEADS``."""
    role = _changed_role(counts)
    if role is None:
        return ()
    return (
        share(counts[role], counts["pictures"]),
        share(counts[role], counts["with_victim"]),
        share(counts[f"victim_pixels_{role}"], counts["victim_pixels"]),
    )


@dataclass(frozen=True)
class DistanceChart:
    """A group's histogram."""

    distances: Distances
    chart: Markup


@dataclass(frozen=True)
class BandsLine:
    """Distances of a group in one metric; ``summary``: nearest, median, farthest."""

    title: str
    metric: str
    bands: Sequence[int]
    summary: Sequence[str]


@dataclass(frozen=True)
class DistanceTables:
    """Histograms on one scale, and the bands in a table; ``bands``: the heads of its columns."""

    charts: Sequence[DistanceChart]
    axis: Markup
    bands: Sequence[str]
    lines: Sequence[BandsLine]


def distance_tables(found: Sequence[Distances]) -> DistanceTables:
    """Of every group that has distances."""
    farthest = max((len(one.bins) for one in found), default=1)
    bins = max(farthest, BAND_LIMITS[-1] // STEP + 2)  # at least all bands, and the beginning of the last
    bands = [f"{low}–{high}" for low, high in pairwise((0, *BAND_LIMITS))]
    lines = []
    for one in found:
        for metric in one.metrics:
            lengths = (metric.nearest, metric.median, metric.farthest)
            summary = [f"{length:.1f}" for length in lengths]
            lines.append(BandsLine(one.title, metric.metric, metric.bands, summary))
    return DistanceTables(
        charts=[DistanceChart(one, charts.distance_chart(one, bins)) for one in found],
        axis=charts.distance_axis(bins),
        bands=[*bands, f"over {BAND_LIMITS[-1]}"],
        lines=lines,
    )


@dataclass(frozen=True)
class SurfaceCell:
    """How many triggers of a group lie on a class, and their share of the group."""

    count: int
    share: str
    bar: Markup


@dataclass(frozen=True)
class SurfaceLine:
    """A class, and how many triggers of each group lie on it."""

    swatch: Markup
    name: str
    cells: Sequence[SurfaceCell]


@dataclass(frozen=True)
class SurfacesTable:
    """``titles``: of the groups."""

    titles: Sequence[str]
    lines: Sequence[SurfaceLine]


def surfaces_table(found: Surfaces, classes: Classes) -> SurfacesTable:
    """What the triggers of each group lie on."""
    counts_of_groups = zip(*(surface.counts for surface in found.classes), strict=True)
    totals = [sum(counts) for counts in counts_of_groups]
    lines = []
    for surface in found.classes:
        cells = [
            SurfaceCell(count, share(count, total), charts.share_bar(count, total))
            for count, total in zip(surface.counts, totals, strict=True)
        ]
        swatch = charts.swatch(_colour(surface.train, classes))
        lines.append(SurfaceLine(swatch, classes.name(surface.train), cells))
    return SurfacesTable(found.titles, lines)


def _colour(train: int, classes: Classes) -> Colour:
    colours = classes.space.colours
    return colours[train] if train < len(colours) else UNKNOWN_CLASS


@dataclass(frozen=True)
class ClassLine:
    """Pixels of a class; ``before`` and ``change`` are None where they are not known."""

    swatch: Markup
    name: str
    before: int | None
    after: int
    change: int | None
    bars: Markup


@dataclass(frozen=True)
class ClassesTable:
    """Pixels of the classes, the largest first. ``folded``: small ones that did not change; ``total``: pixels
    of all; ``moved``: those that went to another class, net."""

    lines: Sequence[ClassLine]
    folded: Sequence[ClassLine]
    before: bool
    note: str
    total: int
    moved: int


def classes_table(found: LabelCounts, classes: Classes) -> ClassesTable:
    """The classes by size, those that changed always above the fold."""
    lines = sorted(_class_lines(found, classes), key=_size_order)
    shown = [line for index, line in enumerate(lines) if index < MAX_CLASSES or line.change]
    gains = [line.change for line in lines if line.change is not None and line.change > 0]
    return ClassesTable(
        lines=shown,
        folded=[line for line in lines if line not in shown],
        before=found.before is not None,
        note=found.note,
        total=sum(found.after),
        moved=sum(gains),
    )


def _class_lines(found: LabelCounts, classes: Classes) -> list[ClassLine]:
    """Of the classes that occur."""
    names = [*classes.space.names, "ignored"]
    colours = [*classes.space.colours, IGNORED]
    most = max([*found.after, *(found.before or ())])
    lines = []
    for train, after in enumerate(found.after):
        before = None if found.before is None else found.before[train]
        if not after and not before:
            continue
        lines.append(
            ClassLine(
                swatch=charts.swatch(colours[train]),
                name=names[train],
                before=before,
                after=after,
                change=None if before is None else after - before,
                bars=charts.before_after(before, after, most, colours[train]),
            )
        )
    return lines


def _size_order(line: ClassLine) -> tuple[int, int]:
    """The largest before the attack first; where that is not known, the largest after it."""
    if line.before is None:
        return -line.after, 0
    return -line.before, -line.after
