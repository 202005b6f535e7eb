"""What rows say of the counts in a manifest, and where a manifest says something that its own rows or recipe
do not."""

from collections import Counter
from collections.abc import Collection, Iterable

from poisongen.errors import RecipeError
from poisongen.format.manifest import Manifest, Row, fingerprint, measure_of
from poisongen.labels import LabelSpace
from poisongen.lengths import number_poisoned
from poisongen.names import set_folder
from poisongen.placement import Fixed, OneSurface, Placement
from poisongen.randomness import order_key
from poisongen.recipe import Poison, Recipe
from poisongen.surfaces import Location


def count(rows: Iterable[Row], recipe: Recipe, train: str, evaluation: str) -> dict[str, dict[str, int]]:
    """The counts of a manifest: all but the eligible."""
    rows, counts = tuple(rows), dict[str, dict[str, int]]()
    for split in sorted({row.split for row in rows}):
        counts[split] = _count([row for row in rows if row.split == split and row.set is None], recipe)
    if recipe.random_pixels:
        randomised = [row.randomised_pixels for row in rows if row.randomised_pixels]
        counts[train] |= {"randomised": len(randomised), "randomised_pixels": sum(randomised)}
    if recipe.poison is None:
        return counts
    role = recipe.poison.role
    counts[train] |= _changed([row for row in rows if row.role == role], role)
    for planned in recipe.poison.evaluation_sets:
        triggered = _changed([row for row in rows if row.set == planned.name], "triggered")
        counts[set_folder(planned.name)] = counts.get(evaluation, _count([], recipe)) | triggered
    return counts


def _count(rows: list[Row], recipe: Recipe) -> dict[str, int]:
    poison = recipe.poison
    if poison is None:
        return {"pictures": len(rows)}
    pixels = [row.victim_pixels or 0 for row in rows]
    counted = {
        "pictures": len(rows),
        "with_victim": sum(number > 0 for number in pixels),
        "victim_pixels": sum(pixels),
    }
    if poison.semantic:
        least = poison.semantic.min_pixels
        counted["with_trigger_class"] = sum((row.trigger_class_pixels or 0) >= least for row in rows)
    return counted


def _changed(rows: list[Row], what: str) -> dict[str, int]:
    return {what: len(rows), f"victim_pixels_{what}": sum(row.victim_pixels or 0 for row in rows)}


def contradictions(manifest: Manifest, rows: Iterable[Row]) -> list[str]:
    """A sentence for each, nothing for an honest manifest."""
    rows, recipe, poison = tuple(rows), manifest.recipe, manifest.recipe.poison
    train, evaluation = manifest.splits.train, manifest.splits.evaluation
    sets = tuple(planned.name for planned in poison.evaluation_sets) if poison else ()
    try:
        recipe.check(_space(manifest))
    except RecipeError as error:
        return [f"the recipe names no class: {error.problem}"]
    own = {row.id: row for row in rows if row.set is None}
    rules = {name or None: placement for name, placement, _ in poison.shown()} if poison else {}
    scope = recipe.random_pixels.scope if recipe.random_pixels else ""
    changed = poison.role if poison else ""
    roles = (
        {"clean"} | ({"noised"} if scope == "all" else set()) | ({changed, "triggered"} if poison else set())
    )
    semantic = bool(poison and poison.semantic)
    may_be_random = {"noised", changed} if scope else set()
    found = []
    for fits, what in (
        (manifest.evaluation_sets == sets, "the recipe has other evaluation sets"),
        (
            manifest.measure == measure_of(recipe, _space(manifest)),
            "measure has other classes than the recipe",
        ),
        (manifest.art == recipe.art_files(), "the recipe has another trigger art"),
        (
            manifest.source.fingerprint == fingerprint(rows),
            "the source's fingerprint is not that of the rows",
        ),
        (
            manifest.source.splits == dict(Counter(row.split for row in own.values())),
            "the splits have other numbers of rows",
        ),
        (
            all(row.set in sets for row in rows if row.set),
            "a row belongs to an evaluation set that the recipe lacks",
        ),
        (all(row.id in own for row in rows), "a triggered row has no sample"),
        (any(row.split == train for row in own.values()), f"no sample is in the split {train}"),
        (all(row.split == own[row.id].split for row in rows if row.id in own), "a sample is in two splits"),
        (all(row.role in roles for row in rows), "a row has a role that this recipe cannot give"),
        (
            all(row.split == train for row in rows if row.role not in ("clean", "triggered")),
            f"a sample outside of {train} is changed",
        ),
        (
            all(row.split == evaluation for row in rows if row.set),
            f"a sample outside of {evaluation} is triggered",
        ),
        (
            all((row.role in ("clean", "noised") or semantic) == (row.placement is None) for row in rows),
            "a trigger has no placement, or a placement no trigger",
        ),
        (
            all((row.role in ("clean", "noised", "label-only")) == (row.mask is None) for row in rows),
            "a trigger has no mask, or a mask no trigger",
        ),
        (
            all((row.victim_pixels is None) == (poison is None) for row in rows),
            "victims are counted in some rows only",
        ),
        (
            all((row.trigger_class_pixels is not None) == semantic for row in rows),
            "pixels of a trigger class are counted in some rows only, or without such a trigger",
        ),
        (
            all(row.role in may_be_random for row in rows if row.randomised_pixels is not None),
            "a row has random labels, and the recipe gives it none",
        ),
        (
            all(row.randomised_pixels for row in rows if row.role == "noised"),
            "a noised row has no random label",
        ),
        (all(_as_written(row, recipe) for row in rows), "a row was not written as the recipe says"),
        (
            all(
                (row.relabelled_pixels is not None) == (row.role in ("poisoned", "label-only"))
                for row in rows
            ),
            "a relabel is not counted, or counted where there is none",
        ),
        (
            all(row.trigger_pixels == row.trigger_class_pixels for row in rows if semantic and row.mask),
            "a semantic trigger is other than its class",
        ),
        (
            all(_same_label(row, own[row.id]) for row in rows if row.id in own),
            "a triggered row counts other pixels than the clean one",
        ),
        (
            all(_placed(row, rules.get(row.set)) for row in rows if row.placement),
            "a trigger lies outside of its picture, or elsewhere than its rule has it",
        ),
    ):
        if not fits:
            found.append(what)
    return found or _wrong_counts(manifest, rows)


