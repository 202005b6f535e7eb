"""`report`: which runs are seeds of one, what tells others apart, and the plots over them."""

import csv
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import cv2
import pytest

from tests.support import handmade
from tests.support.scores import (
    as_predictions,
    baseline,
    change,
    elsewhere,
    of_placement,
    run,
    scored,
    tables,
    with_dataset,
    with_run,
    with_set,
)
from trainer.networks.swiftnet import SwiftNet
from trainer.scoring.scores import read_scores
from trainer.tables.groups import seeds_of, setting_words
from trainer.tables.plots import Spread, asr, by_distance, clean_lines, draw_plots, miou, over_rates
from trainer.tables.runs import read_runs
from trainer.typed_json import Figure


def csv_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV, each as column → cell."""
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def sizes_of_groups(*runs: Path) -> list[int]:
    """How many runs each group of seeds has."""
    return [len(group) for group in seeds_of(read_runs(runs))]


def in_words(values: list[float]) -> str:
    """Mean and standard deviation of fractions, as a table prints them."""
    percents = [100 * value for value in values]
    return f"{fmean(percents):.2f} ± {stdev(percents):.2f}"


def test_seeds_are_summed_up(tmp_path: Path) -> None:
    """Runs that differ in seeds of dataset or training only: mean ± standard deviation and n; the same one
    twice counts once, and another setting or another recipe is another group. Without a recipe, name and rate
    say what a dataset is.
    """

    def recipe(rate: str) -> dict[str, object]:
        return {"attack": "iba", "poison": {"rate": rate}}

    asrs, mious = [0.5, 0.53, 0.59], [0.7, 0.71, 0.705]
    runs = []
    for seed in range(3):
        facts: dict[str, Any] = {"data_seed": seed // 2, "recipe": recipe("0.1"), "device": f"cuda:{seed}"}
        runs.append(scored(tmp_path, f"r{seed}", asr=asrs[seed], miou=mious[seed], seed=seed, **facts))
    again = scored(tmp_path, "again", asr=0.99, seed=2, data_seed=1, recipe=recipe("0.1"))
    others = [
        scored(tmp_path, "longer", seed=5, recipe=recipe("0.1"), epochs=8),
        scored(tmp_path, "20", seed=6, recipe=recipe("0.2")),
    ]
    result = run("report", *runs, again, *others, "--out", tmp_path / "out")
    found = tables(result.stdout)
    assert len(found[0]) == 12
    assert [row["evaluated on"] for row in found[1]] == ["iba", "nni"]
    row = found[1][0]
    assert (row["n"], row["ASR"], row["mIoU"]) == ("3", in_words(asrs), in_words(mious))
    assert (row["PR"], row["PBA"], row["ASR of the clean model"]) == ("10.00", "75.00 ± 0.00", "–")
    latex = (tmp_path / "out" / "table.tex").read_text("utf-8")
    assert in_words(asrs).replace("±", r"$\pm$") in latex
    short = [(line["ASR"], line["n"]) for line in csv_rows(tmp_path / "out" / "short.csv")]
    assert short == [(in_words(asrs), "3"), ("50.00", "1"), ("50.00", "1")]

    plain = [scored(tmp_path, f"plain{i}", seed=i, poisoned=4 + i // 2) for i in range(4)]
    assert sizes_of_groups(*plain) == [2, 2]


def test_plots_are_drawn_where_there_is_something_to_see(tmp_path: Path) -> None:
    """Rates are plotted if an attack has several, distances if a set has some; points are the figures, by
    rising rate."""
    runs = []
    for attack in ("iba", "nni"):
        for poisoned in (4, 2, 1):
            for seed in (0, 1):
                name, share = f"{attack}{poisoned}{seed}", 0.1 * poisoned + 0.02 * seed
                runs.append(scored(tmp_path, name, attack=attack, poisoned=poisoned, seed=seed, asr=share))
    benign = scored(tmp_path, "benign", poisoned=0)
    assert run("report", benign, *runs, "--out", tmp_path / "out").exit_code == 0
    for name in ("rates.png", "distance.png"):
        assert cv2.imread(str(tmp_path / "out" / name)).std() > 5
    points = over_rates(read_runs([benign, *runs]), asr)
    assert list(points) == ["iba", "nni"]
    for line in points.values():
        assert [point.rate for point in line] == [2.5, 5, 10]
        assert [point.mean for point in line] == pytest.approx([11, 21, 41])
        assert [point.deviation for point in line] == pytest.approx([100 * stdev([0, 0.02])] * 3)
    alone = scored(tmp_path, "alone")
    for name in ("iba", "nni"):
        change(alone, lambda scores, name=name: with_set(scores, name, distance_bands={}))
    assert run("report", alone, "--out", tmp_path / "none").exit_code == 0
    written = sorted(path.name for path in (tmp_path / "none").iterdir())
    assert written == ["short.csv", "table.csv", "table.md", "table.tex"]


def test_distances_are_over_seeds(tmp_path: Path) -> None:
    """Sets of one band are the points of one line; bars are the deviation over seeds; of many lines those on
    such sets are kept."""
    sets = ("iba", "band-0-60", "band-60-90", "iba-decoy")
    runs = []
    for seed, (near, far) in enumerate([(0.5, 0.1), (0.75, 0.3)]):
        one = scored(tmp_path, f"r{seed}", seed=seed, sets=sets)
        for name, share in (("band-0-60", near), ("band-60-90", far)):
            change(one, lambda scores, name=name, share=share: with_set(scores, name, asr=Figure(share)))
        runs.append(one)
    lines = by_distance(read_runs(runs))
    assert list(lines) == ["r0 (2 seeds) on iba", "r0 (2 seeds) on bands"]
    assert lines["r0 (2 seeds) on bands"] == {
        "0-60": pytest.approx((62.5, 100 * stdev([0.5, 0.75]))),
        "60-90": pytest.approx((20, 100 * stdev([0.1, 0.3]))),
    }
    of_one = by_distance(read_runs(runs[:1]))
    assert of_one["r0 on bands"] == {"0-60": Spread(50, 0), "60-90": Spread(10, 0)}
    others = [scored(tmp_path, f"o{n}", poisoned=n, sets=("iba", "nni")) for n in range(5, 11)]
    assert list(by_distance(read_runs([*runs, *others]))) == ["r0 (2 seeds) on bands"]


def test_runs_that_a_table_calls_the_same_are_told_apart(tmp_path: Path) -> None:
    """Where the attack and the rate are the same, recipe and settings say in what runs differ; what all have
    in common is not said."""

    def recipe(margin: str) -> dict[str, object]:
        placement = {"kind": "one-surface", "edge_margin": margin}
        trigger = {"kind": "patch", "size": "10.7%"}
        return {"attack": "iba", "poison": {"rate": "0.1", "placement": placement, "trigger": trigger}}

    near, far = recipe("0px"), recipe("39%")
    runs = [
        scored(tmp_path, "benign", poisoned=0, width=0.5),
        scored(tmp_path, "near", recipe=near, width=0.5),
        scored(tmp_path, "far", data_seed=1, recipe=far, width=0.5),
        scored(tmp_path, "wide", recipe=near, width=2.0, lr=1e-3, crop=(4, 5)),
        scored(tmp_path, "20", poisoned=8, recipe=far, width=0.5),
    ]
    stdout = run("report", *runs, "--out", tmp_path / "out").stdout
    found = {row["run"]: row["differs in"] for row in tables(stdout)[0]}
    assert found["near"] == "edge margin 0px, width 0.5, crop 768×768, lr 0.0004"
    assert found["far"] == "edge margin 39%, width 0.5, crop 768×768, lr 0.0004"
    assert found["wide"] == "edge margin 0px, width 2, crop 4×5, lr 0.001"
    assert found["20"] == found["benign"] == "width 0.5, crop 768×768, lr 0.0004"
    assert len({line["attack"] for line in csv_rows(tmp_path / "out" / "short.csv")}) == 5
    stdout = run("report", *runs[1:3]).stdout
    assert [row["differs in"] for row in tables(stdout)[0][::2]] == ["edge margin 0px", "edge margin 39%"]
    assert "differs in" not in run("report", runs[0], runs[1]).stdout


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("flip", "true", "flip"),
        ("take what fits", "no", "no take what fits"),
        ("input_scale", "0.5", "input scale 0.5"),
        ("crop", "360x480", "crop 360×480"),
        ("scale", "0.5x2", "scale 0.5×2"),
        ("init", "x1.pth", "init x1.pth"),
        ("init", handmade.sha(b"x"), f"init {handmade.sha(b'x')[7:19]}"),
    ],
)
def test_a_setting_in_words(name: str, value: str, words: str) -> None:
    """Booleans by their names alone, several numbers with ×, digests by their first digits."""
    assert setting_words(name, value) == words


def test_capacity_is_a_table_of_its_own(tmp_path: Path) -> None:
    """Runs that differ in the network only stand by rising parameters, seeds summed up, and are plotted;
    others are not in it."""
    same: dict[str, Any] = {"recipe": {"attack": "nni"}, "attack": "nni", "sets": ("nni",)}
    pyramid: dict[str, Any] = {"model": "swiftnet-pyramid", "width": 0.5}
    runs = [
        scored(tmp_path, "wide", asr=0.75, **same, width=2.0),
        scored(tmp_path, "half", asr=0.5, **same, width=0.5),
        scored(tmp_path, "half again", asr=0.6, **same, width=0.5, seed=1),
        scored(tmp_path, "pyramid", asr=0.55, **same, **pyramid, loss="boundary-focal"),
        scored(tmp_path, "longer", asr=0.25, **same, width=0.5, epochs=99),
    ]
    stdout = run("report", *runs, "--out", tmp_path / "out").stdout
    assert "loss" not in stdout  # each model has its own
    found = tables(stdout)[-2]
    networks = [(row["model"], row["width"], row["n"]) for row in found]
    assert networks == [("swiftnet", "0.5", "2"), ("swiftnet-pyramid", "0.5", "1"), ("swiftnet", "2", "1")]
    assert [row["ASR"] for row in found] == [in_words([0.5, 0.6]), "55.00", "75.00"]
    sizes = [int(row["parameters"]) for row in found]
    assert sizes == sorted(sizes)
    wide = SwiftNet(len(handmade.NAMES), "resnet18", 2.0)
    assert sizes[2] == sum(parameter.numel() for parameter in wide.parameters())
    assert cv2.imread(str(tmp_path / "out" / "capacity.png")).std() > 5
    assert "parameters" not in run("report", runs[0], runs[4]).stdout
    plain = scored(tmp_path, "plain", **same, **pyramid, loss="cross-entropy")
    found = tables(run("report", *runs, plain).stdout)[-2]
    losses = [row["loss"] for row in found if row["model"] == "swiftnet-pyramid"]
    assert sorted(losses) == ["boundary-focal", "cross-entropy"]


def test_seeds_are_summed_up_from_exact_figures(tmp_path: Path) -> None:
    """Not from cells: what is rounded before may be another mean; and the legend says which deviation it
    is."""
    asrs = [0.500049, 0.500049, 0.500149]
    recipe = of_placement("0px")
    runs = [scored(tmp_path, f"r{seed}", asr=asrs[seed], seed=seed, recipe=recipe) for seed in range(3)]
    stdout = run("report", *runs, "--out", tmp_path / "out").stdout
    expected = in_words(asrs)
    assert expected == "50.01 ± 0.01" != in_words([0.5, 0.5, 0.5001])
    assert tables(stdout)[1][0]["ASR"] == expected
    assert "(n − 1)" in stdout
    assert csv_rows(tmp_path / "out" / "short.csv")[0]["ASR"] == expected


def test_a_curve_is_of_one_recipe(tmp_path: Path) -> None:
    """Runs of another placement are another curve; if each has a single rate, there is nothing to plot."""
    near = scored(tmp_path, "0px", recipe=of_placement("0px"), data_seed=0)
    far = scored(tmp_path, "39%", recipe=of_placement("39%"), data_seed=1)
    out = tmp_path / "out"
    out.mkdir()
    assert draw_plots(read_runs([near, far]), out) == [out / "distance.png"]
    more = scored(tmp_path, "more", recipe=of_placement("39%", "0.2"), poisoned=8)
    rates = {}
    for name, line in over_rates(read_runs([near, far, more]), asr).items():
        rates[name] = [point.rate for point in line]
    assert rates == {"iba (edge margin 0px)": [10], "iba (edge margin 39%)": [10, 20]}
    assert out / "rates.png" in draw_plots(read_runs([near, far, more]), out)


def test_predictions_without_a_seed_are_not_lost(tmp_path: Path) -> None:
    """Two results of one method on one dataset stand in every table, as nobody said that they are the same
    seed."""
    files = []
    for number in range(2):
        folder = scored(tmp_path, f"p{number}", asr=0.5 + number / 10)
        change(folder, lambda scores: as_predictions(scores, method="theirs"))
        files.append(folder / "metrics.json")
    assert run("report", *files, "--out", tmp_path / "out").exit_code == 0
    short = csv_rows(tmp_path / "out" / "short.csv")
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
    change(runs[2], lambda scores: as_predictions(scores, name="r"))
    file = (runs[2] / "metrics.json").rename(tmp_path / "c" / "scores.json")

    def names(*paths: Path) -> list[str]:
        body = tables(run("report", *paths).stdout)[0]
        return list(dict.fromkeys(row["run"] for row in body))

    assert names(*runs[:2], file) == ["a/deep/r", "b/deep/r", "scores"]
    assert names(runs[0]) == ["r"]
    same = scored(tmp_path, "scores", data_seed=3)  # called as the file is when it is told apart
    assert names(same, *runs[:2], file) == ["scores", "a/deep/r", "b/deep/r", "c/scores"]


def test_a_clean_model_counts_once_in_a_mean(tmp_path: Path) -> None:
    """One that is that of two of three seeds has no more weight than the one of the third."""
    runs = [scored(tmp_path, f"r{seed}", seed=seed) for seed in (0, 1, 2)]
    clean = [
        baseline(tmp_path, "clean0", runs[0], 0.1, seed=0),
        baseline(tmp_path, "clean1", runs[0], 0.2, seed=1),
    ]
    body = next(table for table in tables(run("report", *clean, *runs).stdout) if "n" in table[0])
    cells = {row["attack"]: row["ASR of the clean model"] for row in body}
    assert cells["iba"] == f"15.00 ± {stdev([10, 20]):.2f} †"
    body = next(table for table in tables(run("report", clean[0], *runs).stdout) if "n" in table[0])
    assert {row["ASR of the clean model"] for row in body} == {"10.00 †"}


def test_one_model_is_one_seed(tmp_path: Path) -> None:
    """However many folders of other seeds it is scored on, and whatever its file of first weights is called:
    what is in it counts."""
    recipe = of_placement("0px")
    one = scored(tmp_path, "one", recipe=recipe)
    assert sizes_of_groups(one, elsewhere(one, {"iba": "i"}, 0.75)) == [1]
    two = scored(tmp_path, "r1", recipe=recipe, seed=1, init="w.pth")
    three = scored(tmp_path, "r2", recipe=recipe, seed=2, init="w.pth")
    change(two, lambda scores: with_run(scores, initial_weights=handmade.sha(b"a")))
    change(three, lambda scores: with_run(scores, initial_weights=handmade.sha(b"b")))
    assert sizes_of_groups(two, three) == [1, 1]
    settings = dict(read_scores(three / "metrics.json").run.settings or {}) | {"init": "v"}
    change(three, lambda scores: with_run(scores, initial_weights=handmade.sha(b"a"), settings=settings))
    assert sizes_of_groups(two, three) == [2]


@pytest.mark.parametrize(("kind", "sizes"), [("patch", [2]), ("patch-folder", [1, 1])])
def test_triggers_that_no_recipe_names_are_no_seeds(tmp_path: Path, kind: str, sizes: list[int]) -> None:
    """A picture for each sample may be any pictures: of two such datasets nobody knows that they differ in
    the seed alone."""
    recipe = {"attack": "iba", "trigger": {"kind": kind, "size": "own"}}
    assert sizes_of_groups(*(scored(tmp_path, f"r{n}", recipe=recipe, data_seed=n) for n in (1, 2))) == sizes
    again = [scored(tmp_path, f"s{seed}", recipe=recipe, data_seed=1, seed=seed) for seed in (3, 4)]
    assert sizes_of_groups(*again) == [2]


def test_only_clean_training_is_no_picture_poisoned(tmp_path: Path) -> None:
    """Random labels alone are not clean, and clean models of another width are another line."""
    clean = scored(tmp_path, "clean", poisoned=0, miou=0.7)
    wide = scored(tmp_path, "wide", poisoned=0, miou=0.6, width=2.0)
    seed = scored(tmp_path, "seed", poisoned=0, miou=0.8, seed=1)
    noised = scored(tmp_path, "prl", poisoned=0, miou=0.1, data_seed=7)
    change(noised, lambda scores: with_dataset(scores, training_roles={"noised": 40}))
    assert clean_lines(read_runs([clean, seed, noised])) == {"no picture poisoned": pytest.approx(75)}
    lines = clean_lines(read_runs([clean, seed, noised, wide]))
    levels = {name: round(level) for name, level in lines.items()}
    assert levels == {"no picture poisoned (width 1)": 75, "no picture poisoned (width 2)": 60}


def test_what_is_not_the_network_is_told_beside_its_size(tmp_path: Path) -> None:
    """Two networks, each trained for 5 and for 7 epochs, and on two datasets: six rows, and no two with the
    same name and network."""
    runs = []
    for width in (0.5, 1.0):
        for epochs in (5, 7):
            runs.append(scored(tmp_path, f"{width} {epochs}", width=width, epochs=epochs))
        there = scored(tmp_path, f"{width} there", width=width, epochs=5, data_seed=9)
        change(there, lambda scores: with_dataset(scores, dataset="elsewhere"))
        runs.append(there)
    stdout = run("report", *runs).stdout
    rows = next(table for table in tables(stdout) if "parameters" in table[0])
    names = [(row["attack"], row["width"]) for row in rows]
    assert len(names) == len(set(names)) == 6
    differs = {row["differs in"] for row in tables(stdout)[0] if row["run"] == "0.5 there"}
    assert differs == {"elsewhere, width 0.5, epochs 5"}
    assert len(over_rates(read_runs(runs), miou)) == 6
