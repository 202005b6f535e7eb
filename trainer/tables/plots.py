"""Plots of runs: success and segmentation over the poisoning rate and over the network's size, and success by
distance."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from trainer.errors import printable
from trainer.scoring.metrics import BANDS
from trainer.scoring.scores import SetScores
from trainer.tables import columns
from trainer.tables.cells import Cell, Row, percent, value_text
from trainer.tables.groups import differences, seeds_of
from trainer.tables.runs import Run
from trainer.tables.seeds import capacity

INK, QUIET = "#1b1f24", "#6a737d"
COLOURS = ("#2f6fb5", "#e5732e", "#3c8f4d", "#8b5fb0", "#b0475f", "#6b6b6b")
MARKERS = "os^Dvp"
BAND_SET = "band-"  # and a band: an evaluation set with all triggers at that distance
MANY = 6  # lines in a plot
SEEDS_NOTE = "\nbars: ± standard deviation over seeds"


class Spread(NamedTuple):
    """Mean, and standard deviation over seeds (0 of one run), in percent."""

    mean: float
    deviation: float


class Point(NamedTuple):
    """A point over the poisoning rate, all in percent."""

    rate: float
    mean: float
    deviation: float


FigureOf = Callable[[Run], float | None]
"""A figure of a run as a fraction; None where it has none."""


def miou(run: Run) -> float | None:
    """mIoU on the clean evaluation split."""
    return run.scores.miou.value


def asr(run: Run) -> float | None:
    """ASR on the evaluation set that stands for the attack."""
    return run.scores.evaluation_sets[run.own_set].asr.value if run.own_set is not None else None


def draw_plots(runs: Sequence[Run], out: Path) -> list[Path]:
    """Write ``rates.png`` where an attack has several rates, ``distance.png`` where a set has distances, and
    ``capacity.png`` where runs differ in the network only. Returns what was written.
    """
    written = []
    if any(map(_has_several_rates, over_rates(runs, miou).values())):
        written.append(_draw_rates(runs, out / "rates.png"))
    lines = by_distance(runs)
    if lines:
        written.append(_draw_distances(lines, out / "distance.png"))
    sizes = capacity(runs)
    if sizes:
        written.append(_draw_sizes(sizes, out / "capacity.png"))
    return written


def _has_several_rates(points: Sequence[Point]) -> bool:
    return len({point.rate for point in points}) > 1


def over_rates(runs: Sequence[Run], figure_of: FigureOf) -> dict[str, list[Point]]:
    """Curve → points by rising rate. Runs without a rate are not there.

    A curve is an attack, and where these runs have several, a recipe and settings, apart from rate and seed.
    """
    found: dict[str, list[Point]] = {}
    groups = [group for group in seeds_of(runs) if group[0].trained_on.poisoning_rate is not None]
    words = differences([group[0] for group in groups], over_rates=True)
    for number, group in enumerate(groups):
        rate, values = group[0].trained_on.poisoning_rate, _percents(group, figure_of)
        if rate is not None and values:
            name = f"{group[0].attack} ({words[number]})" if number in words else group[0].attack
            found.setdefault(name, []).append(Point(100 * rate, *_spread(values)))
    return {name: sorted(points) for name, points in found.items()}


def _percents(runs: Sequence[Run], figure_of: FigureOf) -> list[float]:
    """The figures that there are, in percent."""
    figures = [figure_of(run) for run in runs]
    return [100 * figure for figure in figures if figure is not None]


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), stdev(values) if len(values) > 1 else 0.0)


DistanceLine = Mapping[str, Spread]
"""Band → ASR."""


def by_distance(runs: Sequence[Run]) -> dict[str, DistanceLine]:
    """ASR by distance, a line for each group of seeds and evaluation set.

    The sets of ``--eval bands``, each of one band, are one line, ``on bands``: the same pictures in each,
    with the trigger at that distance. Sets with another sticker are left out. Of many lines only those are
    kept, or else those where the trigger lies anywhere: near triggers are in one band or two.
    """
    lines: dict[str, DistanceLine] = {}
    for group in seeds_of(runs):
        for name, line in _distance_figures(group).items():
            seeds = max(map(len, line.values()))
            of = f" ({seeds} seeds)" if seeds > 1 else ""
            called = f"{group[0].name}{of} on {name}"
            lines[called] = {band: _spread(figures) for band, figures in line.items()}
    for kept in (" on bands", " on iba"):
        some = {name: line for name, line in lines.items() if name.endswith(kept)}
        if len(lines) > MANY and some:
            return some
    return lines


def _distance_figures(group: Sequence[Run]) -> dict[str, dict[str, list[float]]]:
    """Evaluation set → band → ASR of each seed in percent; sets of one band are called ``bands``."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in group:
        for label, values in run.sets.items():
            if label.endswith("-decoy"):
                continue
            band = label.removeprefix(BAND_SET)
            is_band = label.startswith(BAND_SET) and band in BANDS
            line = found.setdefault("bands" if is_band else label, {})
            shares = {band: values.asr.value} if is_band else _by_band(values)
            for name, share in shares.items():
                if share is not None:
                    line.setdefault(name, []).append(100 * share)
    return {name: line for name, line in found.items() if line}


def _by_band(values: SetScores) -> dict[str, float | None]:
    return {band: part.asr.value for band, part in values.distance_bands.items()}


