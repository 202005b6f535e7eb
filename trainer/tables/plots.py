"""Plots of runs: success and segmentation over the poisoning rate and over the network's size, and success by
distance."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from trainer.scoring.metrics import BANDS
from trainer.tables.rows import Cells, capacity
from trainer.tables.runs import Scored, all_clean, attack_of, differences, own_set, rate_of, seeds_of

INK, QUIET = "#1b1f24", "#6a737d"
COLOURS = ("#2f6fb5", "#e5732e", "#3c8f4d", "#8b5fb0", "#b0475f", "#6b6b6b")
MARKERS = "os^Dvp"
BAND_SET = "band-"  # and a band: an evaluation set with all triggers at that distance
MANY = 6  # lines in a plot

Point = tuple[float, float, float]
"""Poisoning rate, mean, and standard deviation over seeds (0 of one run), in percent."""


def draw_plots(runs: Sequence[Scored], out: Path) -> list[Path]:
    """Write ``rates.png`` where an attack has several rates, ``distance.png`` where a set has distances, and
    ``capacity.png`` where runs differ in the network only. Returns what was written.
    """
    written = []
    if any(len({rate for rate, _, _ in points}) > 1 for points in over_rates(runs, "miou").values()):
        written += [_rates(runs, out / "rates.png")]
    if lines := by_distance(runs):
        written += [_distances(lines, out / "distance.png")]
    if sizes := capacity(runs):
        written += [_sizes(sizes, out / "capacity.png")]
    return written


def over_rates(runs: Sequence[Scored], figure: str) -> dict[str, list[Point]]:
    """Curve → points by rising rate. ``figure``: miou, or asr on the attack's own evaluation set. Runs
    without a rate are not there.

    A curve is an attack, and where these runs have several, a recipe and settings, apart from rate and seed.
    """
    found: dict[str, list[Point]] = {}
    groups = [group for group in seeds_of(runs) if rate_of(group[0]) is not None]
    told = differences([group[0] for group in groups], over_rates=True)
    for number, group in enumerate(groups):
        rate, values = (
            rate_of(group[0]),
            [value for run in group if (value := _value(run, figure)) is not None],
        )
        if rate is not None and values:
            point = 100 * rate, *_spread([100 * value for value in values])
            name = attack_of(group[0]) + (f" ({told[number]})" if number in told else "")
            found.setdefault(name, []).append(point)
    return {name: sorted(points) for name, points in found.items()}


def by_distance(runs: Sequence[Scored]) -> dict[str, dict[str, tuple[float, float]]]:
    """Runs and evaluation set → band → ASR in percent: the mean over seeds, and the standard deviation (0 of
    one run).

    The sets of ``--eval bands``, each of one band, are one line, ``on bands``: the same pictures in each,
    with the trigger at that distance. Sets with another sticker are left out. Of many lines only those are
    kept, or else those where the trigger lies anywhere: near triggers are in one band or two.
    """
    lines: dict[str, dict[str, tuple[float, float]]] = {}
    for group in seeds_of(runs):
        found: dict[str, dict[str, list[float]]] = {}
        for run in group:
            for name, values in run.sets.items():
                band = name.removeprefix(BAND_SET) if name.startswith(BAND_SET) else ""
                own = {band: values} if band in BANDS else values.get("distance_bands", {})
                line = found.setdefault("bands" if band in BANDS else name, {})
                for band, part in own.items():
                    if part["asr"] is not None and not name.endswith("-decoy"):
                        line.setdefault(band, []).append(100 * part["asr"])
        for name, line in found.items():
            seeds = max(map(len, line.values()), default=0)
            called = group[0].name + (f" ({seeds} seeds)" if seeds > 1 else "")
            lines |= (
                {f"{called} on {name}": {band: _spread(each) for band, each in line.items()}} if line else {}
            )
    for kept in (" on bands", " on iba"):
        if len(lines) > MANY and (
            some := {name: line for name, line in lines.items() if name.endswith(kept)}
        ):
            return some
    return lines


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation: 0 of one value."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0


def _value(run: Scored, figure: str) -> float | None:
    values = run.metrics
    if figure == "asr":
        name = own_set(values)
        if name is None:
            return None
        values = values["evaluation_sets"][name]
    value: float | None = values[figure]
    return value


def _rates(runs: Sequence[Scored], file: Path) -> Path:
    figure = Figure(figsize=(9, 3.6), dpi=150, facecolor="white", layout="constrained")
    clean = clean_lines(runs)
    for axes, key, name in zip(figure.subplots(1, 2), ("asr", "miou"), ("ASR", "mIoU"), strict=True):
        spreads = False
        for number, (attack, points) in enumerate(over_rates(runs, key).items()):
            x, y, error = zip(*points, strict=True)
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            axes.errorbar(
                x, y, yerr=error if any(error) else None, label=attack, capsize=3, color=colour, marker=marker
            )
            spreads |= any(error)
        for style, (label, level) in zip(cycle(("--", ":", "-.")), clean.items() if key == "miou" else ()):
            axes.axhline(level, color=QUIET, linestyle=style, linewidth=1, label=label)
        _frame(
            axes,
            "poisoned training pictures in %"
            + ("\nbars: ± standard deviation over seeds" if spreads else ""),
            f"{name} in %",
        )
        axes.set_xlim(left=0)
    figure.savefig(file, metadata={"Software": None})
    return file


def clean_lines(runs: Sequence[Scored]) -> dict[str, float]:
    """mIoU in percent of models that were trained clean: the mean of seeds; others stand apart."""
    groups = seeds_of([run for run in runs if all_clean(run.trained)])
    told = differences([group[0] for group in groups])
    found = {}
    for number, group in enumerate(groups):
        values = [100 * value for run in group if (value := _value(run, "miou")) is not None]
        if values:
            found["no picture poisoned" + (f" ({told[number]})" if number in told else "")] = fmean(values)
    return found


def _distances(lines: dict[str, dict[str, tuple[float, float]]], file: Path) -> Path:
    figure = Figure(
        figsize=(7.5, max(3.8, 0.19 * len(lines) + 0.8)), dpi=150, facecolor="white", layout="constrained"
    )
    axes = figure.subplots()
    for number, (name, line) in enumerate(lines.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]
        bands = sorted(line, key=list(BANDS).index)
        mean, error = zip(*(line[band] for band in bands), strict=True)
        x, bars = [list(BANDS).index(band) for band in bands], error if any(error) else None
        axes.errorbar(x, mean, yerr=bars, label=name, capsize=3, color=colour, marker=marker)
    axes.set_xticks(range(len(BANDS)), list(BANDS))
    spread = (
        "\nbars: ± standard deviation over seeds"
        if any(error for line in lines.values() for _, error in line.values())
        else ""
    )
    _frame(axes, f"distance from trigger to victim, in pixels of 512 rows{spread}", "ASR in %")
    axes.set_ylim(-3, 103)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(file, metadata={"Software": None})
    return file


def _sizes(rows: Sequence[Cells], file: Path) -> Path:
    """Colours are networks, markers attacks. Points are not joined: networks of a size are no curve."""
    figure = Figure(figsize=(11, 3.6), dpi=150, facecolor="white", layout="constrained")
    attacks, networks = ([*dict.fromkeys(name(row) for row in rows)] for name in (_attack, _network))
    both = figure.subplots(1, 2)
    for axes, column in zip(both, ("ASR", "mIoU"), strict=True):
        for row in rows:
            if row[column] == "–":
                continue
            mean, _, deviation = row[column].partition(" ± ")
            colour, marker = (
                networks.index(_network(row)) % len(COLOURS),
                attacks.index(_attack(row)) % len(MARKERS),
            )
            axes.errorbar(
                int(row["parameters"]) / 1e6,
                float(mean),
                yerr=float(deviation) if deviation else None,
                capsize=3,
                linestyle="",
                color=COLOURS[colour],
                marker=MARKERS[marker],
            )
        axes.set_xscale("log")
        _frame(axes, "parameters in millions", f"{column} in %")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.margins(x=0.15, y=0.15)
    for number, name in enumerate(networks):
        both[1].plot([], [], linestyle="", marker="o", color=COLOURS[number % len(COLOURS)], label=name)
    for number, name in enumerate(attacks if len(attacks) > 1 else ()):
        both[1].plot([], [], linestyle="", marker=MARKERS[number % len(MARKERS)], color=QUIET, label=name)
    figure.legend(
        frameon=False, fontsize=8, loc="outside right upper", title=attacks[0] if len(attacks) == 1 else None
    )
    figure.savefig(file, metadata={"Software": None})
    return file


def _attack(row: Cells) -> str:
    return row["attack"] if row["PR"] == "–" else f"{row['attack']}, {row['PR']} %"


def _network(row: Cells) -> str:
    loss = f", {row['loss']}" if row.get("loss") else ""
    return f"{row['model']} {row['backbone']} ×{row['width']}{loss}"


def _frame(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.grid(color="#e4e7eb", linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
