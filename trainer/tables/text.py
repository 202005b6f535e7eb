"""All that there is to say of runs: as one text of Markdown, and as files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trainer.errors import printable
from trainer.run_folder import write_text
from trainer.scoring.metrics import BANDS
from trainer.tables import columns
from trainer.tables.cells import Cell, Row
from trainer.tables.formats import comma_separated, latex, latex_comments, markdown
from trainer.tables.legend import (
    CAPACITY_LEGEND,
    CROPS_LEGEND,
    DETAILS_LEGEND,
    DISTANCES_LEGEND,
    MATRIX_LEGEND,
    ORIGINS_LEGEND,
    SEEDS_LEGEND,
    legend,
    roughness,
)
from trainer.tables.rows import body_of, classes_of, distances_of, matrix, origins
from trainer.tables.runs import Run
from trainer.tables.seeds import capacity, over_seeds, short_rows


@dataclass(frozen=True)
class Subset:
    """The same runs on some of the evaluation pictures. ``pattern``: that of their ids."""

    name: str
    pattern: str
    runs: Sequence[Run]


@dataclass(frozen=True)
class Report:
    """What is asked of some runs. ``patterns``: name of a subset → pattern of sample ids."""

    runs: Sequence[Run]
    intervals: bool = False
    with_details: bool = False
    patterns: Mapping[str, str] | None = None

    @cached_property
    def subsets(self) -> list[Subset]:
        """The subsets of ``patterns``. Raises RunError: a pattern that no picture has."""
        subsets = []
        for name, pattern in (self.patterns or {}).items():
            subsets.append(Subset(name, pattern, [run.among(pattern) for run in self.runs]))
        return subsets


def report_text(report: Report) -> str:
    """The whole report as Markdown. Raises RunError."""
    parts = [
        *_main_table(report),
        *_seeds(report.runs),
        *_matrix(report.runs),
        *_capacity(report.runs),
        *_details(report),
        *_subsets(report),
        *_origins(report.runs),
    ]
    return "\n".join(parts)


def _main_table(report: Report) -> Iterator[str]:
    yield markdown(body_of(report.runs), intervals=report.intervals)
    yield legend(report.runs, report.intervals)


def _seeds(runs: Sequence[Run]) -> Iterator[str]:
    seeds = over_seeds(runs)
    if seeds:
        yield markdown(seeds, columns.SEEDS_TABLE)
        yield SEEDS_LEGEND


def _matrix(runs: Sequence[Run]) -> Iterator[str]:
    body, names = matrix(runs)
    if body:
        yield markdown(body, (*columns.MATRIX_START, *names))
        yield MATRIX_LEGEND


def _capacity(runs: Sequence[Run]) -> Iterator[str]:
    sizes = capacity(runs)
    if sizes:
        yield markdown(sizes, columns.CAPACITY_TABLE)
        yield CAPACITY_LEGEND


def _details(report: Report) -> Iterator[str]:
    """More tables: differences, figures without the trigger's pixels, single pictures, distances, classes."""
    if not report.with_details:
        return
    body = body_of(report.runs, with_details=True)
    with_sets = [row for row in body if columns.EVALUATED_ON in row]
    parts: list[str] = []
    if with_sets:
        table: tuple[str, ...] = (columns.RUN, columns.EVALUATED_ON, *columns.DETAILS)
        parts += [markdown(with_sets, table, report.intervals), DETAILS_LEGEND]
    distances = distances_of(report.runs)
    if distances:
        table = (columns.RUN, columns.EVALUATED_ON, *BANDS)
        parts += [markdown(distances, table, report.intervals), DISTANCES_LEGEND]
    classes = classes_of(report.runs)
    if classes:
        parts.append(markdown(classes, tuple(classes[0])))
    yield "\n".join(parts)


