"""Recipes, lists of attacks and published schemas: what the project says of itself in several places is one
thing."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support import oracles
from tests.support.commands import Run
from tests.support.sources import write_ade20k

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {
    path.relative_to(ROOT / "manifests/recipes").as_posix(): path
    for path in sorted((ROOT / "manifests/recipes").rglob("*.json"))
}
FROZEN = sorted(path.parent for path in ROOT.glob("manifests/streets/*/manifest.json"))


def planned(run: Run, source: Path, path: Path) -> dict[str, Any]:
    """The plan of a recipe on a small source."""
    outcome = run("build", path, "--source", source, "--dry-run", "--json", "--jobs", 1)
    assert outcome.code == 0, f"{path}\n{outcome.err}"
    return dict(json.loads(outcome.out))


def explicit(recipe: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a plan's recipe resolved, as the options that say it."""
    yield "attack", recipe["attack"]
    yield "seed", recipe["seed"]
    if recipe["scale"]:
        yield "scale", recipe["scale"]
    if recipe["random_pixels"]:
        yield from (("prl", True), ("prl-scope", recipe["random_pixels"]["scope"]))
        yield "prl-pixels", recipe["random_pixels"]["pixels"].removesuffix("px")
    poison = recipe["poison"]
    if poison is None:
        return
    yield from (("rate", poison["rate"]), ("eval-seed", poison["evaluation_sets"][0]["seed"]))
    trigger, placement = poison["trigger"], poison["placement"] or {}
    named = {"size": "trigger-size", "colour": "colour", "min_pixels": "min-trigger-pixels"}
    yield from ((option, trigger[field]) for field, option in named.items() if field in trigger)
    named = {"edge_margin": "edge-margin", "rule": "nni", "lower": "lower", "upper": "upper"}
    yield from (
        (option, placement[field]) for field, option in named.items() if placement.get(field) is not None
    )


@pytest.fixture(scope="module")
def ade20k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ADE20K with walls, grass, palms and people."""
    return write_ade20k(tmp_path_factory.mktemp("ade20k"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_builds_and_spells_out_what_shapes_it(
    name: str, run: Run, sources: dict[str, Path], ade20k: Path
) -> None:
    """Every recipe can be planned, and says every value that the plan resolves: another default could not
    change its meaning."""
    recipe = json.loads(RECIPES[name].read_text(encoding="utf-8"))
    large = "55px" in recipe["options"].values()  # larger than the test's pictures
    path = RECIPES[name]
    source = {"cityscapes": sources["cityscapes"], "ade20k": ade20k}[recipe["dataset"]]
    if large or recipe["options"].get("rate") in ("0.01", "0.03", "0.05"):
        recipe["options"] |= {"trigger-size": "3px"} if large else {}
        recipe["options"] |= {"upper": "12px"} if "upper" in recipe["options"] else {}
        path = sources["cityscapes"].parent / name.replace("/", "-")
        path.write_text(json.dumps(recipe))
    resolved = planned(run, source, path)["recipe"]
    said = {key: str(value) for key, value in recipe["options"].items()}
    for option, value in explicit(resolved):
        assert said.get(option, "").removesuffix("px") == str(value).removesuffix("px"), (
            f"{name} does not say {option} = {value}"
        )
    poison = resolved["poison"]
    if poison:
        assert {"target"} <= said.keys()
        assert ("victim" in said) == bool(poison["victim_classes"])


def test_each_row_of_the_published_tables_has_a_recipe() -> None:
    """Six rows on ADE20K; benign and six rates of IBA, NNI and PRL on Cityscapes; no row twice."""
    rows = [json.loads(path.read_text(encoding="utf-8")).get("row", "") for path in RECIPES.values()]
    table = [row for row in rows if ":" in row]
    assert len(table) == len(set(table))
    rates = {
        f"Cityscapes, IBA: {name} {rate}" for name in ("IBA", "NNI", "PRL") for rate in (1, 3, 5, 10, 15, 20)
    }
    hidden = {"benign", "line, BadNets", "frame, BadNets", "semantic (grass), BadNets"}
    hidden |= {"line, fine-grained", "semantic (wall), fine-grained"}
    assert set(table) == rates | {"Cityscapes, IBA: benign"} | {f"ADE20K, HBA: {row}" for row in hidden}
    assert sum(row == "control" for row in rows) == 4


def test_controls_share_the_samples_of_what_they_control(run: Run, sources: dict[str, Path]) -> None:
    """Trigger without relabel, relabel without trigger and the decoy poison the pictures of IBA at 10 %, at
    the same places."""
    plans = {
        name: planned(run, sources["cityscapes"], RECIPES[f"cityscapes/{name}.json"]) for name in CONTROLLED
    }
    places: dict[str, list[object]] = {}
    for name, plan in plans.items():
        in_training = [one for one in plan["placements"] if one["set"] is None]
        places[name] = [(one["id"], one["box"]) for one in in_training]
    assert places["iba-10"]
    assert all(one == places["iba-10"] for one in places.values())


CONTROLLED = ("iba-10", "control-trigger-only", "control-label-only", "control-decoy", "prl-10")


def test_the_readme_lists_the_attacks_that_there_are(run: Run) -> None:
    """`poisongen attacks` and the README's table have the same names, and every attack has a recipe."""
    listed = json.loads(run("attacks", "--json").out)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.findall(
        r"^\| `([a-z-]+)` \|", readme.split("## The attacks")[1].split("\n## ")[0], re.MULTILINE
    )
    assert [name for name in table if name in listed] == list(listed)
    used = {json.loads(path.read_text(encoding="utf-8"))["options"]["attack"] for path in RECIPES.values()}
    assert used == set(listed)


