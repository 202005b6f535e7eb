"""`report`: tables, LaTeX, seeds and plots, from scores of today and of older versions."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import cv2
import handmade
import pytest
from click.testing import CliRunner

from trainer.cli import main
from trainer.plots import clean_lines, draw_plots, over_rates
from trainer.report_runs import nearest_clean, own_set, read_runs, seeds_of
from trainer.swiftnet import SwiftNet


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def scored(
    root: Path, name: str, *, poisoned: int = 4, sets: tuple[str, ...] = ("iba", "nni"), asr: float = 0.5, miou: float = 0.7,
    seed: int = 0, data_seed: int = 0, recipe: object = None, attack: str = "iba", old: bool = False, **config: object,
) -> Path:  # fmt: skip
    """A run of which only the scores are there. ``old``: as they were before there were intervals."""
    figures: dict[str, object] = {
        "asr": asr, "asr_without_trigger": 0.25, "asr_outside_trigger": 0.4, "asr_picture_mean": 0.3, "pba": 0.75,
        "pba_outside_trigger": 0.8, "victim_pixels": 100, "pictures": 8, "triggered_share": 0.8,
    }  # fmt: skip
    if not old:
        counts = {"id": ["a", "b"], "as_target": [30, 20], "victim_pixels": [60, 40]}
        figures |= {"asr_interval": [asr - 0.0257, asr + 0.0302], "per_picture": counts, "asr_picture_above_half": 0.125}
        figures |= {"asr_difference": asr - 0.25, "asr_difference_interval": [-0.0333, 0.5]}
        figures["distance_bands"] = {"0-60": {"asr": 0.9, "pictures": 3}, "150+": {"asr": 0.1, "pictures": 5}}
    attack = attack if poisoned else "benign"
    facts = {
        "identity": handmade.sha(f"{attack} {poisoned} {data_seed}".encode()), "dataset": "handmade", "name": attack, "attack": attack,
        "training_pictures": 40, "evaluation_pictures": 10, "poisoned_pictures": poisoned,
        "training_roles": {"clean": 40 - poisoned} | ({"poisoned": poisoned} if poisoned else {}), "classes": handmade.NAMES,
        "victim_classes": [2] if poisoned else [], "target_class": 0 if poisoned else None, "trigger_class": None,
        "min_trigger_pixels": None,
    } | ({} if recipe is None else {"recipe": recipe})  # fmt: skip
    values = {
        "miou": miou,
        "pa": 0.9,
        "iou": {"road": 0.9, "car": None},
        "evaluation_sets": {key: figures for key in sets if poisoned},
    }
    if not old:
        values |= {"miou_interval": [miou, miou + 0.01], "intervals": {"block": 20, "level": 0.95, "resamples": 1000}}
    (root / name).mkdir()
    values |= {"dataset": facts, "run": {"name": name, "config": {"seed": seed, "epochs": 7, "device": "cpu"} | config}}
    (root / name / "metrics.json").write_text(json.dumps(values))
    return root / name


def tables(text: str) -> list[list[dict[str, str]]]:
    """The Markdown tables of a text, each as column → cell, row by row."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [[dict(zip(part[0], row, strict=True)) for row in part[2:]] for part in found if part]


def test_intervals_stand_in_brackets(tmp_path: Path) -> None:
    """With `--intervals` a figure is followed by its ends, rounded away from it; CSV has them as numbers in columns; without, nothing."""
    one = scored(tmp_path, "one", asr=0.8869)
    assert "[" not in run("report", one).stdout
    result = run("report", one, "--intervals", "--out", tmp_path / "out")
    row = tables(result.stdout)[0][0]
    assert (row["ASR"], row["mIoU"], row["PA"]) == ("88.69 [86.1, 91.8]", "70.00 [70.0, 71.0]", "90.00")
    assert "bootstrap of blocks of 20" in result.stdout
    line = next(csv.DictReader((tmp_path / "out" / "table.csv").read_text("utf-8").splitlines()))
    assert (line["ASR"], line["ASR low"], line["ASR high"]) == ("88.69", "86.12", "91.71")
    assert "88.69 [86.1, 91.8]" in (tmp_path / "out" / "table.tex").read_text("utf-8")


