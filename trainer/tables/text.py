"""Tables of runs as Markdown, CSV and LaTeX, and what their columns mean."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.dataset.folder import CONTROLS
from trainer.run_folder import write_text
from trainer.scoring.metrics import BANDS, all_but, measured
from trainer.tables.rows import (
    CAPACITY,
    COLUMNS,
    DETAILS,
    ORIGINS,
    SEEDS,
    SHORT,
    UNLIKE,
    WITHOUT_CLASS,
    Cells,
    body_of,
    capacity,
    distances_of,
    matrix,
    origins,
    over_seeds,
    percent,
    short_rows,
)
from trainer.tables.runs import (
    Scored,
    Scores,
    among,
    attack_of,
    lacks_margin,
    margin_of,
    name_of,
    own_set,
    roles,
    trained_on,
)

WHERE_THEY_EXIST = (*WITHOUT_CLASS, "ASR on shared pictures", "differs in", "loss", "trigger in crops")
TEXT = (
    "run",
    "attack",
    "differs in",
    "evaluated on",
    "class",
    "model",
    "backbone",
    "loss",
    "dataset",
    "identity",
    "exactness",
)


def report(
    runs: Sequence[Scored],
    intervals: bool = False,
    with_details: bool = False,
    subsets: Mapping[str, str] | None = None,
) -> str:
    """All that there is to say of these runs, as Markdown. ``subsets``: name → pattern of sample ids. Raises
    RunError."""
    parts = [markdown(body_of(runs), intervals=intervals), legend(runs, intervals)]
    if seeds := over_seeds(runs):
        parts += [markdown(seeds, SEEDS), SEEDS_LEGEND]
    body, names = matrix(runs)
    if body:
        parts += [
            markdown(_joined(body, names), ("run", "attack", "PR", "differs in", *names)),
            MATRIX_LEGEND,
        ]
    if sizes := capacity(runs):
        parts += [
            markdown(sizes, CAPACITY),
            "Runs that differ in the network only. ASR: on the attack's own evaluation set.\n",
        ]
    parts += [details(runs, intervals)] if with_details else []
    for name, pattern in (subsets or {}).items():
        chosen = [among(run, pattern) for run in runs]
        count = ", ".join(dict.fromkeys(str(run.dataset["evaluation_pictures"]) for run in chosen))
        of = ", ".join(dict.fromkeys(str(run.dataset["evaluation_pictures"]) for run in runs))
        parts += [f"{name}: the same figures of {count} of the {of} evaluation pictures, {pattern}.\n"]
        parts += [markdown(body_of(chosen), intervals=intervals)]
        parts += [f"{line}\n" for line in (_roughness([run.metrics for run in chosen]) if intervals else [])]
        parts += [markdown(seeds, SEEDS)] if (seeds := over_seeds(chosen)) else []
    if rows := origins(runs):
        parts += [
            markdown(rows, ORIGINS),
            ORIGINS_LEGEND + CROPS_LEGEND * any("trigger in crops" in row for row in rows),
        ]
    return "\n".join(parts)


def write(
    runs: Sequence[Scored],
    out: Path,
    intervals: bool = False,
    with_details: bool = False,
    subsets: Mapping[str, str] | None = None,
) -> None:
    """Write the tables of runs into the folder ``out``: Markdown of all, CSV and LaTeX of each. Raises
    RunError."""
    columns = (*COLUMNS, *DETAILS) if with_details else COLUMNS
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "table.md", report(runs, intervals, with_details, subsets))
    for end, pattern in {
        "": "*",
        **{f"-{name}": pattern for name, pattern in (subsets or {}).items()},
    }.items():
        chosen = [among(run, pattern) for run in runs] if end else runs
        write_text(out / f"table{end}.csv", comma_separated(body_of(chosen), columns, intervals))
        write_text(out / f"table{end}.tex", latex(chosen, intervals))
    write_text(out / "short.csv", comma_separated(short_rows(runs), (*SHORT, "n")))
    body, names = matrix(runs)
    if body:
        both = [column for name in names for column in (name, f"{name} less clean")]
        write_text(out / "matrix.csv", comma_separated(body, ("run", "attack", "PR", "differs in", *both)))
        write_text(
            out / "matrix.tex", tabular(_joined(body, names), ("run", "attack", "PR", "differs in", *names))
        )
    if sizes := capacity(runs):
        write_text(out / "capacity.csv", comma_separated(sizes, CAPACITY))
        write_text(out / "capacity.tex", tabular(sizes, CAPACITY))


ORIGINS_LEGEND = """\
Identity: the first digits of that of the dataset that a run was trained on; all of them, settings and package versions are in its run.json.
"""

CROPS_LEGEND = """\
Trigger in crops: relabelled pixels whose training crop shows the whole trigger, each counted by its picture, over the first epochs.
"""

SEEDS_LEGEND = """\
Mean ± standard deviation over n seeds: the mean of the exact figures, and the standard deviation of a sample (n − 1). A clean model that
stands beside several seeds counts once.
"""

MATRIX_LEGEND = """\
Rows: what a model was trained with. Columns: where the trigger lies at test. ASR, in brackets less that of the clean model on the same
pictures.
"""


def _joined(body: Sequence[Cells], names: Sequence[str]) -> list[Cells]:
    """Rows of the matrix with the difference to the clean model in brackets."""
    return [
        row | {name: row[name] + _signed(row, f"{name} less clean") for name in names if name in row}
        for row in body
    ]


def _signed(row: Cells, column: str) -> str:
    return f" ({float(row[column]):+.2f}{row.get(f'{column} note', '')})" if column in row else ""


def table(
    body: Sequence[Cells], columns: Sequence[str] = COLUMNS, intervals: bool = False
) -> list[list[str]]:
    """The head and the rows; columns that exist in some runs only are there if one of these runs has them.

    ``intervals``: figures are followed by the ends of their intervals, as in ``88.69 [86.1, 91.0]``.
    """
    shown = [name for name in columns if name not in WHERE_THEY_EXIST or any(name in row for row in body)]

    def cell(row: Cells, name: str) -> str:
        ends = _outward(row[f"{name} low"], row[f"{name} high"]) if intervals and f"{name} low" in row else ""
        return row.get(name, "–") + ends + row.get(f"{name} note", "")

    return [shown, *([cell(row, name) for name in shown] for row in body)]


def _outward(low: str, high: str) -> str:
    """The ends of an interval with one decimal, away from each other, so that the figure stays between
    them."""
    lower, upper = math.floor(round(10 * float(low), 6)) / 10, math.ceil(round(10 * float(high), 6)) / 10
    return f" [{lower:.1f}, {upper:.1f}]"


def markdown(body: Sequence[Cells], columns: Sequence[str] = COLUMNS, intervals: bool = False) -> str:
    """A table that is aligned as text, too."""
    head, *lines = table(body, columns, intervals)
    widths = [
        max(2, *(len(row[i]) for row in (head, *lines))) for i in range(len(head))
    ]  # a rule needs two signs
    right = [name not in TEXT for name in head]
    cells = [
        [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        for row in (head, *lines)
    ]
    cells.insert(1, ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)])
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def comma_separated(body: Sequence[Cells], columns: Sequence[str] = COLUMNS, intervals: bool = False) -> str:
    """The same as CSV; an empty cell where there is no figure. ``intervals``: two more columns for each that
    has some.

    What is a † in other tables is a column of its own, ``COLUMN †``, where a row has one.
    """
    text = io.StringIO()
    names = [*columns]
    if intervals:
        ends = ("low", "high")
        names += [
            f"{name} {end}" for name in columns for end in ends if any(f"{name} {end}" in row for row in body)
        ]
    bare = [{key: cell for key, cell in row.items() if not key.endswith(" note")} for row in body]
    for name in columns:
        unlike = [row.get(f"{name} note") == UNLIKE for row in body]
        if any(unlike):
            bare = [
                row | {name + UNLIKE: "yes" if differs else ""}
                for row, differs in zip(bare, unlike, strict=True)
            ]
            names.append(name + UNLIKE)
    head, *lines = table(bare, names)
    csv.writer(text, lineterminator="\n").writerows(
        [head, *([cell.replace("–", "") for cell in row] for row in lines)]
    )
    return text.getvalue()


def details(runs: Sequence[Scored], intervals: bool = False) -> str:
    """What stands beside the table: differences, figures without the trigger's pixels, single pictures,
    distances, classes."""
    body = [row for row in body_of(runs) if "evaluated on" in row]
    parts = [markdown(body, ("run", "evaluated on", *DETAILS), intervals), DETAILS_LEGEND] if body else []
    if distances := distances_of(runs):
        parts += [markdown(distances, ("run", "evaluated on", *BANDS), intervals)]
        parts += [
            "ASR by the distance from trigger to victim (Euclidean), in pixels of a picture of 512 rows; in brackets, pictures.\n"
        ]
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


def latex(runs: Sequence[Scored], intervals: bool = False) -> str:
    """``short_rows`` as a LaTeX table, for the package booktabs."""
    sets = dict.fromkeys(f"{attack_of(run)}: {_own_in_words(run)}" for run in runs if own_set(run.metrics))
    notes = [
        "% \\usepackage{booktabs}; figures in percent, ± is the standard deviation of a sample (n − 1) over seeds"
    ]
    notes += [f"% ASR is measured on, of {name}".replace("\n", " ") for name in sets]
    return "\n".join(notes) + "\n" + tabular(short_rows(runs), SHORT, intervals)


def _own_in_words(run: Scored) -> str:
    lacks = (
        f" (trained with the edge margin {margin_of(run.metrics)}, which no set has)"
        if lacks_margin(run.metrics)
        else ""
    )
    return f"{own_set(run.metrics)}{lacks}"


def tabular(body: Sequence[Cells], columns: Sequence[str], intervals: bool = False) -> str:
    """Rows as LaTeX, with rules of booktabs."""
    head, *lines = table(body, columns, intervals)
    rows_of = [" & ".join(_tex(cell) for cell in line) + r" \\" for line in (head, *lines)]
    kinds = "".join("l" if name in TEXT else "r" for name in head)
    parts = [
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        rows_of[0],
        r"\midrule",
        *rows_of[1:],
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(parts) + "\n"


def _tex(text: str) -> str:
    """Text as LaTeX shows it."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "±": r"$\pm$",
        "†": r"\dag{}",
    }
    return "".join(special.get(char, f"\\{char}" if char in "&%$#_{}" else char) for char in text)


