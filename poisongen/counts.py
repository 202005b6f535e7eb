"""What rows say of the counts in a manifest, and where a manifest says something that its own rows or recipe do not."""

from collections import Counter
from collections.abc import Iterable

from poisongen.labels import LabelSpace
from poisongen.lengths import number_poisoned
from poisongen.manifest import Manifest, Row, fingerprint, measure_of
from poisongen.recipe import Recipe


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
        counts[f"triggered/{planned.name}"] = counts.get(evaluation, _count([], recipe)) | triggered
    return counts


def _count(rows: list[Row], recipe: Recipe) -> dict[str, int]:
    poison = recipe.poison
    if poison is None:
        return {"pictures": len(rows)}
    pixels = [row.victim_pixels or 0 for row in rows]
    counted = {"pictures": len(rows), "with_victim": sum(number > 0 for number in pixels), "victim_pixels": sum(pixels)}
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
    own = {row.id: row for row in rows if row.set is None}
    scope = recipe.random_pixels.scope if recipe.random_pixels else ""
    changed = poison.role if poison else ""
    roles = {"clean"} | ({"noised"} if scope == "all" else set()) | ({changed, "triggered"} if poison else set())
    semantic = bool(poison and poison.semantic)
    may_be_random = {"noised", changed} if scope else set()
    found = []
    for fits, what in (
        (manifest.evaluation_sets == sets, "the recipe has other evaluation sets"),
        (manifest.measure == measure_of(recipe, _space(manifest)), "measure has other classes than the recipe"),
        (manifest.art == recipe.art_files(), "the recipe has another trigger art"),
        (manifest.source.fingerprint == fingerprint(rows), "the source's fingerprint is not that of the rows"),
        (manifest.source.splits == dict(Counter(row.split for row in own.values())), "the splits have other numbers of rows"),
        (all(row.set in sets for row in rows if row.set), "a row belongs to an evaluation set that the recipe lacks"),
        (all(row.id in own for row in rows), "a triggered row has no sample"),
        (any(row.split == train for row in own.values()), f"no sample is in the split {train}"),
        (all(row.split == own[row.id].split for row in rows if row.id in own), "a sample is in two splits"),
        (all(row.role in roles for row in rows), "a row has a role that this recipe cannot give"),
        (
            all(row.split == train for row in rows if row.role not in ("clean", "triggered")),
            f"a sample outside of {train} is changed",
        ),
        (all(row.split == evaluation for row in rows if row.set), f"a sample outside of {evaluation} is triggered"),
        (
            all((row.role in ("clean", "noised") or semantic) == (row.placement is None) for row in rows),
            "a trigger has no placement, or a placement no trigger",
        ),
        (
            all((row.role in ("clean", "noised", "label-only")) == (row.mask is None) for row in rows),
            "a trigger has no mask, or a mask no trigger",
        ),
        (all((row.victim_pixels is None) == (poison is None) for row in rows), "victims are counted in some rows only"),
        (
            all((row.trigger_class_pixels is not None) == semantic for row in rows),
            "pixels of a trigger class are counted in some rows only, or without such a trigger",
        ),
        (
            all(row.role in may_be_random for row in rows if row.randomised_pixels is not None),
            "a row has random labels, and the recipe gives it none",
        ),
        (all(row.randomised_pixels for row in rows if row.role == "noised"), "a noised row has no random label"),
    ):
        if not fits:
            found.append(what)
    return found or _wrong_counts(manifest, rows)


def _wrong_counts(manifest: Manifest, rows: tuple[Row, ...]) -> list[str]:
    train, poison, found = manifest.splits.train, manifest.recipe.poison, list[str]()
    counted = count(rows, manifest.recipe, train, manifest.splits.evaluation)
    stated = {name: dict(values) for name, values in manifest.counts.items()}
    # Placements that were not chosen: no row speaks of them.
    eligible = [stated.get(train, {}).pop(key, 0) for key in ("eligible", "victim_pixels_eligible")]
    if stated != counted:
        return ["the counts are not those of the rows"]
    if poison:
        of = counted[train]
        changed = of[poison.role]
        if poison.coverage is not None:
            asked, share = number_poisoned(poison.coverage, eligible[0]), f"a coverage of {poison.coverage}"
        else:
            assert poison.rate is not None
            asked, share = number_poisoned(poison.rate, of["pictures"]), f"a rate of {poison.rate}"
        if not (changed == asked or (poison.take_what_fits and changed < asked)):
            found.append(f"{share} is {asked} poisoned pictures, and there are {changed}")
        at_least = changed, of[f"victim_pixels_{poison.role}"]
        at_most = of["with_victim"] if poison.relabel.needs_victims else of["pictures"], of["victim_pixels"]
        if not all(low <= value <= high for low, value, high in zip(at_least, eligible, at_most, strict=True)):
            found.append("the eligible are fewer than the poisoned, or more than there are")
    return found


def _space(manifest: Manifest) -> LabelSpace:
    labels = manifest.label_space
    return LabelSpace(labels.names, labels.colours, {int(raw): train for raw, train in labels.raw_to_train.items()})