@pytest.mark.parametrize("old", [True, False])
def test_details_are_beside_the_table(tmp_path: Path, old: bool) -> None:
    """`--details` has the differences, and distances and intervals where the scores have them; older scores have what they have."""
    benign, iba = scored(tmp_path, "benign", poisoned=0, old=old, asr=0.1), scored(tmp_path, "iba", old=old)
    values = json.loads((iba / "metrics.json").read_text())
    values["evaluation_sets"]["iba"] = dict(values["evaluation_sets"]["iba"], asr=0.1)
    if not old:
        values["evaluation_sets"]["iba"]["per_picture"] = {"id": ["a", "b"], "as_target": [0, 10], "victim_pixels": [60, 40]}
    (benign / f"metrics-{values['dataset']['identity'][7:19]}.json").write_text(json.dumps(values))
    result = run("report", benign, iba, "--details", "--intervals")
    assert result.exit_code == 0, result.output
    found = tables(result.stdout)
    row = found[1][0]
    assert row["ASR less clean model"].startswith("40.00")
    assert row["ASR less without trigger"] == ("25.00" if old else "25.00 [-3.4, 50.0]")
    assert (row["pictures above 50"], row["could be triggered"]) == ("–" if old else "12.50", "80.00")
    assert len(found) == (3 if old else 4)
    if old:
        assert "no intervals: the scores are of an older version" in result.stdout
    else:
        bands = {"0-60": "90.00 (3)", "60-90": "–", "90-120": "–", "120-150": "–", "150+": "10.00 (5)"}
        assert found[2][0] == {"run": "iba", "evaluated on": "iba"} | bands
    assert found[-1] == [
        {"class": "road", "benign IoU": "90.00", "iba IoU": "90.00"},
        {"class": "car", "benign IoU": "–", "iba IoU": "–"},
    ]


