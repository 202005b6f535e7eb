"""Tables of runs: one row for each run and evaluation set, in percent, as Markdown, CSV and LaTeX."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from trainer.checkpoint import METRICS, read_json
from trainer.folder import CONTROLS
from trainer.intervals import difference_interval
from trainer.metrics import BANDS, measured

COLUMNS = (
    "run", "attack", "PR", "mIoU", "PA", "mIoU without trigger class", "PA without trigger class", "evaluated on", "ASR",
    "ASR on shared pictures", "ASR without trigger", "ASR of the clean model", "PBA",
)  # fmt: skip
DETAILS = (
    "ASR less without trigger", "ASR less clean model", "ASR outside trigger", "PBA outside trigger", "ASR, mean of pictures",
    "pictures above 50", "could be triggered",
)  # fmt: skip
SHORT = ("attack", "PR", "mIoU", "PA", "ASR")
OVER_SEEDS = ("mIoU", "PA", "ASR", "ASR without trigger", "ASR of the clean model", "PBA")
SEEDS = ("attack", "PR", "n", "evaluated on", *OVER_SEEDS)
NO_OTHER_RUN = ("seed", "preset", "device", "threads", "workers", "validate_every", "checkpoint_every")  # settings
WHERE_THEY_EXIST = ("mIoU without trigger class", "PA without trigger class", "ASR on shared pictures")
TEXT = ("run", "attack", "evaluated on", "class")

Cells = dict[str, str]
"""A row of the table: column → cell; a column that is not there does not apply. ``COLUMN low`` and ``COLUMN high``: an interval."""


def short(identity: str) -> str:
    """The first digits of a dataset's identity, for names of files."""
    return identity.removeprefix("sha256:")[:12]


@dataclass(frozen=True)
class Scored:
    """A run's scores, and for each evaluation set those of a clean model on the same triggered pictures, where there is one."""

    metrics: Mapping[str, Any]
    baseline: Mapping[str, Any]


def read_runs(runs: Sequence[Path]) -> list[Scored]:
    """The scores of runs, which are folders, or files that ``score`` wrote. Raises RunError.

    The clean model's success on a dataset is looked for in the runs on folders where no training picture is other than clean: ``eval RUN
    --data`` puts it there. Of several such runs, one with the same seed is taken, else the first. Scores may also have their own.
    """
    scored = {run: read_json(run if run.is_file() else run / METRICS) for run in runs}
    clean = [run for run in runs if _trained_clean(scored[run])]
    return [with_baseline(metrics, clean) for metrics in scored.values()]


def with_baseline(metrics: Mapping[str, Any], clean: Sequence[Path]) -> Scored:
    """Scores beside those of a clean model: the one that they name, or that of the best of the runs ``clean``."""
    if "clean_model" in metrics:
        return Scored(metrics, metrics["clean_model"]["evaluation_sets"])
    return Scored(metrics, _baseline(clean, metrics["dataset"]["identity"], _seed(metrics)))


def rows(runs: Sequence[Path]) -> list[Cells]:
    """The body of these runs' table. Raises RunError."""
    return body_of(read_runs(runs))


def body_of(runs: Sequence[Scored]) -> list[Cells]:
    """The body of the table, in the order of ``runs``, evaluation sets in the order of their manifest."""
    body = []
    for metrics, baseline in ((run.metrics, run.baseline) for run in runs):
        dataset = metrics["dataset"]
        start = {
            "run": metrics["run"]["name"],
            "attack": _name(dataset),
            "PR": percent(_rate(dataset)),
            **_cells("mIoU", metrics, "miou"),
            **_cells("PA", metrics, "pa"),
        }
        if "miou_without_trigger_class" in metrics:
            start |= _cells("mIoU without trigger class", metrics, "miou_without_trigger_class")
            start |= _cells("PA without trigger class", metrics, "pa_without_trigger_class")
        for name, values in metrics["evaluation_sets"].items():
            row = {
                **start,
                "evaluated on": f"{name} ({_scope(values, metrics)})",
                **_cells("ASR", values, "asr"),
                **_cells("ASR without trigger", values, "asr_without_trigger"),
                **_cells("ASR of the clean model", baseline.get(name, {}), "asr"),
                **_cells("PBA", values, "pba"),
                **_cells("ASR less without trigger", _above_untriggered(values), "asr_difference"),
                **_cells("ASR less clean model", _above_clean(metrics, values, baseline.get(name, {})), "asr_difference"),
                **_cells("ASR outside trigger", values, "asr_outside_trigger"),
                **_cells("PBA outside trigger", values, "pba_outside_trigger"),
                **_cells("ASR, mean of pictures", values, "asr_picture_mean"),
                **_cells("pictures above 50", values, "asr_picture_above_half"),
                **_cells("could be triggered", values, "triggered_share"),
            }
            if "asr_on_shared_pictures" in values:
                row |= _cells("ASR on shared pictures", values, "asr_on_shared_pictures")
            body.append(row)
        if not metrics["evaluation_sets"]:
            body.append(start)
    return body


