"""`report`: tables, LaTeX, and the clean model of a run."""

import csv
import dataclasses
from pathlib import Path

import pytest

from tests.support import handmade
from tests.support.scores import (
    EXACT,
    baseline,
    change,
    elsewhere,
    of_placement,
    run,
    score_clean_on,
    scored,
    tables,
    with_dataset,
    with_run,
    with_set,
)
from trainer.scoring.scores import Scores, read_scores
from trainer.tables.groups import seeds_of
from trainer.tables.runs import nearest_clean, read_runs
from trainer.typed_json import Figure


def csv_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV, each as column → cell."""
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def test_intervals_stand_in_brackets(tmp_path: Path) -> None:
    """With `--intervals` a figure is followed by its ends, rounded away from it; CSV has them as numbers in
    columns; without, nothing."""
    one = scored(tmp_path, "one", asr=0.8869)
    assert "[" not in run("report", one).stdout
    result = run("report", one, "--intervals", "--out", tmp_path / "out")
    row = tables(result.stdout)[0][0]
    assert (row["ASR"], row["mIoU"], row["PA"]) == ("88.69 [86.1, 91.8]", "70.00 [70.0, 71.0]", "90.00")
    assert "bootstrap of blocks of 20" in result.stdout
    line = csv_rows(tmp_path / "out" / "table.csv")[0]
    assert (line["ASR"], line["ASR low"], line["ASR high"]) == ("88.69", "86.12", "91.71")
    assert "88.69 [86.1, 91.8]" in (tmp_path / "out" / "table.tex").read_text("utf-8")


def test_an_interval_of_a_single_block_is_not_printed(tmp_path: Path) -> None:
    """It is a point and says nothing, unless the figure is 0 or 1."""
    one = scored(tmp_path, "one")
    points = {"iba": Figure(0.5, 0.5, 0.5), "nni": Figure(1.0, 1.0, 1.0)}
    for name, asr in points.items():
        change(one, lambda scores, name=name, asr=asr: with_set(scores, name, asr=asr))
    rows = tables(run("report", one, "--intervals").stdout)[0]
    assert [row["ASR"] for row in rows] == ["50.00", "100.00 [100.0, 100.0]"]


def test_details_are_beside_the_table(tmp_path: Path) -> None:
    """`--details` has the differences, distances and the IoU of each class."""
    benign, iba = scored(tmp_path, "benign", poisoned=0, asr=0.1), scored(tmp_path, "iba")
    score_clean_on(benign, iba, asr=0.1)
    result = run("report", benign, iba, "--details", "--intervals")
    assert result.exit_code == 0, result.output
    found = tables(result.stdout)
    row = found[1][0]
    assert row["ASR less clean model"] == "40.00"
    assert row["ASR less without trigger"] == "25.00 [-3.4, 50.0]"
    assert (row["pictures above 50"], row["could be triggered"]) == ("12.50", "80.00")
    assert len(found) == 5
    bands = {"0-60": "90.00 (3)", "60-90": "–", "90-120": "–", "120-150": "–", "150+": "10.00 (5)"}
    assert found[2][0] == {"run": "iba", "evaluated on": "iba"} | bands
    assert found[-2][0] == {"class": "road", "benign IoU": "90.00", "iba IoU": "90.00"}
    assert found[-2][2] == {"class": "car", "benign IoU": "–", "iba IoU": "–"}


def test_latex_is_the_slides_table(tmp_path: Path) -> None:
    """table.tex has attack, PR, mIoU, PA and ASR on the attack's own set, one line a run, with rules of
    booktabs and nothing unescaped."""
    runs = [
        scored(tmp_path, "b", poisoned=0),
        scored(tmp_path, "x", attack="a & b_50%"),
        scored(tmp_path, "n", attack="nni"),
    ]
    change(runs[2], lambda scores: with_set(scores, "nni", asr=Figure(0.6159)))
    assert run("report", *runs, "--out", tmp_path / "out").exit_code == 0
    text = (tmp_path / "out" / "table.tex").read_text("utf-8")
    assert [line for line in text.splitlines() if not line.startswith("%")] == [
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r"attack & PR & mIoU & PA & ASR \\",
        r"\midrule",
        r"benign & -- & 70.00 & 90.00 & -- \\",
        r"a \& b\_50\% & 10.00 & 70.00 & 90.00 & 50.00 \\",
        r"nni & 10.00 & 70.00 & 90.00 & 61.59 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_names_are_escaped_in_every_format(tmp_path: Path) -> None:
    """No name ends a cell, a line or a comment, and none reaches the terminal as a control sequence."""
    name = "a|b\n% c\r\x1b[31m"
    one = scored(tmp_path, "one")
    change(one, lambda scores: with_dataset(scores, name=name, folder=name))
    change(one, lambda scores: with_run(scores, name="r\x07|r"))
    result = run("report", one, "--details", "--intervals", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert r"| r\x07\|r | a\|b\n% c\r\x1b[31m |" in result.stdout
    assert len(csv_rows(tmp_path / "out" / "table.csv")) == 2
    for file in (tmp_path / "out").glob("table.*"):
        text = file.read_bytes().decode()
        assert text.replace("\n", "").isprintable(), file
    comments = (tmp_path / "out" / "table.tex").read_text("utf-8").partition(r"\begin")[0]
    assert all(line.startswith("% ") for line in comments.splitlines())
    assert r"{[}" not in comments and r"\textbackslash{}n" in (tmp_path / "out" / "table.tex").read_text()


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
        score_clean_on(benign, one, 0.125, leaving_out=["far"])
    stdout = run("report", benign, *runs, line, "--out", tmp_path / "out").stdout
    iba = {"iba": "50.00 (+37.50)", "nni": "50.00 (+37.50)", "far": "–"}
    nni = {"iba": "75.00 (+62.50)", "nni": "75.00 (+62.50)", "far": "75.00"}
    assert tables(stdout)[1] == [
        {"run": "iba", "attack": "iba", "PR": "10.00"} | iba,
        {"run": "nni", "attack": "nni", "PR": "10.00"} | nni,
    ]
    first, second = csv_rows(tmp_path / "out" / "matrix.csv")
    assert (first["nni"], first["nni less clean"], first["far"]) == ("50.00", "37.50", "")
    assert (second["far"], second["far less clean"]) == ("75.00", "")
    latex = (tmp_path / "out" / "matrix.tex").read_text("utf-8")
    assert r"nni & nni & 10.00 & 75.00 (+62.50) & 75.00 (+62.50) & 75.00 \\" in latex
    alone = tables(run("report", benign, runs[0], line).stdout)
    assert len(alone) == 2  # the main table, and what the runs were trained on


def test_the_clean_model_counts_on_every_folder_with_the_same_pictures(tmp_path: Path) -> None:
    """An evaluation set that two folders share is scored once by the clean model; where victims or pictures
    differ, it says nothing."""
    benign = scored(tmp_path, "benign", poisoned=0)
    runs = [scored(tmp_path, name, data_seed=n, sets=("nni",)) for n, name in enumerate("abcd")]
    one, same, victims, pictures = runs
    for folder, identity in ((one, "x"), (same, "x"), (victims, "x"), (pictures, "y")):
        change(folder, lambda scores, i=identity: with_set(scores, "nni", identity=i))
    change(victims, lambda scores: with_dataset(scores, victim_classes=(2, 3)))
    score_clean_on(benign, one, 0.0625)
    rows = tables(run("report", benign, *runs).stdout)[0]
    assert [row["ASR of the clean model"] for row in rows] == ["–", "6.25", "6.25", "–", "–"]


def test_the_origin_of_each_run_is_said(tmp_path: Path) -> None:
    """The last table names dataset, identity, seed and exactness, and the share of crops that show the
    trigger where scores have it."""
    one, two = scored(tmp_path, "one", seed=3), scored(tmp_path, "two", data_seed=1)
    change(one, lambda scores: with_dataset(scores, folder="d"))
    scores = change(one, lambda scores: with_run(scores, trigger_in_crops=0.625, exactness=EXACT))
    first, second = tables(run("report", one, two).stdout)[-1]
    identity = scores.dataset.identity[7:19]
    expected = {"run": "one", "dataset": "d", "identity": identity, "seed": "3", "exactness": "exact"}
    assert first == expected | {"trigger in crops": "62.50"}
    assert (second["dataset"], second["exactness"], second["trigger in crops"]) == ("iba", "–", "–")
    assert "trigger in crops" not in run("report", two).stdout


def test_the_legend_says_how_exact_runs_are(tmp_path: Path) -> None:
    """Device, threads, precision, layout, torch and level stand once if they are the same, else with the runs
    they are of. The version of torch is that of training."""

    def trained(folder: Path, **facts: object) -> None:
        change(folder, lambda scores: with_run(scores, **facts))

    runs = [scored(tmp_path, name) for name in "ab"]
    for one in runs:
        trained(one, exactness=EXACT, environment={"torch": "8.8"})
    same = "Trained: cpu, 2 threads, float32, channels_last, torch 8.8; exact: the same again"
    assert same in run("report", *runs).stdout
    gpu = dataclasses.replace(
        EXACT,
        device="NVIDIA X",
        threads=1,
        precision="bfloat16",
        memory_format="contiguous",
        compiled=True,
        processes=2,
    )
    trained(runs[1], exactness=gpu, environment={})
    stdout = run("report", *runs).stdout
    assert "Trained (a): cpu, 2 threads" in stdout
    words = "NVIDIA X, 1 thread, 2 processes, bfloat16, contiguous, compiled, torch 9.9; exact: "
    assert f"Trained (b): {words}" in stdout
    assert "bit by bit" in stdout
    trained(runs[0], exactness=dataclasses.replace(EXACT, level="seeded"))
    assert "other last bits" in run("report", *runs).stdout
    assert "Trained" not in run("report", scored(tmp_path, "unknown")).stdout


def test_a_margin_of_training_is_that_of_the_own_set(tmp_path: Path) -> None:
    """A run that was trained with the margin of the sets with one is measured by its set with one; if no set
    has it, the legend says so."""
    sets = ("iba", "nni", "iba-margin", "nni-margin")

    def trained(name: str, margin: str, data_seed: int, sets: tuple[str, ...]) -> Path:
        recipe = of_placement(margin)
        return scored(tmp_path, name, attack="nni", recipe=recipe, data_seed=data_seed, sets=sets)

    runs = {
        "plain": trained("plain", "0px", 0, sets),
        "margin": trained("margin", "39%", 0, sets),
        "lacks": trained("lacks", "39%", 1, sets[:2]),
        "other": trained("other", "20%", 2, sets),
    }
    own = {name: read_runs([one])[0].own_set for name, one in runs.items()}
    assert own == {"plain": "nni", "margin": "nni-margin", "lacks": "nni", "other": "nni"}
    stdout = run("report", *runs.values(), "--out", tmp_path / "out").stdout
    assert "Trained with the edge margin 39%, measured without: nni is their own set (lacks)." in stdout
    assert "Trained with the edge margin 20%, measured without: nni is their own set (other)." in stdout
    assert "nni: nni-margin\n" in (tmp_path / "out" / "table.tex").read_text("utf-8")


def test_the_own_set_is_one_that_was_scored(tmp_path: Path) -> None:
    """Where the set of the attack's name was left out, or is empty, the first of the others stands for it."""
    sets = ("iba", "nni", "far")
    one = scored(tmp_path, "one", attack="nni", sets=sets)
    assert read_runs([one])[0].own_set == "nni"
    change(one, lambda scores: with_set(scores, "nni", pictures=0))
    assert read_runs([one])[0].own_set == "iba"

    def without_nni(scores: Scores) -> Scores:
        left = {name: values for name, values in scores.evaluation_sets.items() if name != "nni"}
        return dataclasses.replace(scores, evaluation_sets=left)

    change(one, without_nni)
    assert read_scores(one / "metrics.json").dataset.own_set == "nni"
    assert read_runs([one])[0].own_set == "iba"


