"""Tables of runs: one row for each run and evaluation set, in percent, as Markdown and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.checkpoint import METRICS, read_json
from trainer.folder import CONTROLS
from trainer.metrics import measured

COLUMNS = (
    "run", "attack", "PR", "mIoU", "PA", "mIoU without trigger class", "PA without trigger class", "evaluated on", "ASR",
    "ASR on shared pictures", "ASR without trigger", "ASR of the clean model", "PBA",
)  # fmt: skip
WHERE_THEY_EXIST = ("mIoU without trigger class", "PA without trigger class", "ASR on shared pictures")
TEXT = ("run", "attack", "evaluated on")

Cells = dict[str, str]
"""A row of the table: column → cell; a column that is not there does not apply."""


def short(identity: str) -> str:
    """The first digits of a dataset's identity, for names of files."""
    return identity.removeprefix("sha256:")[:12]


def rows(runs: Sequence[Path]) -> list[Cells]:
    """The body of the table, in the order of ``runs``, evaluation sets in the order of their manifest. Raises RunError.

    The clean model's success on a dataset is looked for in the runs on folders where no training picture is other than clean: ``eval RUN
    --data`` puts it there. Of several such runs, one with the same seed is taken, else the first.
    """
    scored = {run: read_json(run / METRICS) for run in runs}
    clean = [run for run in runs if _all_clean(scored[run]["dataset"])]
    body = []
    for metrics in scored.values():
        dataset = metrics["dataset"]
        start = {
            "run": metrics["run"]["name"],
            "attack": _name(dataset),
            "PR": percent(_rate(dataset)),
            "mIoU": percent(metrics["miou"]),
            "PA": percent(metrics["pa"]),
        }
        if "miou_without_trigger_class" in metrics:
            start["mIoU without trigger class"] = percent(metrics["miou_without_trigger_class"])
            start["PA without trigger class"] = percent(metrics["pa_without_trigger_class"])
        baseline = _baseline(clean, dataset["identity"], metrics["run"]["config"]["seed"])
        for name, values in metrics["evaluation_sets"].items():
            row = start | {
                "evaluated on": f"{name} ({_scope(values, metrics)})",
                "ASR": percent(values["asr"]),
                "ASR without trigger": percent(values["asr_without_trigger"]),
                "ASR of the clean model": percent(baseline.get(name, {}).get("asr")),
                "PBA": percent(values["pba"]),
            }
            if "asr_on_shared_pictures" in values:
                row["ASR on shared pictures"] = percent(values["asr_on_shared_pictures"])
            body.append(row)
        if not metrics["evaluation_sets"]:
            body.append(start)
    return body


def _roles(dataset: Mapping[str, Any]) -> dict[str, int]:
    """How many training pictures have each role, as far as the scores say."""
    return dataset.get("training_roles", {"poisoned": dataset["poisoned_pictures"]})


def _all_clean(dataset: Mapping[str, Any]) -> bool:
    return not any(count for role, count in _roles(dataset).items() if role != "clean")


def _rate(dataset: Mapping[str, Any]) -> float | None:
    """The share of training pictures that carry the attack, or in a control the half of it; None if no picture does."""
    carriers = sum(_roles(dataset).get(role, 0) for role in ("poisoned", *CONTROLS))
    return carriers / dataset["training_pictures"] if carriers else None


def _name(dataset: Mapping[str, Any]) -> str:
    return str(dataset.get("name", dataset["attack"]))


def _scope(values: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """On how many pictures of the evaluation split an evaluation set's figures are, in words."""
    words = f"{values['pictures']} of {metrics['dataset']['evaluation_pictures']}"
    words += f", {metrics['shared_pictures']} shared" if "asr_on_shared_pictures" in values else ""
    return words + (f", unpaired with {values['unpaired_pictures']}" if "unpaired_pictures" in values else "")


def _baseline(clean: Sequence[Path], identity: str, seed: int) -> dict[str, Any]:
    found = [read_json(file) for run in clean if (file := run / f"metrics-{short(identity)}.json").is_file()]
    found = [metrics for metrics in found if metrics["dataset"]["identity"] == identity]
    found.sort(key=lambda metrics: metrics["run"]["config"]["seed"] != seed)
    return found[0]["evaluation_sets"] if found else {}


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] with two decimals of a percent; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def table(body: Sequence[Cells]) -> list[list[str]]:
    """The head and the rows; columns that exist in some runs only are there if one of these runs has them."""
    columns = [name for name in COLUMNS if name not in WHERE_THEY_EXIST or any(name in row for row in body)]
    return [columns, *([row.get(name, "–") for name in columns] for row in body)]


def markdown(body: Sequence[Cells]) -> str:
    """A table that is aligned as text, too."""
    head, *lines = table(body)
    widths = [max(len(row[i]) for row in (head, *lines)) for i in range(len(head))]
    right = [name not in TEXT for name in head]
    cells = [
        [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)] for row in (head, *lines)
    ]
    cells.insert(1, ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)])
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def comma_separated(body: Sequence[Cells]) -> str:
    """The same as CSV; an empty cell where there is no figure."""
    text = io.StringIO()
    head, *lines = table(body)
    csv.writer(text, lineterminator="\n").writerows([head, *([cell.replace("–", "") for cell in row] for row in lines)])
    return text.getvalue()


def legend(runs: Sequence[Path]) -> str:
    """What the columns of these runs' table mean, and of which classes the pixels are that ASR counts."""
    scored = [read_json(run / METRICS) for run in runs]
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
    return "".join(f"{line}\n" for line in lines)


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