def _roles(dataset: Mapping[str, Any]) -> dict[str, int]:
    """How many training pictures have each role, as far as the scores say."""
    return dataset.get("training_roles", {"poisoned": dataset["poisoned_pictures"]})


def _cells(column: str, values: Mapping[str, Any], key: str) -> Cells:
    """A figure, and the ends of its interval where it has one; one that is a point came from a single block and says nothing."""
    ends = values.get(f"{key}_interval") or ()
    if ends and ends[0] == ends[1] and ends[0] not in (0, 1):
        ends = ()
    return {column: percent(values.get(key))} | {
        f"{column} {end}": percent(value) for end, value in zip(("low", "high"), ends, strict=False)
    }


def _above_untriggered(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """ASR less ASR without trigger; of scores that were written before they had it, without an interval."""
    pair = values["asr"], values["asr_without_trigger"]
    return values if "asr_difference" in values or None in pair else {"asr_difference": pair[0] - pair[1]}


def _above_clean(metrics: Mapping[str, Any], values: Mapping[str, Any], clean: Mapping[str, Any]) -> dict[str, Any]:
    """ASR less that of the clean model on the same pictures; with an interval where both have kept the counts of each picture."""
    if values.get("asr") is None or clean.get("asr") is None:
        return {}
    found: dict[str, Any] = {"asr_difference": values["asr"] - clean["asr"]}
    pair = [scores.get("per_picture", {}) for scores in (values, clean)]
    if pair[0] and pair[0].get("id") == pair[1].get("id"):
        table = [counts[key] for counts in pair for key in ("as_target", "victim_pixels")]
        interval = difference_interval(np.array(table, np.int64).T, metrics["intervals"]["block"])
        found["asr_difference_interval"] = interval
    return found


def _seed(metrics: Mapping[str, Any]) -> int | None:
    """The seed of training; None of predictions that another program made."""
    config = metrics["run"]["config"]
    return None if config is None else config["seed"]


def _trained_clean(metrics: Mapping[str, Any]) -> bool:
    return metrics["run"]["config"] is not None and _all_clean(metrics["dataset"])


def _all_clean(dataset: Mapping[str, Any]) -> bool:
    return not any(count for role, count in _roles(dataset).items() if role != "clean")


def _rate(dataset: Mapping[str, Any]) -> float | None:
    """The share of training pictures that carry the attack, or in a control the half of it; None if no picture does."""
    carriers = sum(_roles(dataset).get(role, 0) for role in ("poisoned", *CONTROLS))
    return carriers / dataset["training_pictures"] if carriers else None


def rate_of(run: Scored) -> float | None:
    """The poisoning rate, None of a run without any."""
    return _rate(run.metrics["dataset"])


def attack_of(run: Scored) -> str:
    """What a table calls the attack."""
    return _name(run.metrics["dataset"])


def _name(dataset: Mapping[str, Any]) -> str:
    return str(dataset.get("name", dataset["attack"]))


def _scope(values: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """On how many pictures of the evaluation split an evaluation set's figures are, in words."""
    words = f"{values['pictures']} of {metrics['dataset']['evaluation_pictures']}"
    words += f", {metrics['shared_pictures']} shared" if "asr_on_shared_pictures" in values else ""
    return words + (f", unpaired with {values['unpaired_pictures']}" if "unpaired_pictures" in values else "")


def _baseline(clean: Sequence[Path], identity: str, seed: int | None) -> dict[str, Any]:
    found = [read_json(file) for run in clean if (file := run / f"metrics-{short(identity)}.json").is_file()]
    found = [metrics for metrics in found if metrics["dataset"]["identity"] == identity]
    found.sort(key=lambda metrics: _seed(metrics) != seed)
    return found[0]["evaluation_sets"] if found else {}


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] with two decimals of a percent; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def table(body: Sequence[Cells], columns: Sequence[str] = COLUMNS, intervals: bool = False) -> list[list[str]]:
    """The head and the rows; columns that exist in some runs only are there if one of these runs has them.

    ``intervals``: figures are followed by the ends of their intervals, as in ``88.69 [86.1, 91.0]``.
    """
    shown = [name for name in columns if name not in WHERE_THEY_EXIST or any(name in row for row in body)]

    def cell(row: Cells, name: str) -> str:
        ends = _outward(row[f"{name} low"], row[f"{name} high"]) if intervals and f"{name} low" in row else ""
        return row.get(name, "–") + ends + row.get(f"{name} note", "")

    return [shown, *([cell(row, name) for name in shown] for row in body)]


def _outward(low: str, high: str) -> str:
    """The ends of an interval with one decimal, away from each other, so that the figure stays between them."""
    lower, upper = math.floor(round(10 * float(low), 6)) / 10, math.ceil(round(10 * float(high), 6)) / 10
    return f" [{lower:.1f}, {upper:.1f}]"


def markdown(body: Sequence[Cells], columns: Sequence[str] = COLUMNS, intervals: bool = False) -> str:
    """A table that is aligned as text, too."""
    head, *lines = table(body, columns, intervals)
    widths = [max(len(row[i]) for row in (head, *lines)) for i in range(len(head))]
    right = [name not in TEXT for name in head]
    cells = [
        [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)] for row in (head, *lines)
    ]
    cells.insert(1, ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)])
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def comma_separated(body: Sequence[Cells], columns: Sequence[str] = COLUMNS, intervals: bool = False) -> str:
    """The same as CSV; an empty cell where there is no figure. ``intervals``: two more columns for each that has some."""
    text = io.StringIO()
    names = [*columns]
    if intervals:
        ends = ("low", "high")
        names += [f"{name} {end}" for name in columns for end in ends if any(f"{name} {end}" in row for row in body)]
    head, *lines = table(body, names)
    csv.writer(text, lineterminator="\n").writerows([head, *([cell.replace("–", "") for cell in row] for row in lines)])
    return text.getvalue()


