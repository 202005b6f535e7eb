"""The rows of tables: figures of runs in percent, as text, by column."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

from trainer.networks.models import make
from trainer.scoring.intervals import difference_interval
from trainer.tables.runs import (
    SIZE,
    Scored,
    Scores,
    attack_of,
    differences,
    loss_of,
    name_of,
    own_set,
    rate_of,
    read_runs,
    seed_of,
    seeds_of,
    short,
)

COLUMNS = (
    "run", "attack", "PR", "differs in", "mIoU", "PA", "mIoU without trigger class", "PA without trigger class", "evaluated on", "ASR",
    "ASR on shared pictures", "ASR without trigger", "ASR of the clean model", "PBA",
)  # fmt: skip
DETAILS = (
    "ASR less without trigger", "ASR less clean model", "ASR outside trigger", "PBA outside trigger", "ASR, mean of pictures",
    "pictures above 50", "could be triggered",
)  # fmt: skip
SHORT = ("attack", "PR", "mIoU", "PA", "ASR")
OVER_SEEDS = ("mIoU", "PA", "ASR", "ASR without trigger", "ASR of the clean model", "PBA")
SEEDS = ("attack", "PR", "n", "evaluated on", *OVER_SEEDS)
CAPACITY = (
    "attack",
    "PR",
    "model",
    "backbone",
    "width",
    "loss",
    "parameters",
    "n",
    "mIoU",
    "ASR",
    "ASR of the clean model",
)
ORIGINS = ("run", "dataset", "identity", "seed", "exactness", "trigger in crops")
WITHOUT_CLASS = ("mIoU without trigger class", "PA without trigger class")

UNLIKE = " †"  # after a figure of a clean model that differs from the run in more than the poison
CLEAN = "ASR of the clean model"

Cells = dict[str, str]
"""A row of the table: column → cell; a column that is not there does not apply. ``COLUMN low`` and ``COLUMN
high``: an interval."""


def rows(runs: Sequence[Path]) -> list[Cells]:
    """The body of these runs' table. Raises RunError."""
    return body_of(read_runs(runs))


def body_of(runs: Sequence[Scored]) -> list[Cells]:
    """The body of the table, in the order of ``runs``, evaluation sets in the order of their manifest."""
    body, told = [], differences(runs)
    classes = {_trigger_class(run.metrics) for run in runs if "miou_without_trigger_class" in run.metrics}
    for number, run in enumerate(runs):
        metrics, baseline = run.metrics, run.baseline
        start = {
            "run": run.name,
            "attack": attack_of(run),
            "PR": percent(rate_of(run)),
            **_cells("mIoU", metrics, "miou"),
            **_cells("PA", metrics, "pa"),
        } | ({"differs in": told[number]} if number in told else {})
        for scores in (
            metrics,
            *run.elsewhere,
        ):  # of a clean run: those on the folder whose trigger is a class, if there is one such class
            if "miou_without_trigger_class" in scores and (
                scores is metrics or {_trigger_class(scores)} == classes
            ):
                start |= _cells(WITHOUT_CLASS[0], scores, "miou_without_trigger_class")
                start |= _cells(WITHOUT_CLASS[1], scores, "pa_without_trigger_class")
                break
        for name, values in run.sets.items():
            row = {
                **start,
                "evaluated on": f"{name} ({_scope(values, metrics)})",
                **_cells("ASR", values, "asr"),
                **_cells("ASR without trigger", values, "asr_without_trigger"),
                **_cells(CLEAN, baseline.get(name, {}), "asr"),
                **_cells("PBA", values, "pba"),
                **_cells("ASR less without trigger", _above_untriggered(values), "asr_difference"),
                **_cells(
                    "ASR less clean model",
                    _above_clean(metrics, values, baseline.get(name, {})),
                    "asr_difference",
                ),
                **(_marked(CLEAN, "ASR less clean model") if run.unlike_clean(name) else {}),
                **_cells("ASR outside trigger", values, "asr_outside_trigger"),
                **_cells("PBA outside trigger", values, "pba_outside_trigger"),
                **_cells("ASR, mean of pictures", values, "asr_picture_mean"),
                **_cells("pictures above 50", values, "asr_picture_above_half"),
                **_cells("could be triggered", values, "triggered_share"),
            }
            if "asr_on_shared_pictures" in values:
                row |= _cells("ASR on shared pictures", values, "asr_on_shared_pictures")
            body.append(row)
        if not run.sets:
            body.append(start)
    return body


def _trigger_class(scores: Scores) -> tuple[str, int, int]:
    dataset = scores["dataset"]
    return str(dataset.get("dataset")), dataset["trigger_class"], dataset["min_trigger_pixels"]


def _cells(column: str, values: Mapping[str, Any], key: str) -> Cells:
    """A figure, and the ends of its interval where it has one; one that is a point came from a single block
    and says nothing."""
    ends = values.get(f"{key}_interval") or ()
    if ends and ends[0] == ends[1] and ends[0] not in (0, 1):
        ends = ()
    return {column: percent(values.get(key))} | {
        f"{column} {end}": percent(value) for end, value in zip(("low", "high"), ends, strict=False)
    }