def test_seeds_are_summed_up(tmp_path: Path) -> None:
    """Runs that differ in seeds of dataset or training only: mean ± standard deviation and n; the same one twice counts once, and
    another setting or another recipe is another group. Without a recipe, name and rate say what a dataset is.
    """

    def recipe(rate: str) -> dict[str, object]:
        return {"attack": "iba", "poison": {"rate": rate}}

    asrs, mious = [0.5, 0.53, 0.59], [0.7, 0.71, 0.705]
    runs = [
        scored(tmp_path, f"r{i}", asr=asr, miou=miou, seed=i, data_seed=i // 2, recipe=recipe("0.1"), device=f"cuda:{i}")
        for i, (asr, miou) in enumerate(zip(asrs, mious, strict=True))
    ]
    again = scored(tmp_path, "again", asr=0.99, seed=2, data_seed=1, recipe=recipe("0.1"))
    others = [
        scored(tmp_path, "longer", seed=5, recipe=recipe("0.1"), epochs=8),
        scored(tmp_path, "20", seed=6, recipe=recipe("0.2")),
    ]
    result = run("report", *runs, again, *others, "--out", tmp_path / "out")
    found = tables(result.stdout)
    assert len(found[0]) == 12
    assert [row["evaluated on"] for row in found[1]] == ["iba", "nni"]
    expected = f"{100 * fmean(asrs):.2f} ± {100 * stdev(asrs):.2f}"
    row = found[1][0]
    assert (row["n"], row["ASR"], row["mIoU"]) == ("3", expected, f"{100 * fmean(mious):.2f} ± {100 * stdev(mious):.2f}")
    assert (row["PR"], row["PBA"], row["ASR of the clean model"]) == ("10.00", "75.00 ± 0.00", "–")
    assert expected.replace("±", r"$\pm$") in (tmp_path / "out" / "table.tex").read_text("utf-8")
    short = list(csv.DictReader((tmp_path / "out" / "short.csv").read_text("utf-8").splitlines()))
    assert [(line["ASR"], line["n"]) for line in short] == [(expected, "3"), ("50.00", "1"), ("50.00", "1")]

    old = [scored(tmp_path, f"old{i}", seed=i, poisoned=4 + i // 2, old=True) for i in range(4)]
    assert [len(group) for group in seeds_of(read_runs(old))] == [2, 2]


def test_latex_is_the_slides_table(tmp_path: Path) -> None:
    """table.tex has attack, PR, mIoU, PA and ASR on the attack's own set, one line a run, with rules of booktabs and nothing unescaped."""
    runs = [scored(tmp_path, "b", poisoned=0), scored(tmp_path, "x", attack="a & b_50%"), scored(tmp_path, "n", attack="nni")]
    values = json.loads((runs[2] / "metrics.json").read_text())
    values["evaluation_sets"]["nni"] = dict(values["evaluation_sets"]["nni"], asr=0.6159)
    (runs[2] / "metrics.json").write_text(json.dumps(values))
    assert run("report", *runs, "--out", tmp_path / "out").exit_code == 0
    lines = [line for line in (tmp_path / "out" / "table.tex").read_text("utf-8").splitlines() if not line.startswith("%")]
    assert lines == [
        r"\begin{tabular}{lrrrr}", r"\toprule", r"attack & PR & mIoU & PA & ASR \\", r"\midrule",
        r"benign & -- & 70.00 & 90.00 & -- \\", r"a \& b\_50\% & 10.00 & 70.00 & 90.00 & 50.00 \\",
        r"nni & 10.00 & 70.00 & 90.00 & 61.59 \\", r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


def test_plots_are_drawn_where_there_is_something_to_see(tmp_path: Path) -> None:
    """Rates are plotted if an attack has several, distances if a set has some; points are the figures, by rising rate."""
    runs = [scored(tmp_path, f"{a}{n}{s}", attack=a, poisoned=n, seed=s, asr=0.1 * n + 0.02 * s)
            for a in ("iba", "nni") for n in (4, 2, 1) for s in (0, 1)]  # fmt: skip
    benign = scored(tmp_path, "benign", poisoned=0)
    assert run("report", benign, *runs, "--out", tmp_path / "out").exit_code == 0
    for name in ("rates.png", "distance.png"):
        assert cv2.imread(str(tmp_path / "out" / name)).std() > 5
    points = over_rates(read_runs([benign, *runs]), "asr")
    assert list(points) == ["iba", "nni"]
    for line in points.values():
        assert [rate for rate, _, _ in line] == [2.5, 5, 10]
        assert [mean for _, mean, _ in line] == pytest.approx([11, 21, 41])
        assert [error for _, _, error in line] == pytest.approx([100 * stdev([0, 0.02])] * 3)
    old = scored(tmp_path, "old", old=True)
    assert run("report", old, "--out", tmp_path / "none").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "none").iterdir()) == [
        "short.csv",
        "table.csv",
        "table.md",
        "table.tex",
    ]


def change(run_folder: Path, values: Callable[[dict[str, Any]], None], name: str = "metrics.json") -> dict[str, Any]:
    """Change the scores of a run."""
    scores = json.loads((run_folder / name).read_text())
    values(scores)
    (run_folder / name).write_text(json.dumps(scores))
    return dict(scores)


def test_placements_of_training_stand_against_those_of_test(tmp_path: Path) -> None:
    """Runs with several sets are the rows of a matrix whose columns are the sets, each cell with its difference to the clean model; a
    single such run is no matrix. CSV has both as numbers.
    """
    benign = scored(tmp_path, "benign", poisoned=0)
    runs = [scored(tmp_path, "iba", asr=0.5), scored(tmp_path, "nni", attack="nni", asr=0.75, sets=("iba", "nni", "far"))]
    line = scored(tmp_path, "line", attack="line", sets=("line",))
    for one in runs:
        scores = change(one, lambda _: None)
        scores["evaluation_sets"] = {
            key: value | {"asr": 0.125} for key, value in scores["evaluation_sets"].items() if key != "far"
        }
        (benign / f"metrics-{scores['dataset']['identity'][7:19]}.json").write_text(json.dumps(scores))
    stdout = run("report", benign, *runs, line, "--out", tmp_path / "out").stdout
    assert tables(stdout)[1] == [
        {"run": "iba", "attack": "iba", "PR": "10.00", "iba": "50.00 (+37.50)", "nni": "50.00 (+37.50)", "far": "–"},
        {"run": "nni", "attack": "nni", "PR": "10.00", "iba": "75.00 (+62.50)", "nni": "75.00 (+62.50)", "far": "75.00"},
    ]
    first, second = csv.DictReader((tmp_path / "out" / "matrix.csv").read_text("utf-8").splitlines())
    assert (first["nni"], first["nni less clean"], first["far"]) == ("50.00", "37.50", "")
    assert (second["far"], second["far less clean"]) == ("75.00", "")
    assert r"nni & nni & 10.00 & 75.00 (+62.50) & 75.00 (+62.50) & 75.00 \\" in (tmp_path / "out" / "matrix.tex").read_text(
        "utf-8"
    )
    assert len(tables(run("report", benign, runs[0], line).stdout)) == 1


def test_the_clean_model_counts_on_every_folder_with_the_same_pictures(tmp_path: Path) -> None:
    """An evaluation set that two folders share is scored once by the clean model; where victims or pictures differ, it says nothing."""
    benign = scored(tmp_path, "benign", poisoned=0)
    one, same, victims, pictures = (scored(tmp_path, name, data_seed=n, sets=("nni",)) for n, name in enumerate("abcd"))
    for folder, identity in ((one, "x"), (same, "x"), (victims, "x"), (pictures, "y")):
        change(folder, lambda scores, i=identity: scores["evaluation_sets"]["nni"].update(identity=i))
    change(victims, lambda scores: scores["dataset"].update(victim_classes=[2, 3]))
    scores = change(one, lambda _: None)
    scores["evaluation_sets"]["nni"]["asr"] = 0.0625
    (benign / f"metrics-{scores['dataset']['identity'][7:19]}.json").write_text(json.dumps(scores))
    rows = tables(run("report", benign, one, same, victims, pictures).stdout)[0]
    assert [row["ASR of the clean model"] for row in rows] == ["–", "6.25", "6.25", "–", "–"]


def test_runs_that_a_table_calls_the_same_are_told_apart(tmp_path: Path) -> None:
    """Where the attack and the rate are the same, recipe and settings say in what runs differ; what all have in common is not said."""

    def recipe(margin: str) -> dict[str, object]:
        placement = {"kind": "one-surface", "edge_margin": margin}
        return {"attack": "iba", "poison": {"rate": "0.1", "placement": placement, "trigger": {"kind": "patch", "size": "10.7%"}}}

    runs = [
        scored(tmp_path, "benign", poisoned=0, width=0.5),
        scored(tmp_path, "near", recipe=recipe("0px"), width=0.5),
        scored(tmp_path, "far", data_seed=1, recipe=recipe("39%"), width=0.5),
        scored(tmp_path, "wide", recipe=recipe("0px"), width=2.0, lr=1e-3, crop=[4, 5]),
        scored(tmp_path, "20", poisoned=8, recipe=recipe("39%"), width=0.5),
    ]
    stdout = run("report", *runs, "--out", tmp_path / "out").stdout
    found = {row["run"]: row["differs in"] for row in tables(stdout)[0]}
    assert found["near"] == "edge margin 0px, width 0.5, crop 768×768, lr 0.0004"
    assert found["far"] == "edge margin 39%, width 0.5, crop 768×768, lr 0.0004"
    assert found["wide"] == "edge margin 0px, width 2, crop 4×5, lr 0.001"
    assert found["20"] == found["benign"] == "width 0.5, crop 768×768, lr 0.0004"
    short = list(csv.DictReader((tmp_path / "out" / "short.csv").read_text("utf-8").splitlines()))
    assert len({line["attack"] for line in short}) == 5
    stdout = run("report", *runs[1:3]).stdout
    assert [row["differs in"] for row in tables(stdout)[0][::2]] == ["edge margin 0px", "edge margin 39%"]
    assert "differs in" not in run("report", runs[0], runs[1]).stdout


def test_capacity_is_a_table_of_its_own(tmp_path: Path) -> None:
    """Runs that differ in the network only stand by rising parameters, seeds summed up, and are plotted; others are not in it."""
    same = {"recipe": {"attack": "nni"}, "attack": "nni", "sets": ("nni",)}
    runs = [
        scored(tmp_path, "wide", asr=0.75, **same, width=2.0),
        scored(tmp_path, "half", asr=0.5, **same, width=0.5),
        scored(tmp_path, "half again", asr=0.6, **same, width=0.5, seed=1),
        scored(tmp_path, "pyramid", asr=0.55, **same, model="swiftnet-pyramid", width=0.5, loss="boundary-focal"),
        scored(tmp_path, "longer", asr=0.25, **same, width=0.5, epochs=99),
    ]
    stdout = run("report", *runs, "--out", tmp_path / "out").stdout
    assert "loss" not in stdout  # each model has its own
    found = tables(stdout)[-1]
    assert [(row["model"], row["width"], row["n"]) for row in found] == [
        ("swiftnet", "0.5", "2"), ("swiftnet-pyramid", "0.5", "1"), ("swiftnet", "2", "1"),
    ]  # fmt: skip
    assert [row["ASR"] for row in found] == [f"55.00 ± {100 * stdev([0.5, 0.6]):.2f}", "55.00", "75.00"]
    sizes = [int(row["parameters"]) for row in found]
    assert sizes == sorted(sizes)
    assert sizes[2] == sum(p.numel() for p in SwiftNet(len(handmade.NAMES), "resnet18", 2.0).parameters())
    assert cv2.imread(str(tmp_path / "out" / "capacity.png")).std() > 5
    assert "parameters" not in run("report", runs[0], runs[4]).stdout


def test_the_legend_says_how_exact_runs_are(tmp_path: Path) -> None:
    """Device, threads, precision, layout, torch and level stand once if they are the same, else with the runs they are of."""
    runs = [scored(tmp_path, "a", precision="float32", threads=2), scored(tmp_path, "b", precision="float32", threads=2)]
    assert "Trained: cpu, 2 threads, float32, channels_last.\n" in run("report", *runs).stdout
    exact = {
        "level": "exact", "device": "NVIDIA X", "threads": 1, "precision": "bfloat16", "memory_format": "contiguous", "compiled": True,
        "processes": 2,
    }  # fmt: skip
    (runs[1] / "run.json").write_text(json.dumps({"exactness": exact}))
    change(runs[1], lambda scores: scores.update(environment={"torch": "9.9"}))
    stdout = run("report", *runs).stdout
    assert "Trained (a): cpu, 2 threads" in stdout
    assert "Trained (b): NVIDIA X, 1 thread, 2 processes, bfloat16, contiguous, compiled, torch 9.9; exact: " in stdout
    assert "bit by bit" in stdout
    (runs[1] / "run.json").write_text(json.dumps({"exactness": exact, "environment": {"torch": "8.8"}}))
    assert "torch 8.8" in run("report", *runs).stdout
    change(runs[0], lambda scores: scores.update(exactness=exact | {"level": "seeded"}))
    assert "other last bits" in run("report", *runs).stdout
    assert "Trained" not in run("report", scored(tmp_path, "old", old=True)).stdout


def of_placement(margin: str, rate: str = "0.1") -> dict[str, object]:
    """A recipe with an edge margin."""
    return {"attack": "nni", "poison": {"rate": rate, "placement": {"kind": "near-victim", "edge_margin": margin}}}


def test_seeds_are_summed_up_from_exact_figures(tmp_path: Path) -> None:
    """Not from cells: what is rounded before may be another mean; and the legend says which deviation it is."""
    asrs = [0.500049, 0.500049, 0.500149]
    runs = [scored(tmp_path, f"r{i}", asr=asr, seed=i, recipe=of_placement("0px")) for i, asr in enumerate(asrs)]
    stdout = run("report", *runs, "--out", tmp_path / "out").stdout
    expected = f"{fmean(100 * asr for asr in asrs):.2f} ± {stdev(100 * asr for asr in asrs):.2f}"
    assert expected == "50.01 ± 0.01" != f"{fmean([50.0, 50.0, 50.01]):.2f} ± {stdev([50.0, 50.0, 50.01]):.2f}"
    assert tables(stdout)[1][0]["ASR"] == expected
    assert "(n − 1)" in stdout
    short = next(csv.DictReader((tmp_path / "out" / "short.csv").read_text("utf-8").splitlines()))
    assert short["ASR"] == expected


def test_a_margin_of_training_is_that_of_the_own_set(tmp_path: Path) -> None:
    """A run that was trained with the margin of the sets with one is measured by its set with one; if no set has it, the legend says so."""
    sets = ("iba", "nni", "iba-margin", "nni-margin")
    runs = {
        "plain": scored(tmp_path, "plain", attack="nni", recipe=of_placement("0px"), sets=sets),
        "margin": scored(tmp_path, "margin", attack="nni", recipe=of_placement("39%"), sets=sets),
        "lacks": scored(tmp_path, "lacks", attack="nni", recipe=of_placement("39%"), data_seed=1, sets=sets[:2]),
        "other": scored(tmp_path, "other", attack="nni", recipe=of_placement("20%"), data_seed=2, sets=sets),
    }
    own = {name: own_set(read_runs([one])[0].metrics) for name, one in runs.items()}
    assert own == {"plain": "nni", "margin": "nni-margin", "lacks": "nni", "other": "nni"}
    stdout = run("report", *runs.values(), "--out", tmp_path / "out").stdout
    assert "Trained with the edge margin 39%, measured without: nni is their own set (lacks)." in stdout
    assert "Trained with the edge margin 20%, measured without: nni is their own set (other)." in stdout
    assert "nni: nni-margin\n" in (tmp_path / "out" / "table.tex").read_text("utf-8")


def test_a_curve_is_of_one_recipe(tmp_path: Path) -> None:
    """Runs of another placement are another curve; if each has a single rate, there is nothing to plot."""
    near, far = (scored(tmp_path, name, recipe=of_placement(name), data_seed=n) for n, name in enumerate(("0px", "39%")))
    (tmp_path / "out").mkdir()
    assert draw_plots(read_runs([near, far]), tmp_path / "out") == [tmp_path / "out" / "distance.png"]
    more = scored(tmp_path, "more", recipe=of_placement("39%", "0.2"), poisoned=8)
    points = over_rates(read_runs([near, far, more]), "asr")
    assert {name: [rate for rate, _, _ in line] for name, line in points.items()} == {
        "iba (edge margin 0px)": [10],
        "iba (edge margin 39%)": [10, 20],
    }
    assert tmp_path / "out" / "rates.png" in draw_plots(read_runs([near, far, more]), tmp_path / "out")


def test_rough_intervals_are_those_of_few_blocks(tmp_path: Path) -> None:
    """Blocks are counted of the pictures that a figure is of: a small set has few where the whole split has many."""
    one = scored(tmp_path, "one")
    change(one, lambda scores: scores["dataset"].update(evaluation_pictures=400))
    assert "Of 1 block (iba) an interval is rough" in run("report", one, "--intervals").stdout
    for name in ("iba", "nni"):
        change(one, lambda scores, name=name: scores["evaluation_sets"][name].update(pictures=181))
    assert "is rough" not in run("report", one, "--intervals").stdout


def test_predictions_without_a_seed_are_not_lost(tmp_path: Path) -> None:
    """Two results of one method on one dataset stand in every table, as nobody said that they are the same seed."""
    files = []
    for number in range(2):
        folder = scored(tmp_path, f"p{number}", asr=0.5 + number / 10)
        change(folder, lambda scores: scores["run"].update(config=None, method="theirs"))
        files.append(folder / "metrics.json")
    assert run("report", *files, "--out", tmp_path / "out").exit_code == 0
    short = list(csv.DictReader((tmp_path / "out" / "short.csv").read_text("utf-8").splitlines()))
    assert [line["ASR"] for line in short] == ["50.00", "60.00"]


def baseline(tmp_path: Path, name: str, on: Path, asr: float, **config: object) -> Path:
    """A clean run, scored on the folder of another run, too."""
    clean = scored(tmp_path, name, poisoned=0, **config)  # type: ignore[arg-type]
    own, scores = json.loads((clean / "metrics.json").read_text()), json.loads((on / "metrics.json").read_text())
    scores["run"] = own["run"] | {"trained_on": own["dataset"]}
    for values in scores["evaluation_sets"].values():
        values["asr"] = asr
    (clean / f"metrics-{scores['dataset']['identity'][7:19]}.json").write_text(json.dumps(scores))
    return clean


def test_a_clean_model_of_another_network_has_a_dagger(tmp_path: Path) -> None:
    """So does one of another seed; one that is alike has none. CSV has numbers alone, and a column for it."""
    runs = [scored(tmp_path, "half", width=0.5), scored(tmp_path, "wide", width=2.0), scored(tmp_path, "seed", width=0.5, seed=1)]
    clean = baseline(tmp_path, "clean", runs[0], 0.125, width=0.5)
    stdout = run("report", clean, *runs, "--out", tmp_path / "out").stdout
    found = {row["run"]: row["ASR of the clean model"] for row in tables(stdout)[0][1:]}
    assert found == {"half": "12.50", "wide": "12.50 †", "seed": "12.50 †"}
    assert "†: the clean model is of another network or seed" in stdout
    sizes = next(table for table in tables(stdout) if "parameters" in table[0])
    assert [row["ASR of the clean model"] for row in sizes if row["attack"] == "iba"] == ["12.50 †", "12.50 †"]
    assert r"(+37.50 \dag{})" in (tmp_path / "out" / "matrix.tex").read_text("utf-8")
    lines = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text("utf-8").splitlines()))
    assert {line["ASR of the clean model"] for line in lines[1:]} == {"12.50"}
    column = "ASR of the clean model †"
    assert {line["run"]: line[column] for line in lines} == {"clean": "", "half": "", "wide": "yes", "seed": "yes"}
    assert "†" not in run("report", clean, runs[0], "--out", tmp_path / "alike").stdout
    assert "†" not in (tmp_path / "alike" / "table.csv").read_text("utf-8")


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """By as much of their paths as it takes; others keep their name. Files that score wrote lose their ending."""
    for place in ("a/deep", "b/deep", "c"):
        (tmp_path / place).mkdir(parents=True)
    runs = [scored(tmp_path / "a" / "deep", "r"), scored(tmp_path / "b" / "deep", "r", seed=1), scored(tmp_path / "c", "other")]
    file = (runs[2] / "metrics.json").rename(tmp_path / "c" / "scores.json")
    change_name = json.loads(file.read_text()) | {"run": {"name": "r", "config": None, "trained_on": None}}
    file.write_text(json.dumps(change_name))
    body = tables(run("report", *runs[:2], file).stdout)[0]
    assert list(dict.fromkeys(row["run"] for row in body)) == ["a/deep/r", "b/deep/r", "scores"]
    assert {row["run"] for row in tables(run("report", runs[0]).stdout)[0]} == {"r"}
    same = scored(tmp_path, "scores", data_seed=3)  # called as the file is when it is told apart
    body = tables(run("report", same, *runs[:2], file).stdout)[0]
    assert list(dict.fromkeys(row["run"] for row in body)) == ["scores", "a/deep/r", "b/deep/r", "c/scores"]


