"""`report`: which runs are seeds of one, what tells others apart, and the plots over them."""

import csv
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import cv2
import pytest

from tests.support import handmade
from tests.support.scores import baseline, change, elsewhere, of_placement, run, scored, tables
from trainer.networks.swiftnet import SwiftNet
from trainer.tables.plots import by_distance, clean_lines, draw_plots, over_rates
from trainer.tables.runs import read_runs, seeds_of


def test_seeds_are_summed_up(tmp_path: Path) -> None:
    """Runs that differ in seeds of dataset or training only: mean ± standard deviation and n; the same one
    twice counts once, and another setting or another recipe is another group. Without a recipe, name and rate
    say what a dataset is.
    """

    def recipe(rate: str) -> dict[str, object]:
        return {"attack": "iba", "poison": {"rate": rate}}

    asrs, mious = [0.5, 0.53, 0.59], [0.7, 0.71, 0.705]
    runs = [
        scored(
            tmp_path,
            f"r{i}",
            asr=asr,
            miou=miou,
            seed=i,
            data_seed=i // 2,
            recipe=recipe("0.1"),
            device=f"cuda:{i}",
        )
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
    assert (row["n"], row["ASR"], row["mIoU"]) == (
        "3",
        expected,
        f"{100 * fmean(mious):.2f} ± {100 * stdev(mious):.2f}",
    )
    assert (row["PR"], row["PBA"], row["ASR of the clean model"]) == ("10.00", "75.00 ± 0.00", "–")
    assert expected.replace("±", r"$\pm$") in (tmp_path / "out" / "table.tex").read_text("utf-8")
    short = list(csv.DictReader((tmp_path / "out" / "short.csv").read_text("utf-8").splitlines()))
    assert [(line["ASR"], line["n"]) for line in short] == [(expected, "3"), ("50.00", "1"), ("50.00", "1")]

    old = [scored(tmp_path, f"old{i}", seed=i, poisoned=4 + i // 2, old=True) for i in range(4)]
    assert [len(group) for group in seeds_of(read_runs(old))] == [2, 2]


@pytest.mark.long
def test_plots_are_drawn_where_there_is_something_to_see(tmp_path: Path) -> None:
    """Rates are plotted if an attack has several, distances if a set has some; points are the figures, by
    rising rate."""
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


def test_distances_are_over_seeds(tmp_path: Path) -> None:
    """Sets of one band are the points of one line; bars are the deviation over seeds; of many lines those on
    such sets are kept."""
    runs = []
    for seed, (near, far) in enumerate([(0.5, 0.1), (0.75, 0.3)]):
        runs.append(
            scored(tmp_path, f"r{seed}", seed=seed, sets=("iba", "band-0-60", "band-60-90", "iba-decoy"))
        )

        def set_to(scores: dict[str, Any], near: float = near, far: float = far) -> None:
            for name, asr in (("band-0-60", near), ("band-60-90", far)):
                scores["evaluation_sets"][name] = {**scores["evaluation_sets"][name], "asr": asr}

        change(runs[-1], set_to)
    lines = by_distance(read_runs(runs))
    assert list(lines) == ["r0 (2 seeds) on iba", "r0 (2 seeds) on bands"]
    assert lines["r0 (2 seeds) on bands"] == {
        "0-60": pytest.approx((62.5, 100 * stdev([0.5, 0.75]))),
        "60-90": pytest.approx((20, 100 * stdev([0.1, 0.3]))),
    }
    assert by_distance(read_runs(runs[:1]))["r0 on bands"] == {"0-60": (50, 0), "60-90": (10, 0)}
    others = [scored(tmp_path, f"o{n}", poisoned=n, sets=("iba", "nni")) for n in range(5, 11)]
    assert list(by_distance(read_runs([*runs, *others]))) == ["r0 (2 seeds) on bands"]


@pytest.mark.long
def test_runs_that_a_table_calls_the_same_are_told_apart(tmp_path: Path) -> None:
    """Where the attack and the rate are the same, recipe and settings say in what runs differ; what all have
    in common is not said."""

    def recipe(margin: str) -> dict[str, object]:
        placement = {"kind": "one-surface", "edge_margin": margin}
        return {
            "attack": "iba",
            "poison": {"rate": "0.1", "placement": placement, "trigger": {"kind": "patch", "size": "10.7%"}},
        }

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


@pytest.mark.long
def test_capacity_is_a_table_of_its_own(tmp_path: Path) -> None:
    """Runs that differ in the network only stand by rising parameters, seeds summed up, and are plotted;
    others are not in it."""
    same = {"recipe": {"attack": "nni"}, "attack": "nni", "sets": ("nni",)}
    runs = [
        scored(tmp_path, "wide", asr=0.75, **same, width=2.0),
        scored(tmp_path, "half", asr=0.5, **same, width=0.5),
        scored(tmp_path, "half again", asr=0.6, **same, width=0.5, seed=1),
        scored(
            tmp_path, "pyramid", asr=0.55, **same, model="swiftnet-pyramid", width=0.5, loss="boundary-focal"
        ),
        scored(tmp_path, "longer", asr=0.25, **same, width=0.5, epochs=99),
    ]
    stdout = run("report", *runs, "--out", tmp_path / "out").stdout
    assert "loss" not in stdout  # each model has its own
    found = tables(stdout)[-2]
    assert [(row["model"], row["width"], row["n"]) for row in found] == [
        ("swiftnet", "0.5", "2"), ("swiftnet-pyramid", "0.5", "1"), ("swiftnet", "2", "1"),
    ]  # fmt: skip
    assert [row["ASR"] for row in found] == [f"55.00 ± {100 * stdev([0.5, 0.6]):.2f}", "55.00", "75.00"]
    sizes = [int(row["parameters"]) for row in found]
    assert sizes == sorted(sizes)
    assert sizes[2] == sum(p.numel() for p in SwiftNet(len(handmade.NAMES), "resnet18", 2.0).parameters())
    assert cv2.imread(str(tmp_path / "out" / "capacity.png")).std() > 5
    assert "parameters" not in run("report", runs[0], runs[4]).stdout
    plain = scored(tmp_path, "plain", **same, model="swiftnet-pyramid", width=0.5, loss="cross-entropy")
    losses = [
        row["loss"]
        for row in tables(run("report", *runs, plain).stdout)[-2]
        if row["model"] == "swiftnet-pyramid"
    ]
    assert sorted(losses) == ["boundary-focal", "cross-entropy"]


def test_seeds_are_summed_up_from_exact_figures(tmp_path: Path) -> None:
    """Not from cells: what is rounded before may be another mean; and the legend says which deviation it
    is."""
    asrs = [0.500049, 0.500049, 0.500149]
    runs = [
        scored(tmp_path, f"r{i}", asr=asr, seed=i, recipe=of_placement("0px")) for i, asr in enumerate(asrs)
    ]
    stdout = run("report", *runs, "--out", tmp_path / "out").stdout
    expected = f"{fmean(100 * asr for asr in asrs):.2f} ± {stdev(100 * asr for asr in asrs):.2f}"
    assert (
        expected == "50.01 ± 0.01" != f"{fmean([50.0, 50.0, 50.01]):.2f} ± {stdev([50.0, 50.0, 50.01]):.2f}"
    )
    assert tables(stdout)[1][0]["ASR"] == expected
    assert "(n − 1)" in stdout
    short = next(csv.DictReader((tmp_path / "out" / "short.csv").read_text("utf-8").splitlines()))
    assert short["ASR"] == expected


def test_a_curve_is_of_one_recipe(tmp_path: Path) -> None:
    """Runs of another placement are another curve; if each has a single rate, there is nothing to plot."""
    near, far = (
        scored(tmp_path, name, recipe=of_placement(name), data_seed=n)
        for n, name in enumerate(("0px", "39%"))
    )
    (tmp_path / "out").mkdir()
    assert draw_plots(read_runs([near, far]), tmp_path / "out") == [tmp_path / "out" / "distance.png"]
    more = scored(tmp_path, "more", recipe=of_placement("39%", "0.2"), poisoned=8)
    points = over_rates(read_runs([near, far, more]), "asr")
    assert {name: [rate for rate, _, _ in line] for name, line in points.items()} == {
        "iba (edge margin 0px)": [10],
        "iba (edge margin 39%)": [10, 20],
    }
    assert tmp_path / "out" / "rates.png" in draw_plots(read_runs([near, far, more]), tmp_path / "out")


def test_predictions_without_a_seed_are_not_lost(tmp_path: Path) -> None:
    """Two results of one method on one dataset stand in every table, as nobody said that they are the same
    seed."""
    files = []
    for number in range(2):
        folder = scored(tmp_path, f"p{number}", asr=0.5 + number / 10)
        change(folder, lambda scores: scores["run"].update(config=None, method="theirs"))
        files.append(folder / "metrics.json")
    assert run("report", *files, "--out", tmp_path / "out").exit_code == 0
    short = list(csv.DictReader((tmp_path / "out" / "short.csv").read_text("utf-8").splitlines()))
    assert [line["ASR"] for line in short] == ["50.00", "60.00"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """By as much of their paths as it takes; others keep their name. Files that score wrote lose their
    ending."""
    for place in ("a/deep", "b/deep", "c"):
        (tmp_path / place).mkdir(parents=True)
    runs = [
        scored(tmp_path / "a" / "deep", "r"),
        scored(tmp_path / "b" / "deep", "r", seed=1),
        scored(tmp_path / "c", "other"),
    ]
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
    clean = [
        baseline(tmp_path, f"clean{seed}", runs[0], asr, seed=seed) for seed, asr in ((0, 0.1), (1, 0.2))
    ]
    body = next(table for table in tables(run("report", *clean, *runs).stdout) if "n" in table[0])
    cells = {row["attack"]: row["ASR of the clean model"] for row in body}
    assert cells["iba"] == f"15.00 ± {stdev([10, 20]):.2f} †"
    body = next(table for table in tables(run("report", clean[0], *runs).stdout) if "n" in table[0])
    assert {row["ASR of the clean model"] for row in body} == {"10.00 †"}


def test_one_model_is_one_seed(tmp_path: Path) -> None:
    """However many folders of other seeds it is scored on, and whatever its file of first weights is called:
    what is in it counts."""
    one = scored(tmp_path, "one", recipe=of_placement("0px"))
    file = elsewhere(one, {"iba": "i"}, 0.75)
    assert [len(group) for group in seeds_of(read_runs([one, file]))] == [1]
    two, three = (
        scored(tmp_path, f"r{seed}", recipe=of_placement("0px"), seed=seed, init="w.pth") for seed in (1, 2)
    )
    change(two, lambda scores: scores["run"].update(initial_weights=handmade.sha(b"a")))
    change(three, lambda scores: scores["run"].update(initial_weights=handmade.sha(b"b")))
    assert [len(group) for group in seeds_of(read_runs([two, three]))] == [1, 1]
    change(
        three,
        lambda scores: (
            scores["run"].update(initial_weights=handmade.sha(b"a")),
            scores["run"]["config"].update(init="v"),
        ),
    )
    assert [len(group) for group in seeds_of(read_runs([two, three]))] == [2]


@pytest.mark.parametrize(("kind", "sizes"), [("patch", [2]), ("patch-folder", [1, 1])])
def test_triggers_that_no_recipe_names_are_no_seeds(tmp_path: Path, kind: str, sizes: list[int]) -> None:
    """A picture for each sample may be any pictures: of two such datasets nobody knows that they differ in
    the seed alone."""
    recipe = {"attack": "iba", "trigger": {"kind": kind, "size": "own"}}
    runs = [scored(tmp_path, f"r{seed}", recipe=recipe, data_seed=seed) for seed in (1, 2)]
    assert [len(group) for group in seeds_of(read_runs(runs))] == sizes
    again = [scored(tmp_path, f"s{seed}", recipe=recipe, data_seed=1, seed=seed) for seed in (3, 4)]
    assert [len(group) for group in seeds_of(read_runs(again))] == [2]


def test_only_clean_training_is_no_picture_poisoned(tmp_path: Path) -> None:
    """Random labels alone are not clean, and clean models of another width are another line."""
    clean, wide = (
        scored(tmp_path, "clean", poisoned=0, miou=0.7),
        scored(tmp_path, "wide", poisoned=0, miou=0.6, width=2.0),
    )
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
    """Two networks, each trained for 5 and for 7 epochs, and on two datasets: six rows, and no two with the
    same name and network."""
    runs = [
        scored(tmp_path, f"{width} {epochs}", width=width, epochs=epochs)
        for width in (0.5, 1.0)
        for epochs in (5, 7)
    ]
    runs += [scored(tmp_path, f"{width} there", width=width, epochs=5, data_seed=9) for width in (0.5, 1.0)]
    for one in runs[4:]:
        change(one, lambda scores: scores["dataset"].update(dataset="elsewhere"))
    stdout = run("report", *runs).stdout
    rows = next(table for table in tables(stdout) if "parameters" in table[0])
    names = [(row["attack"], row["width"]) for row in rows]
    assert len(names) == len(set(names)) == 6
    assert {row["differs in"] for row in tables(stdout)[0] if row["run"] == "0.5 there"} == {
        "elsewhere, width 0.5, epochs 5"
    }
    assert len(over_rates(read_runs(runs), "miou")) == 6
