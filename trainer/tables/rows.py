"""The rows of the tables that have a row for each run and evaluation set, or for each run."""

from collections.abc import Sequence
from pathlib import Path

from trainer.scoring.figures import difference
from trainer.scoring.picture_counts import SuccessCounts
from trainer.scoring.scores import Scores, SetScores
from trainer.tables import columns
from trainer.tables.cells import UNLIKE, Cell, Row, figure_cell
from trainer.tables.groups import differences
from trainer.tables.runs import Run, read_runs
from trainer.typed_json import Figure


def rows(runs: Sequence[Path]) -> list[Row]:
    """The main table of these runs. Raises RunError."""
    return body_of(read_runs(runs))


def body_of(runs: Sequence[Run], with_details: bool = False) -> list[Row]:
    """The main table, in the order of ``runs``, evaluation sets in the order of their manifest.

    ``with_details``: with the columns ``DETAILS``, for which the tables of single pictures are read where
    there is a clean model. Raises RunError.
    """
    starts = _starts(runs)
    trigger_classes = {_trigger_class(run.scores) for run in runs if run.scores.without_trigger_class}
    body: list[Row] = []
    for run, names in zip(runs, starts, strict=True):
        start = names | _segmentation(run, trigger_classes)
        if not run.sets:
            body.append(start)
        for label in run.sets:
            row = start | _of_set(run, label)
            if with_details:
                row |= _details_of_set(run, label)
            body.append(row)
    return body


def _starts(runs: Sequence[Run]) -> list[dict[str, Cell]]:
    """What a row begins with: what the run is called, and in what it differs from others."""
    words = differences(runs)
    starts = []
    for number, run in enumerate(runs):
        start = {
            columns.RUN: Cell(run.name),
            columns.ATTACK: Cell(run.attack),
            columns.PR: Cell(run.trained_on.poisoning_rate),
        }
        if number in words:
            start[columns.DIFFERS_IN] = Cell(words[number])
        starts.append(start)
    return starts


def _trigger_class(scores: Scores) -> tuple[str, int | None, int | None]:
    """Which class is the trigger, and of how many pixels."""
    dataset = scores.dataset
    return dataset.dataset, dataset.trigger_class, dataset.min_trigger_pixels


def _segmentation(run: Run, trigger_classes: set[tuple[str, int | None, int | None]]) -> dict[str, Cell]:
    """Figures of the clean evaluation split.

    Those of the pictures without the class that is the trigger are, of a clean run, taken from its scores on
    the folder with this trigger, if all runs have the same.
    """
    cells = {columns.MIOU: figure_cell(run.scores.miou), columns.PA: figure_cell(run.scores.pa)}
    candidates = [run.scores]
    candidates += [
        folder.scores for folder in run.elsewhere if {_trigger_class(folder.scores)} == trigger_classes
    ]
    for scores in candidates:
        if scores.without_trigger_class is not None:
            cells[columns.MIOU_WITHOUT_CLASS] = figure_cell(scores.without_trigger_class.miou)
            cells[columns.PA_WITHOUT_CLASS] = figure_cell(scores.without_trigger_class.pa)
            break
    return cells


def _of_set(run: Run, label: str) -> dict[str, Cell]:
    """The figures of an evaluation set, and that of the clean model."""
    values, baseline = run.sets[label], run.baseline.get(label)
    cells = {
        columns.EVALUATED_ON: Cell(f"{label} ({_scope(values, run.scores)})"),
        columns.ASR: figure_cell(values.asr),
        columns.ASR_UNTRIGGERED: figure_cell(values.asr_without_trigger),
        columns.ASR_CLEAN: figure_cell(baseline.asr if baseline else None, _note(run, label)),
        columns.PBA: figure_cell(values.pba),
    }
    if values.asr_on_shared_pictures is not None:
        cells[columns.ASR_SHARED] = figure_cell(values.asr_on_shared_pictures)
    return cells


def _details_of_set(run: Run, label: str) -> dict[str, Cell]:
    values = run.sets[label]
    return {
        columns.ABOVE_UNTRIGGERED: figure_cell(values.asr_difference),
        columns.ABOVE_CLEAN: figure_cell(_above_clean(run, label), _note(run, label)),
        columns.ASR_OUTSIDE: figure_cell(values.asr_outside_trigger),
        columns.PBA_OUTSIDE: figure_cell(values.pba_outside_trigger),
        columns.ASR_MEAN: figure_cell(values.asr_picture_mean),
        columns.ABOVE_HALF: figure_cell(values.asr_picture_above_half),
        columns.TRIGGERED_SHARE: figure_cell(values.triggered_share),
    }


