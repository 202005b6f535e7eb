"""`report`: tables, LaTeX, the clean model beside a run, from scores of today and of older versions."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from tests.support import handmade
from tests.support.scores import baseline, change, elsewhere, of_placement, run, scored, tables
from trainer.tables.runs import nearest_clean, own_set, read_runs, seeds_of


def test_intervals_stand_in_brackets(tmp_path: Path) -> None:
    """With `--intervals` a figure is followed by its ends, rounded away from it; CSV has them as numbers in
    columns; without, nothing."""
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
    """`--details` has the differences, and distances and intervals where the scores have them; older scores
    have what they have."""
    benign, iba = scored(tmp_path, "benign", poisoned=0, old=old, asr=0.1), scored(tmp_path, "iba", old=old)
    values = json.loads((iba / "metrics.json").read_text())
    values["evaluation_sets"]["iba"] = dict(values["evaluation_sets"]["iba"], asr=0.1)
    if not old:
        values["evaluation_sets"]["iba"]["per_picture"] = {
            "id": ["a", "b"],
            "as_target": [0, 10],
            "victim_pixels": [60, 40],
        }
    (benign / f"metrics-{values['dataset']['identity'][7:19]}.json").write_text(json.dumps(values))
    result = run("report", benign, iba, "--details", "--intervals")
    assert result.exit_code == 0, result.output
    found = tables(result.stdout)
    row = found[1][0]
    assert row["ASR less clean model"].startswith("40.00")
    assert row["ASR less without trigger"] == ("25.00" if old else "25.00 [-3.4, 50.0]")
    assert (row["pictures above 50"], row["could be triggered"]) == ("–" if old else "12.50", "80.00")
    assert len(found) == (4 if old else 5)
    if old:
        assert "no intervals: the scores are of an older version" in result.stdout
    else:
        bands = {"0-60": "90.00 (3)", "60-90": "–", "90-120": "–", "120-150": "–", "150+": "10.00 (5)"}
        assert found[2][0] == {"run": "iba", "evaluated on": "iba"} | bands
    assert found[-2] == [
        {"class": "road", "benign IoU": "90.00", "iba IoU": "90.00"},
        {"class": "car", "benign IoU": "–", "iba IoU": "–"},
    ]


def test_latex_is_the_slides_table(tmp_path: Path) -> None:
    """table.tex has attack, PR, mIoU, PA and ASR on the attack's own set, one line a run, with rules of
    booktabs and nothing unescaped."""
    runs = [
        scored(tmp_path, "b", poisoned=0),
        scored(tmp_path, "x", attack="a & b_50%"),
        scored(tmp_path, "n", attack="nni"),
    ]
    values = json.loads((runs[2] / "metrics.json").read_text())
    values["evaluation_sets"]["nni"] = dict(values["evaluation_sets"]["nni"], asr=0.6159)
    (runs[2] / "metrics.json").write_text(json.dumps(values))
    assert run("report", *runs, "--out", tmp_path / "out").exit_code == 0
    lines = [
        line
        for line in (tmp_path / "out" / "table.tex").read_text("utf-8").splitlines()
        if not line.startswith("%")
    ]
    assert lines == [
        r"\begin{tabular}{lrrrr}", r"\toprule", r"attack & PR & mIoU & PA & ASR \\", r"\midrule",
        r"benign & -- & 70.00 & 90.00 & -- \\", r"a \& b\_50\% & 10.00 & 70.00 & 90.00 & 50.00 \\",
        r"nni & 10.00 & 70.00 & 90.00 & 61.59 \\", r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


@pytest.mark.long
def test_placements_of_training_stand_against_those_of_test(tmp_path: Path) -> None:
    """Runs with several sets are the rows of a matrix whose columns are the sets, each cell with its
    difference to the clean model; a single such run is no matrix. CSV has both as numbers.
    """
    benign = scored(tmp_path, "benign", poisoned=0)
    runs = [
        scored(tmp_path, "iba", asr=0.5),
        scored(tmp_path, "nni", attack="nni", asr=0.75, sets=("iba", "nni", "far")),
    ]
    line = scored(tmp_path, "line", attack="line", sets=("line",))
    for one in runs:
        scores = change(one, lambda _: None)
        scores["evaluation_sets"] = {
            key: value | {"asr": 0.125} for key, value in scores["evaluation_sets"].items() if key != "far"
        }
        (benign / f"metrics-{scores['dataset']['identity'][7:19]}.json").write_text(json.dumps(scores))
    stdout = run("report", benign, *runs, line, "--out", tmp_path / "out").stdout
    assert tables(stdout)[1] == [
        {
            "run": "iba",
            "attack": "iba",
            "PR": "10.00",
            "iba": "50.00 (+37.50)",
            "nni": "50.00 (+37.50)",
            "far": "–",
        },
        {
            "run": "nni",
            "attack": "nni",
            "PR": "10.00",
            "iba": "75.00 (+62.50)",
            "nni": "75.00 (+62.50)",
            "far": "75.00",
        },
    ]
    first, second = csv.DictReader((tmp_path / "out" / "matrix.csv").read_text("utf-8").splitlines())
    assert (first["nni"], first["nni less clean"], first["far"]) == ("50.00", "37.50", "")
    assert (second["far"], second["far less clean"]) == ("75.00", "")
    assert r"nni & nni & 10.00 & 75.00 (+62.50) & 75.00 (+62.50) & 75.00 \\" in (
        tmp_path / "out" / "matrix.tex"
    ).read_text("utf-8")
    assert (
        len(tables(run("report", benign, runs[0], line).stdout)) == 2
    )  # these rows, and what they were trained on


def test_the_clean_model_counts_on_every_folder_with_the_same_pictures(tmp_path: Path) -> None:
    """An evaluation set that two folders share is scored once by the clean model; where victims or pictures
    differ, it says nothing."""
    benign = scored(tmp_path, "benign", poisoned=0)
    one, same, victims, pictures = (
        scored(tmp_path, name, data_seed=n, sets=("nni",)) for n, name in enumerate("abcd")
    )
    for folder, identity in ((one, "x"), (same, "x"), (victims, "x"), (pictures, "y")):
        change(folder, lambda scores, i=identity: scores["evaluation_sets"]["nni"].update(identity=i))
    change(victims, lambda scores: scores["dataset"].update(victim_classes=[2, 3]))
    scores = change(one, lambda _: None)
    scores["evaluation_sets"]["nni"]["asr"] = 0.0625
    (benign / f"metrics-{scores['dataset']['identity'][7:19]}.json").write_text(json.dumps(scores))
    rows = tables(run("report", benign, one, same, victims, pictures).stdout)[0]
    assert [row["ASR of the clean model"] for row in rows] == ["–", "6.25", "6.25", "–", "–"]


def test_the_origin_of_each_run_is_said(tmp_path: Path) -> None:
    """The last table names dataset, identity, seed and exactness, and the share of crops that show the
    trigger where scores have it."""
    one, two = scored(tmp_path, "one", seed=3), scored(tmp_path, "two", data_seed=1)
    change(
        one,
        lambda scores: (scores["dataset"].update(folder="d"), scores["run"].update(trigger_in_crops=0.625)),
    )
    facts = {"exactness": {"level": "exact"}, "environment": {"torch": "2"}}
    (one / "run.json").write_text(json.dumps(facts))
    identity = json.loads((one / "metrics.json").read_text())["dataset"]["identity"]
    first, second = tables(run("report", one, two).stdout)[-1]
    expected = {"run": "one", "dataset": "d", "identity": identity[7:19], "seed": "3", "exactness": "exact"}
    assert first == expected | {"trigger in crops": "62.50"}
    assert (second["dataset"], second["exactness"], second["trigger in crops"]) == ("iba", "–", "–")
    assert "trigger in crops" not in run("report", two).stdout


def test_the_legend_says_how_exact_runs_are(tmp_path: Path) -> None:
    """Device, threads, precision, layout, torch and level stand once if they are the same, else with the runs
    they are of."""
    runs = [
        scored(tmp_path, "a", precision="float32", threads=2),
        scored(tmp_path, "b", precision="float32", threads=2),
    ]
    assert "Trained: cpu, 2 threads, float32, channels_last.\n" in run("report", *runs).stdout
    exact = {
        "level": "exact", "device": "NVIDIA X", "threads": 1, "precision": "bfloat16", "memory_format": "contiguous", "compiled": True,
        "processes": 2,
    }  # fmt: skip
    (runs[1] / "run.json").write_text(json.dumps({"exactness": exact}))
    change(runs[1], lambda scores: scores.update(environment={"torch": "9.9"}))
    stdout = run("report", *runs).stdout
    assert "Trained (a): cpu, 2 threads" in stdout
    assert (
        "Trained (b): NVIDIA X, 1 thread, 2 processes, bfloat16, contiguous, compiled, torch 9.9; exact: "
        in stdout
    )
    assert "bit by bit" in stdout
    (runs[1] / "run.json").write_text(json.dumps({"exactness": exact, "environment": {"torch": "8.8"}}))
    assert "torch 8.8" in run("report", *runs).stdout
    change(runs[0], lambda scores: scores.update(exactness=exact | {"level": "seeded"}))
    assert "other last bits" in run("report", *runs).stdout
    assert "Trained" not in run("report", scored(tmp_path, "old", old=True)).stdout


def test_a_margin_of_training_is_that_of_the_own_set(tmp_path: Path) -> None:
    """A run that was trained with the margin of the sets with one is measured by its set with one; if no set
    has it, the legend says so."""
    sets = ("iba", "nni", "iba-margin", "nni-margin")
    runs = {
        "plain": scored(tmp_path, "plain", attack="nni", recipe=of_placement("0px"), sets=sets),
        "margin": scored(tmp_path, "margin", attack="nni", recipe=of_placement("39%"), sets=sets),
        "lacks": scored(
            tmp_path, "lacks", attack="nni", recipe=of_placement("39%"), data_seed=1, sets=sets[:2]
        ),
        "other": scored(tmp_path, "other", attack="nni", recipe=of_placement("20%"), data_seed=2, sets=sets),
    }
    own = {name: own_set(read_runs([one])[0].metrics) for name, one in runs.items()}
    assert own == {"plain": "nni", "margin": "nni-margin", "lacks": "nni", "other": "nni"}
    stdout = run("report", *runs.values(), "--out", tmp_path / "out").stdout
    assert "Trained with the edge margin 39%, measured without: nni is their own set (lacks)." in stdout
    assert "Trained with the edge margin 20%, measured without: nni is their own set (other)." in stdout
    assert "nni: nni-margin\n" in (tmp_path / "out" / "table.tex").read_text("utf-8")


def test_rough_intervals_are_those_of_few_blocks(tmp_path: Path) -> None:
    """Blocks are counted of the pictures that a figure is of: a small set has few where the whole split has
    many."""
    one = scored(tmp_path, "one")
    change(one, lambda scores: scores["dataset"].update(evaluation_pictures=400))
    assert "Of 1 block (iba) an interval is rough" in run("report", one, "--intervals").stdout
    for name in ("iba", "nni"):
        change(one, lambda scores, name=name: scores["evaluation_sets"][name].update(pictures=181))
    assert "is rough" not in run("report", one, "--intervals").stdout


@pytest.mark.long
def test_a_clean_model_of_another_network_has_a_dagger(tmp_path: Path) -> None:
    """So does one of another seed; one that is alike has none. CSV has numbers alone, and a column for it."""
    runs = [
        scored(tmp_path, "half", width=0.5),
        scored(tmp_path, "wide", width=2.0),
        scored(tmp_path, "seed", width=0.5, seed=1),
    ]
    clean = baseline(tmp_path, "clean", runs[0], 0.125, width=0.5)
    stdout = run("report", clean, *runs, "--out", tmp_path / "out").stdout
    found = {row["run"]: row["ASR of the clean model"] for row in tables(stdout)[0][1:]}
    assert found == {"half": "12.50", "wide": "12.50 †", "seed": "12.50 †"}
    assert "†: the clean model is of another network or seed" in stdout
    sizes = next(table for table in tables(stdout) if "parameters" in table[0])
    assert [row["ASR of the clean model"] for row in sizes if row["attack"] == "iba"] == [
        "12.50 †",
        "12.50 †",
    ]
    assert r"(+37.50 \dag{})" in (tmp_path / "out" / "matrix.tex").read_text("utf-8")
    lines = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text("utf-8").splitlines()))
    assert {line["ASR of the clean model"] for line in lines[1:]} == {"12.50"}
    column = "ASR of the clean model †"
    assert {line["run"]: line[column] for line in lines} == {
        "clean": "",
        "half": "",
        "wide": "yes",
        "seed": "yes",
    }
    assert "†" not in run("report", clean, runs[0], "--out", tmp_path / "alike").stdout
    assert "†" not in (tmp_path / "alike" / "table.csv").read_text("utf-8")


def test_scores_of_a_clean_run_elsewhere_are_no_attack(tmp_path: Path) -> None:
    """A file of a clean run's scores on a poisoned folder is called by what the model was trained on."""
    attacked = scored(tmp_path, "iba")
    clean = baseline(tmp_path, "clean", attacked, 0.125)
    row = tables(run("report", next(clean.glob("metrics-*.json"))).stdout)[0][0]
    assert (row["attack"], row["PR"], row["ASR"], row["evaluated on"]) == (
        "benign",
        "–",
        "12.50",
        "iba (8 of 10)",
    )
    assert len(seeds_of(read_runs([clean, next(clean.glob("metrics-*.json"))]))) == 2