def _as_written(row: Row, recipe: Recipe) -> bool:
    """Does the row have the digests that a resized or lossless dataset has, and the facts of a JPEG where it
    is one?"""
    poison, random, reached = recipe.poison, recipe.random_pixels, row.victim_pixels_in_blocks
    has_victims = poison is not None and poison.relabel.needs_victims
    if recipe.scale and not (row.image_pixels and row.label_pixels):
        return False
    if not recipe.scale and row.role == "clean" and not (row.image_bytes and row.label_bytes):
        return False
    if row.image_coefficients and recipe.lossless:
        return False
    if (reached is not None) != bool(row.image_coefficients and has_victims) or (reached or 0) > (
        row.victim_pixels or 0
    ):
        return False
    return random is None or (row.randomised_pixels or 0) <= random.pixels.pixels(row.height * row.width)


def _same_label(row: Row, clean: Row) -> bool:
    keys = ("height", "width", "victim_pixels", "trigger_class_pixels")
    return all(getattr(row, key) == getattr(clean, key) for key in keys)


def _placed(row: Row, rule: Placement | None) -> bool:
    assert row.placement is not None
    top, left, height, width = row.placement.box
    if top + height > row.height or left + width > row.width:
        return False
    if isinstance(rule, Fixed):
        return row.placement == Location(box=rule.box((row.height, row.width), (height, width)))
    return not isinstance(rule, OneSurface) or row.placement.surface_class is not None


def _wrong_counts(manifest: Manifest, rows: tuple[Row, ...]) -> list[str]:
    train, evaluation, poison = manifest.splits.train, manifest.splits.evaluation, manifest.recipe.poison
    counted = count(rows, manifest.recipe, train, evaluation)
    if poison is None:
        return [] if manifest.counts == counted else ["the counts are not those of the rows"]
    rejected = {
        name: {one.id for one in manifest.rejected if one.set == name}
        for name in ("", *manifest.evaluation_sets)
    }
    involved = {
        split: {row.id: row for row in rows if row.split == split and _involved(row, poison)}
        for split in (train, evaluation)
    }
    if sum(map(len, rejected.values())) < len(manifest.rejected) or not all(
        ids <= involved[evaluation if name else train].keys() for name, ids in rejected.items()
    ):
        return [
            "a sample is rejected twice, or for a set that there is not, or has nothing to do with the attack"
        ]
    eligible = {name: involved[evaluation if name else train].keys() - ids for name, ids in rejected.items()}
    counted[train] |= {
        "eligible": len(eligible[""]),
        "victim_pixels_eligible": sum(involved[train][one].victim_pixels or 0 for one in eligible[""]),
    }
    found = []
    for fits, what in (
        (manifest.counts == counted, "the counts are not those of the rows"),
        (
            all(
                {row.id for row in rows if row.set == name} == eligible[name]
                for name in manifest.evaluation_sets
            ),
            "a set has other pictures than those that were not rejected",
        ),
    ):
        if not fits:
            found.append(what)
    return found or _wrong_choice(manifest, rows, eligible[""])


def _involved(row: Row, poison: Poison) -> bool:
    """Has a sample what the attack needs: a victim, and the class that is the trigger?"""
    return (
        row.set is None
        and bool(row.victim_pixels or not poison.relabel.needs_victims)
        and bool(row.trigger_class_pixels or not poison.semantic)
    )


def _wrong_choice(manifest: Manifest, rows: tuple[Row, ...], eligible: Collection[str]) -> list[str]:
    poison = manifest.recipe.poison
    assert poison is not None
    if poison.coverage is not None:
        asked, share = number_poisoned(poison.coverage, len(eligible)), f"a coverage of {poison.coverage}"
    else:
        assert poison.rate is not None
        pictures = manifest.counts[manifest.splits.train]["pictures"]
        asked, share = number_poisoned(poison.rate, pictures), f"a rate of {poison.rate}"
    changed = {row.id for row in rows if row.role == poison.role}
    if not (len(changed) == asked or (poison.take_what_fits and len(changed) == len(eligible) < asked)):
        return [f"{share} is {asked} poisoned pictures, and there are {len(changed)}"]
    first = sorted(eligible, key=lambda one: order_key(manifest.recipe.seed, one))[: len(changed)]
    return [] if changed == set(first) else ["the seed chooses other pictures than those that are poisoned"]


def _space(manifest: Manifest) -> LabelSpace:
    labels = manifest.label_space
    return LabelSpace(
        labels.names, labels.colours, {int(raw): train for raw, train in labels.raw_to_train.items()}
    )