def clean_lines(runs: Sequence[Run]) -> dict[str, float]:
    """mIoU in percent of models that were trained clean, by their name: the mean of seeds; others are lines
    of their own."""
    groups = seeds_of([run for run in runs if run.trained_on.all_clean])
    words = differences([group[0] for group in groups])
    found = {}
    for number, group in enumerate(groups):
        values = _percents(group, miou)
        if values:
            of = f" ({words[number]})" if number in words else ""
            found[f"no picture poisoned{of}"] = fmean(values)
    return found


def _draw_rates(runs: Sequence[Run], file: Path) -> Path:
    figure = Figure(figsize=(9, 3.6), dpi=150, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_curves(left, over_rates(runs, asr), {}, columns.ASR)
    _draw_curves(right, over_rates(runs, miou), clean_lines(runs), columns.MIOU)
    return _saved(figure, file)


def _draw_curves(
    axes: Axes, curves: Mapping[str, Sequence[Point]], levels: Mapping[str, float], name: str
) -> None:
    """Curves over the rate, and levels of models without one."""
    has_spread = False
    for number, (curve, points) in enumerate(curves.items()):
        rates, means, deviations = zip(*points, strict=True)
        has_spread |= any(deviations)
        axes.errorbar(
            rates,
            means,
            yerr=deviations if any(deviations) else None,
            label=_label(curve),
            capsize=3,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
        )
    for (label, level), style in zip(levels.items(), cycle(("--", ":", "-.")), strict=False):
        axes.axhline(level, color=QUIET, linestyle=style, linewidth=1, label=_label(label))
    note = SEEDS_NOTE if has_spread else ""
    _frame(axes, f"poisoned training pictures in %{note}", f"{name} in %")
    axes.set_xlim(left=0)


def _draw_distances(lines: Mapping[str, DistanceLine], file: Path) -> Path:
    height = max(3.8, 0.19 * len(lines) + 0.8)  # inches
    figure = Figure(figsize=(7.5, height), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    bands = list(BANDS)
    has_spread = False
    for number, (name, line) in enumerate(lines.items()):
        places = [place for place, band in enumerate(bands) if band in line]
        means, deviations = zip(*(line[bands[place]] for place in places), strict=True)
        has_spread |= any(deviations)
        axes.errorbar(
            places,
            means,
            yerr=deviations if any(deviations) else None,
            label=_label(name),
            capsize=3,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
        )
    axes.set_xticks(range(len(bands)), bands)
    note = SEEDS_NOTE if has_spread else ""
    _frame(axes, f"distance from trigger to victim, in pixels of 512 rows{note}", "ASR in %")
    axes.set_ylim(-3, 103)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return _saved(figure, file)


def _draw_sizes(rows: Sequence[Row], file: Path) -> Path:
    """Colours are networks, markers attacks. Points are not joined: networks of a size are no curve."""
    figure = Figure(figsize=(11, 3.6), dpi=150, facecolor="white", layout="constrained")
    attacks = list(dict.fromkeys(_attack(row) for row in rows))
    networks = list(dict.fromkeys(_network(row) for row in rows))
    left, right = figure.subplots(1, 2)
    for axes, column in ((left, columns.ASR), (right, columns.MIOU)):
        for row in rows:
            colour = COLOURS[networks.index(_network(row)) % len(COLOURS)]
            marker = MARKERS[attacks.index(_attack(row)) % len(MARKERS)]
            _draw_size(axes, row[columns.PARAMETERS], row[column], colour, marker)
        axes.set_xscale("log")
        _frame(axes, "parameters in millions", f"{column} in %")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.margins(x=0.15, y=0.15)
    for number, name in enumerate(networks):
        colour = COLOURS[number % len(COLOURS)]
        right.plot([], [], linestyle="", marker="o", color=colour, label=_label(name))
    if len(attacks) > 1:
        for number, name in enumerate(attacks):
            marker = MARKERS[number % len(MARKERS)]
            right.plot([], [], linestyle="", marker=marker, color=QUIET, label=_label(name))
    title = _label(attacks[0]) if len(attacks) == 1 else None
    figure.legend(frameon=False, fontsize=8, loc="outside right upper", title=title)
    return _saved(figure, file)


def _draw_size(axes: Axes, parameters: Cell, figure: Cell, colour: str, marker: str) -> None:
    """A point, if there is a figure and the network's size is known."""
    if not isinstance(figure.value, float) or not isinstance(parameters.value, int):
        return
    axes.errorbar(
        parameters.value / 1e6,
        100 * figure.value,
        yerr=None if figure.deviation is None else 100 * figure.deviation,
        capsize=3,
        linestyle="",
        color=colour,
        marker=marker,
    )


def _attack(row: Row) -> str:
    """What a row is of: the attack and its rate."""
    attack, rate = value_text(row[columns.ATTACK].value), row[columns.PR].value
    return f"{attack}, {percent(rate)} %" if isinstance(rate, float) else attack


def _network(row: Row) -> str:
    model, backbone, width = (
        value_text(row[name].value) for name in (columns.MODEL, columns.BACKBONE, columns.WIDTH)
    )
    words = f"{model} {backbone} ×{width}"
    return f"{words}, {value_text(row[columns.LOSS].value)}" if columns.LOSS in row else words


def _label(text: str) -> str:
    """Text of a legend: a dollar sign begins no formula, and a first ``_`` hides nothing."""
    words = printable(text).replace("$", r"\$")
    return f" {words}" if words.startswith("_") else words


def _frame(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.grid(color="#e4e7eb", linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def _saved(figure: Figure, file: Path) -> Path:
    figure.savefig(file, metadata={"Software": None})
    return file