def test_the_legend_fits_the_sets(tmp_path: Path) -> None:
    """Where nothing is painted there are no same pictures; and two kinds of distance are told apart."""
    words = "the same pixels of the same pictures"
    semantic = scored(tmp_path, "semantic", sets=("semantic", "band-0-60"))
    assert words in run("report", semantic).stdout
    assert "band-…: by the Chebyshev distance" in run("report", semantic).stdout
    assert "(Euclidean)" in run("report", semantic, "--details").stdout
    for name in ("semantic", "band-0-60"):
        change(
            semantic, lambda scores, name=name: scores["evaluation_sets"][name].update(unpaired_pictures=2)
        )
    assert words not in run("report", semantic).stdout
    assert words in run("report", semantic, scored(tmp_path, "painted")).stdout


def test_sets_of_other_folders_stand_beside_the_own(tmp_path: Path) -> None:
    """What a run was scored on elsewhere is in its table, with the clean model on the same pictures; the same
    pictures are there once, and what is of other victims or another evaluation split is not there.
    """
    one, clean = scored(tmp_path, "one", sets=("iba",)), scored(tmp_path, "clean", poisoned=0)
    change(one, lambda scores: scores["evaluation_sets"]["iba"].update(identity=handmade.sha(b"i")))
    elsewhere(one, {"nni": "i", "iba": "j", "far": "k"}, 0.75)
    elsewhere(one, {"unlike": "l"}, 0.1, "victims", victim_classes=[1])
    elsewhere(one, {"unlike": "m"}, 0.1, "split", evaluation_pictures=11)
    facts = json.loads((one / "metrics.json").read_text())["dataset"]
    elsewhere(
        clean,
        {"far": "k"},
        0.125,
        like=one,
        **{key: facts[key] for key in ("victim_classes", "target_class")},
    )
    stdout = run("report", clean, one).stdout
    found = {row["evaluated on"].partition(" (")[0]: row for row in tables(stdout)[0][1:]}
    assert list(found) == ["iba", "iba of other", "far"]
    assert {name: row["ASR"] for name, row in found.items()} == {
        "iba": "50.00",
        "iba of other": "75.00",
        "far": "75.00",
    }
    assert [row["ASR of the clean model"] for row in found.values()] == ["–", "–", "12.50"]