@pytest.mark.parametrize("folder", FROZEN, ids=lambda folder: folder.name)
def test_a_frozen_manifest_is_what_its_schema_says(folder: Path) -> None:
    """Every frozen manifest and row validates against the published schemas, with a validator that is not
    ours."""
    manifest = jsonschema.Draft202012Validator(
        json.loads((ROOT / "manifests/manifest.schema.json").read_text())
    )
    row = jsonschema.Draft202012Validator(json.loads((ROOT / "manifests/row.schema.json").read_text()))
    manifest.validate(oracles.manifest(folder))
    for one in oracles.rows(folder):
        row.validate(one)
    for key in ("identity", "recipe", "counts"):
        assert list(
            manifest.iter_errors(
                {name: value for name, value in oracles.manifest(folder).items() if name != key}
            )
        )
    assert list(row.iter_errors(oracles.rows(folder)[0] | {"role": "kind of clean"}))


def test_the_published_schemas_are_those_of_the_code() -> None:
    """`make schema` would change nothing."""
    from poisongen.format import schema

    for name in schema.FILES:
        assert (ROOT / "manifests" / name).read_text(encoding="utf-8") == schema.text(name)
        jsonschema.Draft202012Validator.check_schema(schema.schema(name))


@pytest.mark.long
def test_a_frozen_dataset_is_its_recipe(run: Run, tmp_path: Path) -> None:
    """The demo's dataset, rebuilt from the manifest that is committed, has the identity that the manifest
    names."""
    source, folder = tmp_path / "streets", ROOT / "manifests/streets/nni-10"
    assert run("draw", source, "--jobs", 1).code == 0
    outcome = run("rebuild", folder, "--source", source, "--out", tmp_path / "out", "--json")
    assert json.loads(outcome.out)["identity"] == oracles.manifest(folder)["identity"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("[]", "cannot be read"),
        ('{"title": "x", "dataset": "cityscape", "options": {}}', "not known"),
        ('{"title": "x", "dataset": "cityscapes", "options": {"atack": "iba"}}', "did you mean attack?"),
        ('{"title": "x", "dataset": "cityscapes", "options": {"attack": "ibba"}}', "did you mean iba?"),
        (
            '{"title": "x", "dataset": "cityscapes", "options": {"attack": "iba", "rate": 0.1}}',
            "options.rate",
        ),
        (
            '{"title": "x", "dataset": "cityscapes", '
            '"options": {"attack": "iba", "rate": "0.1", "cells": 1000}}',
            "1000",
        ),
        ('{"title": "x", "dataset": "cityscapes", "more": 1, "options": {}}', "more"),
    ],
)
def test_a_recipe_that_cannot_be_is_an_error(
    content: str, says: str, run: Run, sources: dict[str, Path], tmp_path: Path
) -> None:
    """A file that is no recipe is refused, by its name, with what to do."""
    path = tmp_path / "recipe.json"
    path.write_text(content)
    outcome = run("build", path, "--source", sources["cityscapes"], "--out", tmp_path / "out")
    assert outcome.code in (1, 2)
    assert says in outcome.err
    assert not (tmp_path / "out").exists()