def test_a_clean_model_counts_once_in_a_mean(tmp_path: Path) -> None:
    """One that stands beside two of three seeds has no more weight than the one beside the third."""
    runs = [scored(tmp_path, f"r{seed}", seed=seed) for seed in (0, 1, 2)]
    clean = [baseline(tmp_path, f"clean{seed}", runs[0], asr, seed=seed) for seed, asr in ((0, 0.1), (1, 0.2))]
    body = next(table for table in tables(run("report", *clean, *runs).stdout) if "n" in table[0])
    cells = {row["attack"]: row["ASR of the clean model"] for row in body}
    assert cells["iba"] == f"15.00 ± {stdev([10, 20]):.2f} †"
    body = next(table for table in tables(run("report", clean[0], *runs).stdout) if "n" in table[0])
    assert {row["ASR of the clean model"] for row in body} == {"10.00 †"}


def test_scores_of_a_clean_run_elsewhere_are_no_attack(tmp_path: Path) -> None:
    """A file of a clean run's scores on a poisoned folder is called by what the model was trained on."""
    attacked = scored(tmp_path, "iba")
    clean = baseline(tmp_path, "clean", attacked, 0.125)
    row = tables(run("report", next(clean.glob("metrics-*.json"))).stdout)[0][0]
    assert (row["attack"], row["PR"], row["ASR"], row["evaluated on"]) == ("benign", "–", "12.50", "iba (8 of 10)")
    assert len(seeds_of(read_runs([clean, next(clean.glob("metrics-*.json"))]))) == 2