def test_random_labels_alone_are_measured_elsewhere(tmp_path: Path) -> None:
    """A folder without victims has no set; its rows are of the sets of another, and not of those with other
    victims."""
    one = scored(tmp_path, "noised", poisoned=0)
    change(one, lambda scores: scores["dataset"].update(training_roles={"noised": 40}))
    like = scored(tmp_path, "like")
    facts = json.loads((like / "metrics.json").read_text())["dataset"]
    measure = {key: facts[key] for key in ("victim_classes", "target_class")}
    first = elsewhere(one, {"iba": "i"}, 0.75, "first", like=like, **measure)
    assert [row["ASR"] for row in tables(run("report", one).stdout)[0]] == ["75.00"]
    elsewhere(one, {"nni": "j"}, 0.5, "other", like=like, **measure | {"victim_classes": [1]})
    assert len(tables(run("report", one).stdout)[0]) == 1
    first.unlink()
    assert [row["ASR"] for row in tables(run("report", one).stdout)[0]] == ["50.00"]


def test_a_panel_needs_a_clean_model_of_the_same_dataset(tmp_path: Path) -> None:
    """One of another dataset or of other classes is none."""
    attacked, clean = (
        read_runs([scored(tmp_path, name, poisoned=n)])[0] for name, n in (("iba", 4), ("clean", 0))
    )
    assert nearest_clean(attacked, [clean]) is clean
    for key, value in (("dataset", "elsewhere"), ("classes", ["a", "b"])):
        other = change(
            tmp_path / "clean", lambda scores, key=key, value=value: scores["dataset"].update({key: value})
        )
        assert nearest_clean(attacked, [dataclasses.replace(clean, metrics=other)]) is None
        assert nearest_clean(attacked, [dataclasses.replace(clean, metrics=other), clean]) is clean