def legend(runs: Sequence[Scored], intervals: bool = False) -> str:
    """What the columns of these runs' table mean, and of which classes the pixels are that ASR counts."""
    scored = [run.metrics for run in runs]
    sets = [values for run in runs for values in run.sets.values()]
    lines = ["All figures in percent, pooled over pixels."]

    controls = any(role in CONTROLS for metrics in scored for role in roles(metrics["dataset"]))
    half = "; of a control: with the trigger only, or with the label only, ÷ all" if controls else ""
    lines += [f"PR: poisoned ÷ all pictures of the training split{half}. mIoU, PA: clean evaluation split."]
    for presence in sorted(
        {_presence(metrics["dataset"]) for metrics in scored if "miou_without_trigger_class" in metrics}
    ):
        lines += [
            f"mIoU, PA without trigger class: those pictures of the clean evaluation split that have {presence}."
        ]

    pairs = _measured(scored)
    one = f" ({next(iter(pairs))})" if len(pairs) == 1 else ""
    lines += [
        f"ASR: true victim pixels of the triggered pictures that are predicted as the target ÷ all of them{one}."
    ]
    if len(pairs) > 1:
        lines += [
            "The victims differ, so the denominators do, too. Never rank an ASR of one of these lines by one of another:"
        ]
        lines += [f"- {victims}: {', '.join(names)}" for victims, names in pairs.items()]
    if any("asr_on_shared_pictures" in values for values in sets):
        lines += [
            "ASR on shared pictures: those that all evaluation sets of a folder have. Compare its sets by this."
        ]
    if not sets or any("unpaired_pictures" not in values for values in sets):
        lines += ["ASR without trigger: the same pixels of the same pictures, untriggered."]
    if any("unpaired_pictures" in values for values in sets):
        lines += [
            "Unpaired: nothing is painted, so there are no untriggered pictures. ASR without trigger is that on the evaluation",
            "split's other pictures: those that have victims and no trigger class.",
        ]
    lines += [
        "ASR of the clean model: the same triggered pictures, a model that was trained on no poisoned picture."
    ]
    if any(run.unlike_clean(name) for run in runs for name in run.sets):
        lines += ["†: the clean model is of another network or seed, or differs in other settings."]
    lines += ["PBA: mIoU of the other classes on the triggered pictures, victim pixels left out."]
    if any(_everything(metrics["dataset"]) for metrics in scored):
        lines += ["There is no PBA where all classes but the target are victims: no other class is left."]
    if any(name.startswith("band-") for metrics in scored for name in metrics["evaluation_sets"]):
        lines += [
            "Sets band-…: by the Chebyshev distance from trigger to victim. A table by distance has the Euclidean one."
        ]
    lines += _of_margins(runs)
    if intervals:
        lines += _of_intervals([metrics for metrics in scored if "intervals" in metrics])
    lines += how_exact(runs)
    return "".join(f"{line}\n" for line in lines)