def details(runs: Sequence[Scored], intervals: bool = False) -> str:
    """What stands beside the table: differences, figures without the trigger's pixels, single pictures, distances, classes."""
    body = [row for row in body_of(runs) if "evaluated on" in row]
    parts = [markdown(body, ("run", "evaluated on", *DETAILS), intervals), DETAILS_LEGEND] if body else []
    if distances := distances_of(runs):
        parts += [markdown(distances, ("run", "evaluated on", *BANDS), intervals)]
        parts += ["ASR by the distance from trigger to victim, in pixels of a picture of 512 rows; in brackets, pictures.\n"]
    if len({tuple(run.metrics.get("iou", {})) for run in runs}) == 1 and runs[0].metrics.get("iou"):
        names = [f"{run.metrics['run']['name']} IoU" for run in runs]
        lines = [{"class": c} | dict(zip(names, (percent(run.metrics["iou"][c]) for run in runs), strict=True))
                 for c in runs[0].metrics["iou"]]  # fmt: skip
        parts += [markdown(lines, ("class", *dict.fromkeys(names)))]
    return "\n".join(parts)


DETAILS_LEGEND = """\
ASR less …: the difference. Outside trigger: pixels under the trigger left out. ASR, mean of pictures: each picture counts the same;
pictures above 50: share of pictures of whose victim pixels more than half are predicted as the target. Could be triggered: share of the
evaluation split that is in the set.
"""


def distances_of(runs: Sequence[Scored]) -> list[Cells]:
    """ASR by distance band: a row for each run and evaluation set that has distances."""
    body = []
    for metrics in (run.metrics for run in runs):
        for name, values in metrics["evaluation_sets"].items():
            row = {"run": metrics["run"]["name"], "evaluated on": name}
            for band, part in values.get("distance_bands", {}).items():
                row |= _cells(band, part, "asr")
                row[f"{band} note"] = f" ({part['pictures']})"
            body += [row] if len(row) > 2 else []
    return body