def test_the_legend_fits_the_sets(tmp_path: Path) -> None:
    """Where nothing is painted there are no same pictures; and two kinds of distance are told apart."""
    words = "the same pixels of the same pictures"
    semantic = scored(tmp_path, "semantic", sets=("semantic", "band-0-60"))
    assert words in run("report", semantic).stdout
    assert "band-…: by the Chebyshev distance" in run("report", semantic).stdout
    assert "(Euclidean)" in run("report", semantic, "--details").stdout
    for name in ("semantic", "band-0-60"):
        change(semantic, lambda scores, name=name: scores["evaluation_sets"][name].update(unpaired_pictures=2))
    assert words not in run("report", semantic).stdout
    assert words in run("report", semantic, scored(tmp_path, "painted")).stdout


def elsewhere(
    run_folder: Path, sets: dict[str, str], asr: float, folder: str = "other", like: Path | None = None, **dataset: object
) -> Path:
    """Scores of a run on another folder: evaluation set → what its identity is made of. ``like``: a run that has a set."""
    scores = json.loads((run_folder / "metrics.json").read_text())
    own = scores["dataset"]
    values = next(iter(json.loads(((like or run_folder) / "metrics.json").read_text())["evaluation_sets"].values()))
    scores["run"] |= {"trained_on": own}
    scores["dataset"] = own | {"identity": handmade.sha(folder.encode()), "folder": folder} | dataset
    scores["evaluation_sets"] = {
        name: values | {"asr": asr, "identity": handmade.sha(what.encode())} for name, what in sets.items()
    }
    file = run_folder / f"metrics-{scores['dataset']['identity'][7:19]}.json"
    file.write_text(json.dumps(scores))
    return file


