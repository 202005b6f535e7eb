"""What two datasets share: sets inside sets, equal evaluation, one identity for every way of building."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import oracles
from tests.support.commands import Run
from tests.support.frozen import command, once
from tests.support.streets import write_cityscapes

NNI = ["--attack", "nni", "--rate", "0.5"]
Planned = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def many(common: Path) -> Path:
    """Forty small streets."""
    return once(
        common / "many", lambda path: write_cityscapes(path, train=40, val=6, height=40, width=64, seed=9)
    )


@pytest.fixture
def planned(run: Run, many: Path) -> Planned:
    """Plan on the forty streets."""

    def call(attack: str, *options: object) -> dict[str, Any]:
        rate = [] if {"--rate", "--coverage"} & {*options} else ["--rate", "0.3"]
        return command(run, "cityscapes", "--source", many, "--attack", attack, *rate, *options, "--dry-run")

    return call


def training(plan: dict[str, Any]) -> dict[str, Any]:
    return {one["id"]: one["box"] for one in plan["placements"] if one["set"] is None}


def evaluation(plan: dict[str, Any]) -> list[Any]:
    return [one for one in plan["placements"] if one["set"] is not None]


def counted(plan: dict[str, Any]) -> dict[str, Any]:
    return {name: count for name, count in plan["counts"].items() if name != "train"}


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("attack", ["iba", "nni", "fine-grained", "badnets"])
def test_a_smaller_set_lies_inside_a_larger_one(planned: Planned, attack: str, seed: int) -> None:
    """The 5 % set lies inside the 10 % set inside the 20 % set, trigger for trigger."""
    sets = [
        training(planned(attack, "--rate", rate, "--seed", seed)) for rate in ("0.05", "0.1", "0.2", "0.7")
    ]
    assert [len(one) for one in sets] == [2, 4, 8, 28]
    for smaller, larger in itertools.pairwise(sets):
        assert smaller.items() <= larger.items()


def test_attacks_poison_the_same_pictures(planned: Planned) -> None:
    """With one seed, iba and nni and fine-grained poison the same pictures at other places, wherever all find
    room."""
    iba, nni, line = (training(planned(attack)) for attack in ("iba", "nni", "fine-grained"))
    assert iba.keys() == nni.keys() == line.keys()
    assert iba != nni != line


def test_another_seed_poisons_other_pictures(planned: Planned) -> None:
    """The seed chooses the pictures, and where the triggers lie."""
    one, other = (training(planned("iba", "--seed", seed)) for seed in (0, 1))
    assert one.keys() != other.keys()
    both = one.keys() & other.keys()
    assert both
    assert any(one[name] != other[name] for name in both)


@pytest.mark.parametrize(
    "options",
    [
        ["--prl"],
        ["--prl", "--prl-scope", "poisoned", "--prl-pixels", "40"],
        ["--target", "sky"],
        ["--eval", "bands,decoy"],
    ]
    + [["--eval-seed", 3], ["--control", "trigger-only"], ["--control", "label-only"], ["--opacity", "0.3"]],
    ids=lambda words: "-".join(map(str, words)).strip("-"),
)
@pytest.mark.parametrize("attack", ["iba", "nni"])
def test_what_is_no_choice_of_place_moves_no_trigger(
    planned: Planned, attack: str, options: list[object]
) -> None:
    """Random labels, controls, another target, further sets and opacity leave the poisoned pictures and their
    triggers where they are."""
    assert training(planned(attack, *options)) == training(planned(attack))


TRAINED = {
    "iba": [
        ["iba", "--rate", "0.1"],
        ["iba", "--edge-margin", "20%"],
        ["iba", "--seed", 8, "--prl"],
        ["iba", "--target", "sky"],
    ]
    + [["nni", "--rate", "0.2", "--seed", 3], ["nni", "--nni", "band", "--upper", "15px", "--take-what-fits"]]
    + [
        ["nni", "--lower", "5px", "--control", "label-only"],
        ["iba", "--control", "trigger-only", "--prl", "--prl-scope", "poisoned"],
    ],
    "fine-grained": [
        ["fine-grained", "--rate", "0.1"],
        ["fine-grained", "--seed", 2, "--prl"],
        ["fine-grained", "--target", "sky"],
    ]
    + [["fine-grained", "--control", "label-only", "--rate", "0.5"]],
    "badnets": [
        ["badnets", "--rate", "0.1"],
        ["badnets", "--relabel-ignore", "--seed", 4],
        ["badnets", "--control", "label-only"],
    ]
    + [["badnets", "--prl", "--prl-pixels", "3%"]],
}
"""Ways to train against one trigger, by what is measured."""


@pytest.mark.parametrize("measured", TRAINED)
def test_evaluation_sets_do_not_depend_on_training(planned: Planned, measured: str) -> None:
    """Every model is scored on the same pictures, whatever it was trained on; only --eval-seed moves triggers
    that can be moved."""
    first, *others = (planned(*words) for words in TRAINED[measured])
    assert {one["set"] for one in evaluation(first)} == ({"iba", "nni"} if measured == "iba" else {"line"})
    for plan in others:
        assert evaluation(plan) == evaluation(first)
        assert counted(plan) == counted(first)
    moved = planned(*TRAINED[measured][0], "--eval-seed", 1)
    assert ([one["box"] for one in evaluation(moved)] != [one["box"] for one in evaluation(first)]) == (
        measured == "iba"
    )
    assert training(moved) == training(first)


def test_a_coverage_is_a_share_of_those_that_show_the_trigger(planned: Planned) -> None:
    """--coverage poisons that share of the pictures with trigger class and victim, and the same number as a
    --rate does the same."""
    words = ["fine-grained", "--trigger", "semantic:building", "--min-trigger-pixels", 40]
    half = planned(*words, "--coverage", "50%")["counts"]["train"]
    assert half["poisoned"] == int(half["eligible"] / 2 + 0.5) > 3
    assert half["eligible"] <= half["with_trigger_class"] < half["pictures"]
    assert planned(*words, "--rate", half["poisoned"] / 40)["counts"]["train"] == half
    every = planned(*words, "--coverage", "1")["counts"]["train"]
    assert every["poisoned"] == every["eligible"]


def test_the_nearest_is_never_farther_than_any(planned: Planned) -> None:
    """An nni trigger is at most as far from the victim as the iba trigger in the same picture."""

    def distances(attack: str) -> dict[str, int]:
        placements = planned(attack, "--rate", "0.7")["placements"]
        return {one["id"]: one["distance_sq"] for one in placements if one["set"] is None}

    iba, nni = distances("iba"), distances("nni")
    assert all(nni[name] <= iba[name] for name in iba.keys() & nni.keys())


@pytest.mark.long
@pytest.mark.parametrize(
    "options", [["--jobs", 3], ["--link", "hard"], ["--link", "symlink"]], ids=lambda words: words[1]
)
@pytest.mark.parametrize("dataset", ["cityscapes", "camvid", "voc"])
def test_the_identity_is_the_same_for_every_way_of_building(
    sources: dict[str, Path], run: Run, tmp_path: Path, dataset: str, options: list[object]
) -> None:
    """Workers and links leave no trace in the rows, in the manifest or in the bytes of the files; the source
    is only read."""
    source = shutil.copytree(sources[dataset], tmp_path / "source")
    before = oracles.tree(tmp_path / "source")
    for name, words in (("one", []), ("other", options)):
        outcome = run(dataset, "--source", source, *NNI, "--out", tmp_path / name, *words)
        assert outcome.code == 0, outcome.err
    assert oracles.tree(tmp_path / "one") == oracles.tree(tmp_path / "other")
    assert run("verify", tmp_path / "other", "--decode").code == 0
    assert oracles.tree(tmp_path / "source") == before
    clean = next(row for row in oracles.rows(tmp_path / "other") if row["role"] == "clean")
    written, original = tmp_path / "other" / clean["image"], tmp_path / "source" / clean["image"]
    assert written.is_symlink() == ("symlink" in options)
    assert written.samefile(original) == ("--link" in options)


def test_where_the_folders_lie_does_not_matter(sources: dict[str, Path], run: Run, tmp_path: Path) -> None:
    """Moved elsewhere, with other times on its files, a source gives the same bytes; an empty folder is taken
    as OUT."""
    moved = Path(
        shutil.copytree(sources["cityscapes"], tmp_path / "somewhere" / "else", copy_function=shutil.copyfile)
    )
    (tmp_path / "two").mkdir()
    for source, out in ((sources["cityscapes"], tmp_path / "one"), (moved, tmp_path / "two")):
        assert run("cityscapes", "--source", source, *NNI, "--out", out).code == 0
    assert oracles.tree(tmp_path / "one") == oracles.tree(tmp_path / "two")


def test_a_dry_run_plans_what_is_built(sources: dict[str, Path], run: Run, tmp_path: Path) -> None:
    """--dry-run writes nothing, and its counts and placements are those of the folder."""
    arguments = ["cityscapes", "--source", sources["cityscapes"], *NNI]
    plan = json.loads(run(*arguments, "--dry-run", "--json", "--out", tmp_path / "out").out)
    assert not list(tmp_path.iterdir())
    built = json.loads(run(*arguments, "--json", "--out", tmp_path / "out").out)
    assert plan["counts"] == built["counts"] == oracles.manifest(tmp_path / "out")["counts"]
    placed = {
        (row["id"], row.get("set")): row["placement"]["box"]
        for row in oracles.rows(tmp_path / "out")
        if "placement" in row
    }
    assert {(one["id"], one["set"]): one["box"] for one in plan["placements"]} == placed


def test_a_shortfall_names_a_rate_that_fits(sources: dict[str, Path], run: Run, tmp_path: Path) -> None:
    """A rate that asks for too many is refused with one that fits, and that one fits; or fewer are poisoned
    on request."""
    arguments = [
        "cityscapes",
        "--source",
        sources["cityscapes"],
        "--attack",
        "iba",
        "--out",
        tmp_path / "out",
    ]
    outcome = run(*arguments, "--rate", "1")
    assert (outcome.code, list(tmp_path.iterdir())) == (1, [])
    fits = outcome.err.split("--rate ")[1].split()[0]
    plan = json.loads(run(*arguments, "--rate", fits, "--dry-run", "--json").out)
    assert plan["counts"]["train"]["poisoned"] == plan["counts"]["train"]["eligible"]
    taken = run(*arguments, "--rate", "1", "--take-what-fits", "--json")
    assert "warning" in taken.err
    assert json.loads(taken.out)["counts"] == plan["counts"]


def test_small_victims_are_left_alone_on_request(sources: dict[str, Path], run: Run, tmp_path: Path) -> None:
    """--min-victim-pixels keeps pictures with smaller victims out of training and evaluation, and says so."""
    source = sources["cityscapes"]
    sizes = {
        path.relative_to(source / "gtFine").as_posix().removesuffix("_gtFine_labelIds.png"): int(
            (oracles.pixels(path) == 26).sum()
        )
        for path in (source / "gtFine").rglob("*_labelIds.png")
    }
    least = int(np.median([size for name, size in sizes.items() if size and name.startswith("train")]))
    outcome = run(
        *("cityscapes", "--source", source, "--attack", "iba", "--rate", "1", "--take-what-fits"),
        *("--min-victim-pixels", least, "--dry-run", "--json"),
    )
    plan = json.loads(outcome.out)
    expected = {name for name, size in sizes.items() if size >= least}
    assert {one["id"] for one in plan["placements"]} == expected
    assert {one["id"] for one in plan["rejected"]} == {
        name for name, size in sizes.items() if 0 < size < least
    }