def _of_margins(runs: Sequence[Scored]) -> list[str]:
    """Which runs were trained with an edge margin that none of their evaluation sets has."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if lacks_margin(run.metrics):
            words = f"Trained with the edge margin {margin_of(run.metrics)}, measured without: {own_set(run.metrics)} is their own set"
            found.setdefault(words, []).append(run.name)
    return [f"{words} ({', '.join(names)})." for words, names in found.items()]


def _of_intervals(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the ends of an interval mean, if some scores have any, and whether they are rough."""
    blocks = sorted({metrics["intervals"]["block"] for metrics in scored})
    if not blocks:
        return ["There are no intervals: the scores are of an older version. Score again with eval."]
    of = ", ".join(map(str, blocks))
    lines = [
        f"[low, high]: 95 % interval over the pictures that were measured (bootstrap of blocks of {of}); no seed is in it."
    ]
    return lines + _roughness(scored)


def _roughness(scored: Sequence[Scores]) -> list[str]:
    """A warning if there are few blocks, with the pictures of which there are fewest."""
    counts = [pair for metrics in scored if "intervals" in metrics for pair in _blocks(metrics)]
    fewest, name = min(counts, default=(10, ""))
    if fewest >= 10:
        return []
    few = f"{fewest} block{'s' if fewest > 1 else ''} ({name})"
    return [
        f"Of {few} an interval is rough: where pictures are no frames of one drive, choose eval --block 1."
    ]