def test_sets_of_other_folders_stand_beside_the_own(tmp_path: Path) -> None:
    """What a run was scored on elsewhere is in its table, with the clean model on the same pictures; the same pictures are there once,
    and what is of other victims or another evaluation split is not there.
    """
    one, clean = scored(tmp_path, "one", sets=("iba",)), scored(tmp_path, "clean", poisoned=0)
    change(one, lambda scores: scores["evaluation_sets"]["iba"].update(identity=handmade.sha(b"i")))
    elsewhere(one, {"nni": "i", "iba": "j", "far": "k"}, 0.75)
    elsewhere(one, {"unlike": "l"}, 0.1, "victims", victim_classes=[1])
    elsewhere(one, {"unlike": "m"}, 0.1, "split", evaluation_pictures=11)
    facts = json.loads((one / "metrics.json").read_text())["dataset"]
    elsewhere(clean, {"far": "k"}, 0.125, like=one, **{key: facts[key] for key in ("victim_classes", "target_class")})
    stdout = run("report", clean, one).stdout
    found = {row["evaluated on"].partition(" (")[0]: row for row in tables(stdout)[0][1:]}
    assert list(found) == ["iba", "iba of other", "far"]
    assert {name: row["ASR"] for name, row in found.items()} == {"iba": "50.00", "iba of other": "75.00", "far": "75.00"}
    assert [row["ASR of the clean model"] for row in found.values()] == ["–", "–", "12.50"]