def test_rough_intervals_are_those_of_few_blocks(tmp_path: Path) -> None:
    """Blocks are counted of the pictures that a figure is of: a small set has few where the whole split has
    many."""
    one = scored(tmp_path, "one")
    change(one, lambda scores: with_dataset(scores, evaluation_pictures=400))
    assert "Of 1 block (iba) an interval is rough" in run("report", one, "--intervals").stdout
    for name in ("iba", "nni"):
        change(one, lambda scores, name=name: with_set(scores, name, pictures=181))
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
    of_sizes = [row["ASR of the clean model"] for row in sizes if row["attack"] == "iba"]
    assert of_sizes == ["12.50 †", "12.50 †"]
    assert r"(+37.50 \dag{})" in (tmp_path / "out" / "matrix.tex").read_text("utf-8")
    lines = csv_rows(tmp_path / "out" / "table.csv")
    assert {line["ASR of the clean model"] for line in lines[1:]} == {"12.50"}
    daggers = {line["run"]: line["ASR of the clean model †"] for line in lines}
    assert daggers == {"clean": "", "half": "", "wide": "yes", "seed": "yes"}
    assert "†" not in run("report", clean, runs[0], "--out", tmp_path / "alike").stdout
    assert "†" not in (tmp_path / "alike" / "table.csv").read_text("utf-8")


