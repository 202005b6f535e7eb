"""Where triggers lie and who gets one, for every attack, trigger, control and dataset."""

import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import oracles
from tests.support.cases import CASES, over
from tests.support.frozen import Frozen, Row
from tests.support.oracles import reach


@over(lambda case: case.options["attack"] in ("iba", "nni"))
def test_a_trigger_lies_on_one_component_and_never_on_the_victim(frozen: Frozen) -> None:
    """No pixel of a trigger is victim or ignore; all lie on one 4-connected component of one class, which the
    row describes."""
    for row in frozen.changed:
        train, placement = frozen.train[row["id"]], row["placement"]
        shown = frozen.laid(row["id"], frozen.rule(row)[1])
        assert shown is not None
        under = np.zeros(train.shape, bool)
        under[reach(placement["box"])] = shown.footprint
        numbered = oracles.components(train, frozen.victims)
        (component,) = np.unique(numbered[under]).tolist()
        assert component > 0
        assert [placement["surface_class"]] == np.unique(train[under]).tolist()
        assert placement["component_pixels"] == (numbered == component).sum()
        victim = np.isin(train, frozen.victims)
        top, left, height, width = placement["box"]
        centre = top + height // 2, left + width // 2
        away = oracles.squared_distance(victim)
        assert placement["distance_sq"] == away[centre]
        assert placement["chebyshev"] == oracles.chebyshev_distance(victim)[centre]
        assert placement["gap_sq"] == away[under].min() > 0