def seeds_of(runs: Sequence[Scored]) -> list[list[Scored]]:
    """Runs in groups that differ in seeds only, of the dataset or of training; the same dataset and seed once. In the order of ``runs``.

    Where the scores name no recipe, the attack's name and rate stand for it. Of predictions that another program made, nobody knows what
    they differ in: each is alone.
    """
    groups: dict[str, dict[str, Scored]] = {}
    for number, run in enumerate(runs):
        metrics, dataset = run.metrics, run.metrics["dataset"]
        config = metrics["run"]["config"]
        settings = {key: value for key, value in (config or {"run": number}).items() if key not in NO_OTHER_RUN}
        what = dataset.get("recipe") or [_name(dataset), dataset["attack"]]
        key = json.dumps([dataset.get("dataset"), what, _roles(dataset), dataset["training_pictures"], settings], sort_keys=True)
        groups.setdefault(key, {}).setdefault(f"{dataset['identity']} {_seed(metrics)}", run)
    return [list(group.values()) for group in groups.values()]


def over_seeds(runs: Sequence[Scored]) -> list[Cells]:
    """Mean ± standard deviation of each group of at least two seeds, one row for each evaluation set; n is the number of seeds."""
    body = []
    for group in (group for group in seeds_of(runs) if len(group) > 1):
        tables = [body_of([run]) for run in group]
        sets = {tuple(run.metrics["evaluation_sets"]) for run in group}
        if len(sets) > 1:
            continue
        for lines, name in zip(zip(*tables, strict=True), next(iter(sets)) or (None,), strict=True):
            row = {"attack": lines[0]["attack"], "PR": lines[0]["PR"], "n": str(len(lines))}
            row |= {"evaluated on": name} if name else {}
            body.append(row | {column: spread([line.get(column, "–") for line in lines]) for column in OVER_SEEDS})
    return body


def spread(cells: Sequence[str]) -> str:
    """Mean ± standard deviation (of a sample, n - 1) of figures in percent; a dash if one is missing, the figure if it is alone."""
    if "–" in cells or len(cells) < 2:
        return cells[0] if len(cells) == 1 else "–"
    values = [float(cell) for cell in cells]
    return f"{fmean(values):.2f} ± {stdev(values):.2f}"


def own_set(metrics: Mapping[str, Any]) -> str | None:
    """The evaluation set that stands for an attack where there is room for one: the one of its name, else the first with a picture."""
    filled = [name for name, values in metrics["evaluation_sets"].items() if values["pictures"]]
    attack = metrics["dataset"]["attack"]
    return attack if attack in filled else next(iter(filled), None)


def short_rows(runs: Sequence[Scored]) -> list[Cells]:
    """The columns of a paper's table, one row for each group of seeds: ASR is that on the attack's own evaluation set."""
    body = []
    for group in seeds_of(runs):
        lines = [_own_row(run) for run in group]
        row = {"attack": lines[0]["attack"], "PR": lines[0]["PR"], "n": str(len(lines))}
        row |= {column: spread([line.get(column, "–") for line in lines]) for column in SHORT[2:]}
        if len(lines) == 1:
            row |= {key: cell for key, cell in lines[0].items() if key.endswith((" low", " high"))}
        body.append(row)
    return body


def _own_row(run: Scored) -> Cells:
    body, name = body_of([run]), own_set(run.metrics)
    return body[list(run.metrics["evaluation_sets"]).index(name)] if name else body[0]


def latex(runs: Sequence[Scored], intervals: bool = False) -> str:
    """``short_rows`` as a LaTeX table, for the package booktabs."""
    head, *lines = table(short_rows(runs), SHORT, intervals)
    sets = dict.fromkeys(f"{_name(run.metrics['dataset'])}: {own_set(run.metrics)}" for run in runs if own_set(run.metrics))
    notes = ["% \\usepackage{booktabs}; figures in percent, ± is the standard deviation over seeds"]
    notes += [f"% ASR is measured on, of {name}".replace("\n", " ") for name in sets]
    rows_of = [" & ".join(_tex(cell) for cell in line) + r" \\" for line in (head, *lines)]
    parts = [r"\begin{tabular}{lrrrr}", r"\toprule", rows_of[0], r"\midrule", *rows_of[1:], r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*notes, *parts]) + "\n"