def _marked(*columns: str) -> Cells:
    """Notes that the clean model of these columns is of other settings or of another seed."""
    return {f"{column} note": UNLIKE for column in columns}


def _above_untriggered(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """ASR less ASR without trigger; of scores that were written before they had it, without an interval."""
    pair = values["asr"], values["asr_without_trigger"]
    return values if "asr_difference" in values or None in pair else {"asr_difference": pair[0] - pair[1]}


def _above_clean(
    metrics: Mapping[str, Any], values: Mapping[str, Any], clean: Mapping[str, Any]
) -> dict[str, Any]:
    """ASR less that of the clean model on the same pictures; with an interval where both have kept the counts
    of each picture."""
    if values.get("asr") is None or clean.get("asr") is None:
        return {}
    found: dict[str, Any] = {"asr_difference": values["asr"] - clean["asr"]}
    pair = [scores.get("per_picture", {}) for scores in (values, clean)]
    if pair[0] and pair[0].get("id") == pair[1].get("id"):
        table = [counts[key] for counts in pair for key in ("as_target", "victim_pixels")]
        interval = difference_interval(np.array(table, np.int64).T, metrics["intervals"]["block"])
        found["asr_difference_interval"] = interval
    return found


def _scope(values: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """On how many pictures of the evaluation split an evaluation set's figures are, in words."""
    words = f"{values['pictures']} of {metrics['dataset']['evaluation_pictures']}"
    words += f", {metrics['shared_pictures']} shared" if "asr_on_shared_pictures" in values else ""
    return words + (f", unpaired with {values['unpaired_pictures']}" if "unpaired_pictures" in values else "")


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] with two decimals of a percent; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def distances_of(runs: Sequence[Scored]) -> list[Cells]:
    """ASR by distance band: a row for each run and evaluation set that has distances."""
    body = []
    for run in runs:
        for name, values in run.sets.items():
            row = {"run": run.name, "evaluated on": name}
            for band, part in values.get("distance_bands", {}).items():
                row |= _cells(band, part, "asr")
                row[f"{band} note"] = f" ({part['pictures']})"
            body += [row] if len(row) > 2 else []
    return body


def over_seeds(runs: Sequence[Scored]) -> list[Cells]:
    """Mean ± standard deviation of each group of at least two seeds, one row for each evaluation set that all
    of them have; n is the number of seeds.
    """
    body = []
    for group, told in _told(runs):
        if len(group) < 2:
            continue
        sets = [list(run.metrics["evaluation_sets"]) for run in group]
        common = [name for name in sets[0] if all(name in names for names in sets)]
        for name in common or ([None] if not any(sets) else []):
            row = _of_group(group, told) | ({"evaluated on": name} if name else {})
            body.append(row | _spreads(group, [name] * len(group), OVER_SEEDS))
    return body


def _told(runs: Sequence[Scored]) -> list[tuple[list[Scored], str]]:
    """Groups of seeds, each with what tells it apart from others that a table calls the same: `` (width
    2)``."""
    groups = seeds_of(runs)
    told = differences([group[0] for group in groups])
    return [(group, f" ({told[number]})" if number in told else "") for number, group in enumerate(groups)]


def _of_group(group: Sequence[Scored], told: str = "") -> Cells:
    """What a group of seeds is called, and how many there are."""
    return {"attack": attack_of(group[0]) + told, "PR": percent(rate_of(group[0])), "n": str(len(group))}


def _spreads(group: Sequence[Scored], names: Sequence[str | None], columns: Sequence[str]) -> Cells:
    """``spread`` of the figures in these columns, each run on the evaluation set of its name; a clean model
    counts once."""
    each = list(zip(group, names, strict=True))
    figures = [_figures(run, name) for run, name in each]
    clean: dict[str, list[float | None]] = {}
    for (run, name), one in zip(each, figures, strict=True):
        clean.setdefault(run.clean_run(name or ""), []).append(one[CLEAN])
    row = {
        column: spread(_of_models(clean) if column == CLEAN else [one[column] for one in figures])
        for column in columns
    }
    return row | (_marked(CLEAN) if any(run.unlike_clean(name or "") for run, name in each) else {})


def _figures(run: Scored, name: str | None) -> dict[str, float | None]:
    """The figures of a run in the columns of seeds, as exact fractions; ``name``: of the evaluation set, None
    if there is none."""
    values = run.metrics["evaluation_sets"].get(name, {})
    keys = {"ASR": "asr", "ASR without trigger": "asr_without_trigger", "PBA": "pba"}
    found = {
        "mIoU": run.metrics.get("miou"),
        "PA": run.metrics.get("pa"),
        CLEAN: run.baseline.get(name or "", {}).get("asr"),
    }
    return found | {column: values.get(key) for column, key in keys.items()}


def _of_models(clean: Mapping[str, Sequence[float | None]]) -> list[float | None]:
    """A figure for each clean model: of several, where it stands beside several evaluation sets, the mean;
    None if one is missing."""
    return [
        None if None in values else fmean(value for value in values if value is not None)
        for values in clean.values()
    ]


def spread(fractions: Sequence[float | None]) -> str:
    """Mean ± standard deviation (of a sample, n - 1) in percent; a dash if a figure is missing, the figure if
    it is alone."""
    values = [100 * value for value in fractions if value is not None]
    if len(values) < max(2, len(fractions)):
        return percent(fractions[0]) if len(fractions) == 1 else "–"
    return f"{fmean(values):.2f} ± {stdev(values):.2f}"


def short_rows(runs: Sequence[Scored]) -> list[Cells]:
    """The columns of a paper's table, one row for each group of seeds: ASR is that on the attack's own
    evaluation set."""
    body = []
    for group, told in _told(runs):
        row = _of_group(group, told) | _spreads(group, [own_set(run.metrics) for run in group], SHORT[2:])
        if len(group) == 1:
            row |= {key: cell for key, cell in _own_row(group[0]).items() if key.endswith((" low", " high"))}
        body.append(row)
    return body


def _own_row(run: Scored) -> Cells:
    body, name = body_of([run]), own_set(run.metrics)
    return body[list(run.metrics["evaluation_sets"]).index(name)] if name else body[0]


def matrix(runs: Sequence[Scored]) -> tuple[list[Cells], list[str]]:
    """Where models were trained against where they are tested: a row for each run, and the names of the
    evaluation sets, its columns.

    Of the runs that have several sets; empty if it would be one row. A cell is ASR, ``SET less clean`` its
    difference to the clean model.
    """
    several = [run for run in runs if len(run.sets) > 1]
    if len(several) < 2:
        return [], []
    told, body = differences(several), []
    names = list(dict.fromkeys(name for run in several for name in run.sets))
    for number, run in enumerate(several):
        row = {"run": run.name, "attack": attack_of(run), "PR": percent(rate_of(run))}
        row |= {"differs in": told[number]} if number in told else {}
        for name, values in run.sets.items():
            row |= _cells(name, values, "asr")
            above = _above_clean(run.metrics, values, run.baseline.get(name, {}))
            row |= _cells(f"{name} less clean", above, "asr_difference") if above else {}
            row |= _marked(f"{name} less clean") if above and run.unlike_clean(name) else {}
        body.append(row)
    return body, names


def origins(runs: Sequence[Scored]) -> list[Cells]:
    """What each run was trained on and how: a row each, with what ``ORIGINS`` names. Not of predictions that
    another program made."""
    body = []
    for run in (run for run in runs if run.metrics["run"]["config"] is not None):
        folder, share = (
            run.trained.get("folder", name_of(run.trained)),
            run.metrics["run"].get("trigger_in_crops"),
        )
        row = {
            "run": run.name,
            "dataset": str(folder),
            "identity": short(run.trained["identity"]),
            "seed": str(seed_of(run.metrics)),
        }
        row |= {"exactness": str(run.exactness["level"])} if "level" in run.exactness else {}
        body.append(row | ({} if share is None else {"trigger in crops": percent(share)}))
    return body


def capacity(runs: Sequence[Scored]) -> list[Cells]:
    """Runs that differ in the network only: a row for each network by rising parameters, seeds summed up;
    ``ASR`` on the own set."""
    body = []
    everything = seeds_of(runs, SIZE)
    told = differences([alike[0] for alike in everything], leaving_out=SIZE)
    for number, alike in enumerate(everything):
        groups = sorted(seeds_of(alike), key=lambda group: parameters(group[0]))
        others = f" ({told[number]})" if number in told else ""
        if len({_size(group[0]) for group in groups}) < 2:
            continue
        several_losses = len({(_size(one[0]), loss_of(one[0].metrics)) for one in groups}) > len(
            {_size(one[0]) for one in groups}
        )
        for group in groups:
            size = _size(group[0])
            row = _of_group(group, others) | {"parameters": str(parameters(group[0]))}
            row |= {"model": size[0], "backbone": size[1], "width": f"{size[2]:g}"}
            row |= {"loss": loss_of(group[0].metrics)} if several_losses else {}
            body.append(row | _spreads(group, [own_set(run.metrics) for run in group], CAPACITY[8:]))
    return body


def parameters(run: Scored) -> int:
    """How many parameters the network has; 0 of predictions that another program made."""
    if run.metrics["run"]["config"] is None:
        return 0
    model, backbone, width = _size(run)
    with torch.device("meta"):
        network = make(model, len(run.dataset["classes"]), backbone, width)
    return sum(parameter.numel() for parameter in network.parameters())


def _size(run: Scored) -> tuple[str, str, float]:
    config = {"model": "swiftnet", "backbone": "resnet18", "width": 1.0} | (
        run.metrics["run"]["config"] or {}
    )
    return config["model"], config["backbone"], config["width"]