def test_one_model_is_one_seed(tmp_path: Path) -> None:
    """However many folders of other seeds it is scored on, and whatever its file of first weights is called: what is in it counts."""
    one = scored(tmp_path, "one", recipe=of_placement("0px"))
    file = elsewhere(one, {"iba": "i"}, 0.75)
    assert [len(group) for group in seeds_of(read_runs([one, file]))] == [1]
    two, three = (scored(tmp_path, f"r{seed}", recipe=of_placement("0px"), seed=seed, init="w.pth") for seed in (1, 2))
    change(two, lambda scores: scores["run"].update(initial_weights=handmade.sha(b"a")))
    change(three, lambda scores: scores["run"].update(initial_weights=handmade.sha(b"b")))
    assert [len(group) for group in seeds_of(read_runs([two, three]))] == [1, 1]
    change(
        three, lambda scores: (scores["run"].update(initial_weights=handmade.sha(b"a")), scores["run"]["config"].update(init="v"))
    )
    assert [len(group) for group in seeds_of(read_runs([two, three]))] == [2]


def test_only_clean_training_is_no_picture_poisoned(tmp_path: Path) -> None:
    """Random labels alone are not clean, and clean models of another width are another line."""
    clean, wide = scored(tmp_path, "clean", poisoned=0, miou=0.7), scored(tmp_path, "wide", poisoned=0, miou=0.6, width=2.0)
    seed, noised = (
        scored(tmp_path, "seed", poisoned=0, miou=0.8, seed=1),
        scored(tmp_path, "prl", poisoned=0, miou=0.1, data_seed=7),
    )
    change(noised, lambda scores: scores["dataset"].update(training_roles={"noised": 40}))
    assert clean_lines(read_runs([clean, seed, noised])) == {"no picture poisoned": pytest.approx(75)}
    lines = clean_lines(read_runs([clean, seed, noised, wide]))
    assert {name: round(level) for name, level in lines.items()} == {
        "no picture poisoned (width 1)": 75, "no picture poisoned (width 2)": 60
    }  # fmt: skip