def _blocks(metrics: Scores) -> list[tuple[int, str]]:
    """How many blocks the intervals are drawn from, by the pictures that they are of."""
    counts = {"clean evaluation split": metrics["dataset"]["evaluation_pictures"]}
    for name in ("pictures_without_trigger_class", "shared_pictures"):
        counts[name.replace("_", " ")] = metrics.get(name)
    counts |= {name: values["pictures"] for name, values in metrics["evaluation_sets"].items()}
    return [(-(-count // metrics["intervals"]["block"]), name) for name, count in counts.items() if count]


def _presence(dataset: Mapping[str, Any]) -> str:
    name, least = dataset["classes"][dataset["trigger_class"]], dataset["min_trigger_pixels"]
    return f"no pixel of {name}" if least == 1 else f"fewer than {least} pixels of {name}"


def _measured(scored: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Victims → target, in words, with the names of the attacks where this is measured, each once."""
    pairs: dict[str, list[str]] = {}
    for metrics in scored:
        dataset, name = metrics["dataset"], name_of(trained_on(metrics))
        if dataset["target_class"] is not None:
            classes = dataset["classes"]
            names = pairs.setdefault(
                f"{measured(classes, dataset['victim_classes'])} → {classes[dataset['target_class']]}", []
            )
            names += [name] if name not in names else []
    return pairs


def _everything(dataset: Scores) -> bool:
    return all_but(dataset["victim_classes"], dataset["target_class"], len(dataset["classes"]))


def how_exact(runs: Sequence[Scored]) -> list[str]:
    """On what runs were trained, and whether the same would give the same weights again: a line for each way,
    with its runs if several."""
    ways: dict[str, list[str]] = {}
    for run in runs:
        if words := _way(run):
            ways.setdefault(words, []).append(run.name)
    several = len(ways) > 1
    return [
        f"Trained{' (' + ', '.join(names) + ')' if several else ''}: {words}."
        for words, names in ways.items()
    ]


LEVELS = {
    "exact": "the same again gives the same weights, bit by bit",
    "seeded": "the same draws again, but sums in another order: other last bits",
    "mixed": "went on with other packages or processes: not exact",
}


def _way(run: Scored) -> str:
    """How exact a run is, in words; empty of predictions, and of scores that do not say it."""
    exact, config = dict(run.exactness), run.metrics["run"]["config"] or {}
    if not exact and "precision" not in config:
        return ""
    if not exact:  # a run that is older than the key
        exact = {key: config[key] for key in ("device", "threads", "precision") if key in config}
        exact["memory_format"] = "channels_last" if config.get("channels_last", True) else "contiguous"
    threads, processes = exact.get("threads"), exact.get("processes", 1)
    parts = [
        str(exact.get("device", "")),
        f"{threads} thread{'s' if threads != 1 else ''}" if threads else "",
    ]
    parts += [
        f"{processes} processes" if processes > 1 else "",
        str(exact.get("precision", "")),
        str(exact.get("memory_format", "")),
    ]
    parts += ["compiled" if exact.get("compiled") else ""]
    version = exact.get("torch") or run.metrics.get("environment", {}).get("torch")
    parts += [f"torch {version}" if version else ""]
    level = str(exact.get("level", ""))
    return ", ".join(part for part in parts if part) + (
        f"; {level}: {LEVELS[level]}" if level in LEVELS else ""
    )