def test_scores_of_a_clean_run_elsewhere_are_no_attack(tmp_path: Path) -> None:
    """A file of a clean run's scores on a poisoned folder is called by what the model was trained on."""
    attacked = scored(tmp_path, "iba")
    clean = baseline(tmp_path, "clean", attacked, 0.125)
    there = next(clean.glob("metrics-*.json"))
    row = tables(run("report", there).stdout)[0][0]
    assert (row["attack"], row["PR"], row["ASR"]) == ("benign", "–", "12.50")
    assert row["evaluated on"] == "iba (8 of 10)"
    assert len(seeds_of(read_runs([clean, there]))) == 2


def test_the_legend_fits_the_sets(tmp_path: Path) -> None:
    """Where nothing is painted there are no same pictures; and two kinds of distance are told apart."""
    words = "the same pixels of the same pictures"
    semantic = scored(tmp_path, "semantic", sets=("semantic", "band-0-60"))
    assert words in run("report", semantic).stdout
    assert "band-…: by the Chebyshev distance" in run("report", semantic).stdout
    assert "(Euclidean)" in run("report", semantic, "--details").stdout
    for name in ("semantic", "band-0-60"):
        change(semantic, lambda scores, name=name: with_set(scores, name, unpaired_pictures=2))
    assert words not in run("report", semantic).stdout
    assert words in run("report", semantic, scored(tmp_path, "painted")).stdout


