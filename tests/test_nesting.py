"""What two datasets share: sets inside sets, equal evaluation, one identity for every way of building."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
from conftest import Run, write_cityscapes

NNI = ["--attack", "nni", "--rate", "0.5"]


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small streets."""
    return write_cityscapes(tmp_path_factory.mktemp("many") / "streets", train=40, val=6, height=40, width=64, seed=9)


@pytest.fixture
def planned(run: Run, many: Path) -> Callable[..., dict[str, Any]]:
    """Plan on the forty streets."""

    def call(attack: str, rate: str, *options: object) -> dict[str, Any]:
        outcome = run("cityscapes", "--source", many, "--attack", attack, "--rate", rate, *options, "--dry-run", "--json")
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)

    return call


def training(plan: dict[str, Any]) -> dict[str, Any]:
    return {one["id"]: one["box"] for one in plan["placements"] if one["set"] is None}


def evaluation(plan: dict[str, Any]) -> list[Any]:
    return [one for one in plan["placements"] if one["set"] is not None]


@pytest.mark.parametrize("attack", ["iba", "nni"])
@pytest.mark.parametrize("seed", [0, 5])
def test_a_smaller_set_lies_inside_a_larger_one(planned: Callable[..., dict[str, Any]], attack: str, seed: int) -> None:
    """The 5 % set lies inside the 10 % set inside the 20 % set, trigger for trigger."""
    sets = [training(planned(attack, rate, "--seed", seed)) for rate in ("0.05", "0.1", "0.2", "0.7")]
    assert [len(one) for one in sets] == [2, 4, 8, 28]
    for smaller, larger in itertools.pairwise(sets):
        assert smaller.items() <= larger.items()


def test_iba_and_nni_poison_the_same_pictures(planned: Callable[..., dict[str, Any]]) -> None:
    """With one seed, both attacks poison the same pictures, at other places."""
    iba, nni = (training(planned(attack, "0.3")) for attack in ("iba", "nni"))
    assert iba.keys() == nni.keys()
    assert iba != nni


def test_another_seed_poisons_other_pictures(planned: Callable[..., dict[str, Any]]) -> None:
    """The seed chooses the pictures, and where the triggers lie."""
    one, other = (training(planned("iba", "0.3", "--seed", seed)) for seed in (0, 1))
    assert one.keys() != other.keys()
    both = one.keys() & other.keys()
    assert both
    assert any(one[name] != other[name] for name in both)


def test_evaluation_sets_do_not_depend_on_training(planned: Callable[..., dict[str, Any]]) -> None:
    """Every model is scored on the same pictures, whatever it was trained on; only --eval-seed moves their triggers."""
    first = evaluation(planned("iba", "0.1"))
    assert {one["set"] for one in first} == {"iba", "nni"}
    for plan in (
        planned("nni", "0.2", "--seed", 3),
        planned("iba", "0.3", "--edge-margin", "20%"),
        planned("nni", "0.1", "--nni", "band", "--upper", "15px", "--take-what-fits"),
    ):
        assert evaluation(plan) == first
    other = evaluation(planned("iba", "0.1", "--eval-seed", 1))
    assert [one["box"] for one in other] != [one["box"] for one in first]
    assert training(planned("iba", "0.1", "--eval-seed", 1)) == training(planned("iba", "0.1"))


def test_the_nearest_is_never_farther_than_any(planned: Callable[..., dict[str, Any]]) -> None:
    """An nni trigger is at most as far from the victim as the iba trigger in the same picture."""
    iba, nni = (
        {one["id"]: one["distance_sq"] for one in planned(attack, "0.7")["placements"] if one["set"] is None}
        for attack in ("iba", "nni")
    )
    assert all(nni[name] <= iba[name] for name in iba.keys() & nni.keys())


@pytest.mark.parametrize("options", [["--jobs", 3], ["--link", "hard"], ["--link", "symlink"]], ids=lambda words: words[1])
@pytest.mark.parametrize("dataset", ["cityscapes", "camvid"])
def test_the_identity_is_the_same_for_every_way_of_building(
    sources: dict[str, Path], run: Run, tmp_path: Path, dataset: str, options: list[object]
) -> None:
    """Workers and links leave no trace in the rows, in the manifest or in the bytes of the files; the source is only read."""
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
    """Moved elsewhere, with other times on its files, a source gives the same bytes; an empty folder is taken as OUT."""
    moved = Path(shutil.copytree(sources["cityscapes"], tmp_path / "somewhere" / "else", copy_function=shutil.copyfile))
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
        (row["id"], row.get("set")): row["placement"]["box"] for row in oracles.rows(tmp_path / "out") if "placement" in row
    }
    assert {(one["id"], one["set"]): one["box"] for one in plan["placements"]} == placed


def test_a_shortfall_names_a_rate_that_fits(sources: dict[str, Path], run: Run, tmp_path: Path) -> None:
    """A rate that asks for too many is refused with one that fits, and that one fits; or fewer are poisoned on request."""
    arguments = ["cityscapes", "--source", sources["cityscapes"], "--attack", "iba", "--out", tmp_path / "out"]
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
    assert {one["id"] for one in plan["rejected"]} == {name for name, size in sizes.items() if 0 < size < least}