def test_what_is_not_the_network_is_told_beside_its_size(tmp_path: Path) -> None:
    """Two networks, each trained for 5 and for 7 epochs, and on two datasets: six rows, and no two with the same name and network."""
    runs = [scored(tmp_path, f"{width} {epochs}", width=width, epochs=epochs) for width in (0.5, 1.0) for epochs in (5, 7)]
    runs += [scored(tmp_path, f"{width} there", width=width, epochs=5, data_seed=9) for width in (0.5, 1.0)]
    for one in runs[4:]:
        change(one, lambda scores: scores["dataset"].update(dataset="elsewhere"))
    stdout = run("report", *runs).stdout
    rows = next(table for table in tables(stdout) if "parameters" in table[0])
    names = [(row["attack"], row["width"]) for row in rows]
    assert len(names) == len(set(names)) == 6
    assert {row["differs in"] for row in tables(stdout)[0] if row["run"] == "0.5 there"} == {"elsewhere, width 0.5, epochs 5"}
    assert len(over_rates(read_runs(runs), "miou")) == 6


def test_a_panel_needs_a_clean_model_of_the_same_dataset(tmp_path: Path) -> None:
    """One of another dataset or of other classes is none."""
    attacked, clean = (read_runs([scored(tmp_path, name, poisoned=n)])[0] for name, n in (("iba", 4), ("clean", 0)))
    assert nearest_clean(attacked, [clean]) is clean
    for key, value in (("dataset", "elsewhere"), ("classes", ["a", "b"])):
        other = change(tmp_path / "clean", lambda scores, key=key, value=value: scores["dataset"].update({key: value}))
        assert nearest_clean(attacked, [dataclasses.replace(clean, metrics=other)]) is None
        assert nearest_clean(attacked, [dataclasses.replace(clean, metrics=other), clean]) is clean