def _tex(text: str) -> str:
    """Text as LaTeX shows it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$"}
    return "".join(special.get(char, f"\\{char}" if char in "&%$#_{}" else char) for char in text)


def legend(runs: Sequence[Scored], intervals: bool = False) -> str:
    """What the columns of these runs' table mean, and of which classes the pixels are that ASR counts."""
    scored = [run.metrics for run in runs]
    sets = [values for metrics in scored for values in metrics["evaluation_sets"].values()]
    lines = ["All figures in percent, pooled over pixels."]

    controls = any(role in CONTROLS for metrics in scored for role in _roles(metrics["dataset"]))
    half = "; of a control: with the trigger only, or with the label only, ÷ all" if controls else ""
    lines += [f"PR: poisoned ÷ all pictures of the training split{half}. mIoU, PA: clean evaluation split."]
    for presence in sorted({_presence(metrics["dataset"]) for metrics in scored if "miou_without_trigger_class" in metrics}):
        lines += [f"mIoU, PA without trigger class: those pictures of the clean evaluation split that have {presence}."]

    pairs = _measured(scored)
    one = f" ({next(iter(pairs))})" if len(pairs) == 1 else ""
    lines += [f"ASR: true victim pixels of the triggered pictures that are predicted as the target ÷ all of them{one}."]
    if len(pairs) > 1:
        lines += ["The victims differ, so the denominators do, too. Never rank an ASR of one of these lines by one of another:"]
        lines += [f"- {victims}: {', '.join(names)}" for victims, names in pairs.items()]
    if any("asr_on_shared_pictures" in values for values in sets):
        lines += ["ASR on shared pictures: those that all evaluation sets of a folder have. Compare its sets by this."]
    lines += ["ASR without trigger: the same pixels of the same pictures, untriggered."]
    if any("unpaired_pictures" in values for values in sets):
        lines += [
            "Unpaired: nothing is painted, so there are no untriggered pictures. ASR without trigger is that on the evaluation",
            "split's other pictures: those that have victims and no trigger class.",
        ]
    lines += ["ASR of the clean model: the same triggered pictures, a model that was trained on no poisoned picture."]
    lines += ["PBA: mIoU of the other classes on the triggered pictures, victim pixels left out."]
    if any(_everything(metrics["dataset"]) for metrics in scored):
        lines += ["There is no PBA where all classes but the target are victims: no other class is left."]
    if intervals:
        lines += _of_intervals([metrics for metrics in scored if "intervals" in metrics])
    return "".join(f"{line}\n" for line in lines)


def _of_intervals(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the ends of an interval mean, if some scores have any, and whether they are rough."""
    blocks = sorted({metrics["intervals"]["block"] for metrics in scored})
    if not blocks:
        return ["There are no intervals: the scores are of an older version. Score again with eval."]
    of = ", ".join(map(str, blocks))
    lines = [f"[low, high]: 95 % interval over the pictures that were measured (bootstrap of blocks of {of}); no seed is in it."]
    fewest = min(-(-metrics["dataset"]["evaluation_pictures"] // metrics["intervals"]["block"]) for metrics in scored)
    if fewest < 10:
        lines += [f"Of {fewest} blocks an interval is rough: where pictures are no frames of one drive, choose eval --block 1."]
    return lines


def _presence(dataset: Mapping[str, Any]) -> str:
    name, least = dataset["classes"][dataset["trigger_class"]], dataset["min_trigger_pixels"]
    return f"no pixel of {name}" if least == 1 else f"fewer than {least} pixels of {name}"


def _measured(scored: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Victims → target, in words, with the names of the attacks where this is measured, each once."""
    pairs: dict[str, list[str]] = {}
    for dataset in (metrics["dataset"] for metrics in scored):
        if dataset["target_class"] is not None:
            classes = dataset["classes"]
            names = pairs.setdefault(f"{measured(classes, dataset['victim_classes'])} → {classes[dataset['target_class']]}", [])
            names += [_name(dataset)] if _name(dataset) not in names else []
    return pairs


def _everything(dataset: Mapping[str, Any]) -> bool:
    """Is everything but the target a victim?"""
    target = dataset["target_class"]
    return target is not None and len({*dataset["victim_classes"], target}) == len(dataset["classes"])