@over(lambda case: case.poisons)
def test_a_trigger_lies_where_its_rule_allows(frozen: Frozen) -> None:
    """Margins, bounds and anchors hold in training, and each evaluation set has its own rule; a semantic
    trigger is where it is."""
    for row in frozen.changed:
        placement, trigger = frozen.rule(row)
        if placement is None:
            assert "placement" not in row
            continue
        top, left, height, width = row["placement"]["box"]
        assert frozen.allowed(row["id"], placement, trigger)[top + height // 2, left + width // 2], row["id"]
        if placement["kind"] == "fixed":
            assert row["placement"].keys() == {"box"}


@over(lambda case: case.poisons)
def test_who_is_poisoned_is_known_beforehand(frozen: Frozen) -> None:
    """The first ⌊rate · N + ½⌋ of the eligible in the order of sha256(seed:id); N: training pictures, of a
    coverage the eligible."""
    role = frozen.poison["control"] or "poisoned"
    assert {row["id"] for row in frozen.rows if row["role"] == role} == frozen.chosen
    noised = {row["id"] for row in frozen.rows if row["role"] == "noised"}
    if frozen.random and frozen.random["scope"] == "all":
        training = {one for one, (split, _, _) in frozen.samples.items() if split == frozen.knows.train}
        assert noised == {one for one in training - frozen.chosen if frozen.wanted_random(one)}
    else:
        assert not noised


@over(lambda case: case.poisons)
def test_an_evaluation_set_is_all_pictures_that_can_show_the_trigger(frozen: Frozen) -> None:
    """Each set has every picture of the evaluation split that is eligible, at any rate; both sides of a
    semantic trigger are counted."""
    for name, _, _ in frozen.shown[1:]:
        assert list(frozen.by_set[name]) == sorted(frozen.judged[name][0])
        assert all(
            row["role"] == "triggered" and row["split"] == frozen.knows.evaluation
            for row in frozen.by_set[name].values()
        )
    if frozen.case.semantic:
        (members,) = (frozen.by_set[name] for name, _, _ in frozen.shown[1:])
        least, wanted = frozen.trigger["min_pixels"], frozen.poison["min_victim_pixels"]
        measured = [row for row in frozen.by_set[None].values() if row["split"] == frozen.knows.evaluation]
        having = {row["id"] for row in measured if row["trigger_class_pixels"] >= least}
        lacking = {row["id"] for row in measured} - having
        assert lacking
        assert having
        assert members.keys() == {
            one for one in having if not frozen.victims or frozen.by_set[None][one]["victim_pixels"] >= wanted
        }


@over(lambda case: case.poisons)
def test_rejected_are_those_that_might_have_been(frozen: Frozen) -> None:
    """A sample with victim and trigger class is rejected exactly if they are too small or an exhaustive
    search finds no place."""
    told: dict[str, set[str]] = defaultdict(set)
    for one in frozen.manifest["rejected"]:
        assert one["reason"]
        told[one["set"]].add(one["id"])
    for name, (_, rejected) in frozen.judged.items():
        assert told.pop(name or "", set()) == set(rejected)
    assert not told


@pytest.mark.parametrize("frozen", ["cityscapes-semantic", "ade20k-wall"], indirect=True)
def test_least_sizes_are_enough(frozen: Frozen) -> None:
    """A picture with exactly the least number of trigger pixels, or of victim pixels, is eligible; the
    recipes here have such pictures."""
    least, eligible = frozen.trigger["min_pixels"], frozen.judged[None][0]
    assert least in [frozen.by_set[None][one]["trigger_class_pixels"] for one in eligible]
    if frozen.poison["min_victim_pixels"] > 1:
        assert frozen.poison["min_victim_pixels"] in [
            frozen.by_set[None][one]["victim_pixels"] for one in eligible
        ]


@over(lambda case: "decoy" in case.options.get("eval", ""))
def test_a_decoy_lies_where_the_trigger_lies(frozen: Frozen) -> None:
    """A decoy set has the pictures, labels, masks and places of the set of the same name, and another sticker
    in them."""
    for name in ("iba", "nni"):
        trigger, decoy = frozen.by_set[name], frozen.by_set[f"{name}-decoy"]
        assert trigger.keys() == decoy.keys()
        for sample_id, row in trigger.items():
            other = decoy[sample_id]
            assert other["placement"] == row["placement"]
            assert other["mask_pixels"] == row["mask_pixels"]
            same = ("image_pixels", "image_coefficients")
            assert [other.get(key) for key in same] != [row.get(key) for key in same]


def placed(rows: dict[str, Row]) -> dict[str, Any]:
    """Id → place, of the rows that an attack changed."""
    return {one: row["placement"] for one, row in rows.items() if row["role"] not in ("clean", "noised")}


@pytest.mark.parametrize("control", ["trigger-only", "label-only"])
def test_a_control_uses_the_samples_and_places_of_its_attack(
    freeze: Callable[[str], Frozen], control: str
) -> None:
    """With one seed, a control changes the same pictures at the same places, one half of them; all else is
    the same, byte for byte."""
    attack, other = freeze("cityscapes-iba"), freeze(f"cityscapes-iba-{control}")
    assert placed(attack.by_set[None]) == placed(other.by_set[None]) != {}
    for sample_id, row in attack.by_set[None].items():
        half = other.by_set[None][sample_id]
        if row["role"] == "clean":
            assert half == row
        elif control == "trigger-only":
            assert (half["role"], half["image_pixels"]) == (control, row["image_pixels"])
            assert half["label_bytes"] == row["source_label_bytes"]
        else:
            assert (half["role"], half["label_pixels"]) == (control, row["label_pixels"])
            assert half["image_bytes"] == row["source_image_bytes"]
            assert half["relabelled_pixels"] == row["relabelled_pixels"] == row["victim_pixels"]
    for name in ("iba", "nni"):
        assert attack.by_set[name] == other.by_set[name]


@pytest.mark.long
def test_evaluation_sets_do_not_depend_on_training(freeze: Callable[[str], Frozen]) -> None:
    """Recipes with one trigger, victims, scale and evaluation seed share every row of a set of one name,
    whatever else they have."""
    groups: dict[str, list[Frozen]] = defaultdict(list)
    for name, case in CASES.items():
        if case.poisons:
            one = freeze(name)
            seeds = {planned["seed"] for planned in one.poison["evaluation_sets"]}
            shared = (
                one.trigger,
                one.measured,
                one.poison["min_victim_pixels"],
                one.recipe["scale"],
                one.recipe["lossless"],
                seeds,
            )
            groups[f"{case.dataset} {shared}"].append(one)
    compared = 0
    for one, other in itertools.chain.from_iterable(
        itertools.combinations(group, 2) for group in groups.values()
    ):
        for name in {*one.by_set} & {*other.by_set} - {None}:
            assert one.by_set[name] == other.by_set[name]
            compared += 1
    assert compared > 25