def _note(run: Run, label: str) -> str:
    """Behind a figure of the clean model: whether it differs in more than the poison."""
    return UNLIKE if run.unlike_clean(label) else ""


def less_clean_model(run: Run, label: str) -> float | None:
    """ASR less that of the clean model on the same pictures; None where either is not there."""
    asr, baseline = run.sets[label].asr.value, run.baseline.get(label)
    if asr is None or baseline is None or baseline.asr.value is None:
        return None
    return asr - baseline.asr.value


def _above_clean(run: Run, label: str) -> Figure | None:
    """``less_clean_model`` with its interval, from the counts of each picture. Raises RunError."""
    value, baseline = less_clean_model(run, label), run.baseline.get(label)
    if value is None or baseline is None:
        return None
    own: SuccessCounts = run.labelled_sets[label].success
    clean = baseline.read_success()
    if own.ids != clean.ids:
        return Figure(value)
    interval = difference(own, clean, run.scores.intervals.block)
    return Figure(value, interval.low, interval.high)


def _scope(values: SetScores, scores: Scores) -> str:
    """On how many pictures of the evaluation split the figures of an evaluation set are, in words."""
    words = f"{values.pictures} of {scores.dataset.evaluation_pictures}"
    if values.asr_on_shared_pictures is not None:
        words += f", {scores.shared_pictures} shared"
    if values.unpaired_pictures is not None:
        words += f", unpaired with {values.unpaired_pictures}"
    return words


def distances_of(runs: Sequence[Run]) -> list[Row]:
    """ASR by distance band: a row for each run and evaluation set that has distances."""
    body: list[Row] = []
    for run in runs:
        for label, values in run.sets.items():
            bands = {
                band: figure_cell(part.asr, f"({part.pictures})")
                for band, part in values.distance_bands.items()
            }
            if bands:
                body.append({columns.RUN: Cell(run.name), columns.EVALUATED_ON: Cell(label)} | bands)
    return body


def classes_of(runs: Sequence[Run]) -> list[Row]:
    """IoU of each class, a row for each class and a column for each run; none if runs have other classes."""
    if len({tuple(run.scores.iou) for run in runs}) != 1:
        return []
    body: list[Row] = []
    for name in runs[0].scores.iou:
        figures = {f"{run.name} IoU": Cell(run.scores.iou[name]) for run in runs}
        body.append({columns.CLASS: Cell(name)} | figures)
    return body


def matrix(runs: Sequence[Run]) -> tuple[list[Row], list[str]]:
    """Where models were trained against where they are tested: a row for each run, and the names of the
    evaluation sets, its columns.

    Of the runs that have several sets; empty if it would be one row. A cell is ASR and its difference to the
    clean model.
    """
    several = [run for run in runs if len(run.sets) > 1]
    if len(several) < 2:
        return [], []
    names = [label for run in several for label in run.sets]
    body: list[Row] = []
    for run, start in zip(several, _starts(several), strict=True):
        row = dict(start)
        for label, values in run.sets.items():
            above = less_clean_model(run, label)
            less_clean = None if above is None else Cell(above, note=_note(run, label))
            row[label] = Cell(values.asr.value, less_clean=less_clean)
        body.append(row)
    return body, list(dict.fromkeys(names))


def origins(runs: Sequence[Run]) -> list[Row]:
    """What each run was trained on and how, a row each. Not of predictions that another program made."""
    body: list[Row] = []
    for run in runs:
        if not run.trained_here:
            continue
        facts, trained = run.trained_on, run.scores.run
        row = {
            columns.RUN: Cell(run.name),
            columns.DATASET: Cell(facts.folder),
            columns.IDENTITY: Cell(facts.short_identity),
            columns.SEED: Cell(trained.seed),
        }
        if trained.exactness is not None:
            row[columns.EXACTNESS] = Cell(trained.exactness.level)
        if trained.trigger_in_crops is not None:
            row[columns.IN_CROPS] = Cell(trained.trigger_in_crops)
        body.append(row)
    return body