def _subsets(report: Report) -> Iterator[str]:
    of = _pictures(report.runs)
    for subset in report.subsets:
        count = _pictures(subset.runs)
        words = f"the same figures of {count} of the {of} evaluation pictures, {printable(subset.pattern)}"
        yield f"{subset.name}: {words}.\n"
        yield markdown(body_of(subset.runs), intervals=report.intervals)
        if report.intervals:
            yield from (f"{line}\n" for line in roughness(subset.runs))
        seeds = over_seeds(subset.runs)
        if seeds:
            yield markdown(seeds, columns.SEEDS_TABLE)


def _pictures(runs: Sequence[Run]) -> str:
    """How many evaluation pictures runs have, each number once."""
    return ", ".join(dict.fromkeys(str(run.dataset.evaluation_pictures) for run in runs))


def _origins(runs: Sequence[Run]) -> Iterator[str]:
    rows = origins(runs)
    if rows:
        yield markdown(rows, columns.ORIGINS_TABLE)
        has_crops = any(columns.IN_CROPS in row for row in rows)
        yield ORIGINS_LEGEND + CROPS_LEGEND if has_crops else ORIGINS_LEGEND


def write_report(report: Report, out: Path) -> None:
    """Write the tables into the folder ``out``: Markdown of all, CSV and LaTeX of each. Raises RunError."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "table.md", report_text(report))
    _write_main_table(report, report.runs, out / "table")
    for subset in report.subsets:
        _write_main_table(report, subset.runs, out / f"table-{subset.name}")
    write_text(
        out / "short.csv", comma_separated(short_rows(report.runs), (*columns.SHORT_TABLE, columns.SEEDS))
    )
    body, names = matrix(report.runs)
    if body:
        _write_matrix(body, names, out)
    sizes = capacity(report.runs)
    if sizes:
        write_text(out / "capacity.csv", comma_separated(sizes, columns.CAPACITY_TABLE))
        write_text(out / "capacity.tex", latex(sizes, columns.CAPACITY_TABLE))


def _write_main_table(report: Report, runs: Sequence[Run], stem: Path) -> None:
    wanted = (*columns.MAIN_TABLE, *columns.DETAILS) if report.with_details else columns.MAIN_TABLE
    body = body_of(runs, report.with_details)
    write_text(stem.with_name(f"{stem.name}.csv"), comma_separated(body, wanted, report.intervals))
    write_text(stem.with_name(f"{stem.name}.tex"), paper_table(runs, report.intervals))


def _write_matrix(body: Sequence[Row], names: Sequence[str], out: Path) -> None:
    """The matrix; in CSV the difference to the clean model is a column of its own."""
    wanted = list(columns.MATRIX_START)
    for name in names:
        wanted += [name, columns.less_clean(name)]
    parted = [_with_columns_of_differences(row) for row in body]
    write_text(out / "matrix.csv", comma_separated(parted, wanted))
    write_text(out / "matrix.tex", latex(body, (*columns.MATRIX_START, *names)))


def _with_columns_of_differences(row: Row) -> Row:
    differences: dict[str, Cell] = {}
    for name, cell in row.items():
        if cell.less_clean is not None:
            differences[columns.less_clean(name)] = cell.less_clean
    return {**row, **differences}


def paper_table(runs: Sequence[Run], intervals: bool = False) -> str:
    """``short_rows`` as a LaTeX table."""
    own_sets = dict.fromkeys(f"{run.attack}: {_own_set_in_words(run)}" for run in runs if run.own_set)
    spread = "± is the standard deviation of a sample (n − 1) over seeds"
    notes = [f"\\usepackage{{booktabs}}; figures in percent, {spread}"]
    notes += [f"ASR is measured on, of {words}" for words in own_sets]
    return latex_comments(notes) + latex(short_rows(runs), columns.SHORT_TABLE, intervals)


def _own_set_in_words(run: Run) -> str:
    if not run.own_set_lacks_margin:
        return str(run.own_set)
    return f"{run.own_set} (trained with the edge margin {run.trained_on.edge_margin}, which no set has)"
