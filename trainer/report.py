"""Tables of runs: one row for each run and evaluation set, in percent, as Markdown and CSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.checkpoint import METRICS, read_json

COLUMNS = (
    "run", "attack", "PR", "mIoU", "PA", "evaluated on", "ASR", "ASR without trigger", "ASR of the clean model", "PBA",
)  # fmt: skip
LEGEND = """\
All figures in percent, pooled over pixels.
PR: poisoned ÷ all pictures of the training split. mIoU, PA: clean evaluation split.
ASR: true victim pixels of the triggered pictures that are predicted as the target ÷ all of them{victims}.
ASR without trigger: the same pixels of the same pictures, untriggered.
ASR of the clean model: the same triggered pictures, a model that was trained on no poisoned picture.
PBA: mIoU of the other classes on the triggered pictures, victim pixels left out.
"""


def short(identity: str) -> str:
    """The first digits of a dataset's identity, for names of files."""
    return identity.removeprefix("sha256:")[:12]


def rows(runs: Sequence[Path]) -> list[list[str]]:
    """The body of the table, in the order of ``runs``; ``COLUMNS`` says what is in a row. Raises RunError.

    The clean model's success on a dataset is looked for in the runs without poison: ``eval RUN --data`` puts it there. Of several such
    runs, one with the same seed is taken, else the first.
    """
    scored = {run: read_json(run / METRICS) for run in runs}
    clean = [run for run in runs if not scored[run]["dataset"]["poisoned_pictures"]]
    body = []
    for metrics in scored.values():
        dataset = metrics["dataset"]
        rate = dataset["poisoned_pictures"] / dataset["training_pictures"]
        start = [
            metrics["run"]["name"],
            dataset["attack"],
            percent(rate or None),
            percent(metrics["miou"]),
            percent(metrics["pa"]),
        ]
        baseline = _baseline(clean, dataset["identity"], metrics["run"]["config"]["seed"])
        for name, values in metrics["evaluation_sets"].items():
            reference = baseline.get(name, {}).get("asr")
            figures = (values["asr"], values["asr_without_trigger"], reference, values["pba"])
            body.append([*start, f"{name} ({values['pictures']} of {dataset['evaluation_pictures']})", *map(percent, figures)])
        if not metrics["evaluation_sets"]:
            body.append([*start, *["–"] * 5])
    return body


def _baseline(clean: Sequence[Path], identity: str, seed: int) -> dict[str, Any]:
    found = [read_json(file) for run in clean if (file := run / f"metrics-{short(identity)}.json").is_file()]
    found = [metrics for metrics in found if metrics["dataset"]["identity"] == identity]
    found.sort(key=lambda metrics: metrics["run"]["config"]["seed"] != seed)
    return found[0]["evaluation_sets"] if found else {}


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] with two decimals of a percent; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def markdown(body: Sequence[Sequence[str]]) -> str:
    """A table that is aligned as text, too."""
    widths = [max(len(row[i]) for row in (COLUMNS, *body)) for i in range(len(COLUMNS))]
    right = [name not in ("run", "attack", "evaluated on") for name in COLUMNS]
    table = [
        [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)] for row in (COLUMNS, *body)
    ]
    table.insert(1, ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)])
    return "".join(f"| {' | '.join(row)} |\n" for row in table)


def comma_separated(body: Sequence[Sequence[str]]) -> str:
    """The same as CSV; an empty cell where there is no figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *([cell.replace("–", "") for cell in row] for row in body)])
    return text.getvalue()


def legend(runs: Sequence[Path]) -> str:
    """What the columns mean, with victims and target where all runs have the same."""
    pairs = set()
    for run in runs:
        dataset = read_json(run / METRICS)["dataset"]
        if dataset["target_class"] is not None:
            names = dataset["classes"]
            pairs.add((", ".join(names[c] for c in dataset["victim_classes"]), names[dataset["target_class"]]))
    victims = " ({} → {})".format(*pairs.pop()) if len(pairs) == 1 else ""
    return LEGEND.format(victims=victims)
