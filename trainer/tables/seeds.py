"""The rows of the tables that sum up seeds: mean and standard deviation of each group."""

from collections.abc import Hashable, Sequence
from statistics import fmean
from typing import NamedTuple

from trainer.tables import columns
from trainer.tables.cells import UNLIKE, Cell, Row, figure_cell, spread_cell
from trainer.tables.groups import differences, seeds_of
from trainer.tables.runs import Run
from trainer.tables.trainings import NETWORK, loss_of, network_of
from trainer.typed_json import Figure


class Group(NamedTuple):
    """Seeds of one training. ``name``: the attack, and in what the group differs from others of its name and
    rate."""

    runs: list[Run]
    name: str

    @property
    def start(self) -> dict[str, Cell]:
        """What a row of the group begins with."""
        return {
            columns.ATTACK: Cell(self.name),
            columns.PR: Cell(self.runs[0].trained_on.poisoning_rate),
            columns.SEEDS: Cell(len(self.runs)),
        }


def groups_of(runs: Sequence[Run]) -> list[Group]:
    """Runs in groups of seeds, in their order."""
    groups = seeds_of(runs)
    words = differences([group[0] for group in groups])
    return [Group(group, _name(group[0], words.get(number))) for number, group in enumerate(groups)]


def _name(run: Run, words: str | None) -> str:
    return f"{run.attack} ({words})" if words else run.attack


def over_seeds(runs: Sequence[Run]) -> list[Row]:
    """Each group of at least two seeds, one row for each evaluation set that all of them have."""
    body: list[Row] = []
    for group in groups_of(runs):
        if len(group.runs) < 2:
            continue
        sets = [list(run.scores.evaluation_sets) for run in group.runs]
        for name in sets[0]:
            if all(name in names for names in sets):
                on = {columns.EVALUATED_ON: Cell(name)}
                body.append(group.start | on | spreads(group.runs, [name] * len(sets), columns.OVER_SEEDS))
        if not any(sets):
            body.append(group.start | spreads(group.runs, [None] * len(sets), columns.OVER_SEEDS))
    return body


def short_rows(runs: Sequence[Run]) -> list[Row]:
    """The columns of a paper's table, one row for each group of seeds: ASR is that on the evaluation set that
    stands for the attack. A run that is alone has its intervals."""
    body: list[Row] = []
    for group in groups_of(runs):
        own_sets = [run.own_set for run in group.runs]
        body.append(group.start | spreads(group.runs, own_sets, columns.SHORT_FIGURES))
    return body


def spreads(runs: Sequence[Run], names: Sequence[str | None], wanted: Sequence[str]) -> dict[str, Cell]:
    """Mean and deviation of the figures in the ``wanted`` columns; of a run that is alone the figures
    themselves.

    ``names``: the evaluation set of each run, None if there is none. A clean model counts once.
    """
    each = list(zip(runs, names, strict=True))
    figures = [_figures(run, name) for run, name in each]
    if len(each) == 1:
        row = {column: figure_cell(figures[0][column]) for column in wanted}
    else:
        row = {}
        for column in wanted:
            row[column] = spread_cell([one[column].value for one in figures])
    if columns.ASR_CLEAN in wanted:
        differs = any(run.unlike_clean(name or "") for run, name in each)
        row[columns.ASR_CLEAN] = spread_cell(_of_clean_models(each), UNLIKE if differs else "")
    return row


def _figures(run: Run, name: str | None) -> dict[str, Figure]:
    """The figures of a run in the columns of seeds; ``name``: of the evaluation set, None if there is
    none."""
    figures = dict.fromkeys(columns.OVER_SEEDS, Figure(None))
    figures |= {columns.MIOU: run.scores.miou, columns.PA: run.scores.pa}
    if name is not None:
        values = run.scores.evaluation_sets[name]
        figures[columns.ASR] = values.asr
        figures[columns.ASR_UNTRIGGERED] = values.asr_without_trigger
        figures[columns.PBA] = Figure(values.pba)
    return figures


def _of_clean_models(each: Sequence[tuple[Run, str | None]]) -> list[float | None]:
    """A figure for each clean model: the mean over the runs that are compared with it; None if one is
    missing."""
    by_model: dict[Hashable, list[float | None]] = {}
    for run, name in each:
        baseline = run.baseline.get(name or "")
        figure = baseline.asr.value if baseline else None
        by_model.setdefault(baseline.model if baseline else None, []).append(figure)
    found: list[float | None] = []
    for values in by_model.values():
        known = [value for value in values if value is not None]
        found.append(fmean(known) if len(known) == len(values) else None)
    return found


def capacity(runs: Sequence[Run]) -> list[Row]:
    """Runs that differ in the network only: a row for each network by rising parameters, seeds summed up.

    ``ASR`` is on the evaluation set that stands for the attack.
    """
    body: list[Row] = []
    families = seeds_of(runs, NETWORK)
    words = differences([family[0] for family in families], leaving_out=NETWORK)
    for number, family in enumerate(families):
        groups = sorted(seeds_of(family), key=lambda group: group[0].scores.run.parameters or 0)
        trained = [group[0].scores.run for group in groups]
        networks = {network_of(run) for run in trained}
        losses = {(network_of(run), loss_of(run)) for run in trained}
        if len(networks) < 2:
            continue
        name = _name(family[0], words.get(number))
        for group in groups:
            body.append(_of_network(Group(group, name), with_loss=len(losses) > len(networks)))
    return body


def _of_network(group: Group, with_loss: bool) -> Row:
    trained = group.runs[0].scores.run
    network = network_of(trained)
    row = group.start | {
        columns.MODEL: Cell(network.model),
        columns.BACKBONE: Cell(network.backbone),
        columns.WIDTH: Cell(network.width),
        columns.PARAMETERS: Cell(trained.parameters or 0),
    }
    if with_loss:
        row[columns.LOSS] = Cell(loss_of(trained))
    own_sets = [run.own_set for run in group.runs]
    return row | spreads(group.runs, own_sets, columns.CAPACITY_FIGURES)