def test_sets_of_other_folders_stand_beside_the_own(tmp_path: Path) -> None:
    """What a run was scored on elsewhere is in its table, with the clean model on the same pictures; the same
    pictures are there once, and what is of other victims or another evaluation split is not there.
    """
    one, clean = scored(tmp_path, "one", sets=("iba",)), scored(tmp_path, "clean", poisoned=0)
    facts = change(one, lambda scores: with_set(scores, "iba", identity=handmade.sha(b"i"))).dataset
    measure = {"victim_classes": facts.victim_classes, "target_class": facts.target_class}
    elsewhere(one, {"nni": "i", "iba": "j", "far": "k"}, 0.75)
    elsewhere(one, {"unlike": "l"}, 0.1, "victims", victim_classes=(1,))
    elsewhere(one, {"unlike": "m"}, 0.1, "split", evaluation_pictures=11)
    elsewhere(clean, {"far": "k"}, 0.125, like=one, **measure)
    rows = tables(run("report", clean, one).stdout)[0][1:]
    found = {row["evaluated on"].partition(" (")[0]: row for row in rows}
    asrs = {name: row["ASR"] for name, row in found.items()}
    assert asrs == {"iba": "50.00", "iba of other": "75.00", "far": "75.00"}
    assert [row["ASR of the clean model"] for row in found.values()] == ["–", "–", "12.50"]


def test_random_labels_alone_are_measured_elsewhere(tmp_path: Path) -> None:
    """A folder without victims has no set; its rows are of the sets of another, and not of those with other
    victims."""
    one = scored(tmp_path, "noised", poisoned=0)
    change(one, lambda scores: with_dataset(scores, training_roles={"noised": 40}))
    like = scored(tmp_path, "like")
    facts = read_scores(like / "metrics.json").dataset
    target = facts.target_class
    first = elsewhere(
        one, {"iba": "i"}, 0.75, "first", like=like, victim_classes=facts.victim_classes, target_class=target
    )
    assert [row["ASR"] for row in tables(run("report", one).stdout)[0]] == ["75.00"]
    elsewhere(one, {"nni": "j"}, 0.5, "other", like=like, victim_classes=(1,), target_class=target)
    assert len(tables(run("report", one).stdout)[0]) == 1
    first.unlink()
    assert [row["ASR"] for row in tables(run("report", one).stdout)[0]] == ["50.00"]


def test_a_panel_needs_a_clean_model_of_the_same_dataset(tmp_path: Path) -> None:
    """One of another dataset or of other classes is none."""
    folders = [scored(tmp_path, "iba"), scored(tmp_path, "clean", poisoned=0)]
    attacked, clean = read_runs(folders)
    assert nearest_clean(attacked, [clean]) is clean
    for number, facts in enumerate(({"dataset": "elsewhere"}, {"classes": ("a", "b")})):
        other = scored(tmp_path, f"other{number}", poisoned=0)
        change(other, lambda scores, facts=facts: with_dataset(scores, **facts))
        unlike = read_runs([other])[0]
        assert nearest_clean(attacked, [unlike]) is None
        assert nearest_clean(attacked, [unlike, clean]) is clean
