"""The counts of a manifest: what is in each split and each evaluation set, as the rows have it."""

from collections.abc import Iterable, Sequence

from poisongen.format.manifest import Row
from poisongen.names import set_folder
from poisongen.recipe import Poison, Recipe

Counts = dict[str, int]


def count(rows: Iterable[Row], recipe: Recipe, train: str, evaluation: str) -> dict[str, Counts]:
    """Split, or ``triggered/NAME`` → its counts: all but those of the eligible, whom the rows do not name."""
    rows = tuple(rows)
    poison = recipe.poison
    counts: dict[str, Counts] = {}
    for split in sorted({row.split for row in rows}):
        own = [row for row in rows if row.split == split and row.set is None]
        counts[split] = _present(own, poison)
    if recipe.random_pixels:
        randomised = [row.randomised_pixels for row in rows if row.randomised_pixels]
        counts[train] |= {"randomised": len(randomised), "randomised_pixels": sum(randomised)}
    if poison is None:
        return counts
    chosen = [row for row in rows if row.role == poison.role]
    counts[train] |= _changed(chosen, poison.role)
    evaluated = counts.get(evaluation, _present([], poison))
    for planned in poison.evaluation_sets:
        triggered = [row for row in rows if row.set == planned.name]
        counts[set_folder(planned.name)] = evaluated | _changed(triggered, "triggered")
    return counts


def _present(rows: Sequence[Row], poison: Poison | None) -> Counts:
    """How many samples there are, and how many have what the attack needs."""
    if poison is None:
        return {"pictures": len(rows)}
    victim_pixels = [row.victim_pixels or 0 for row in rows]
    counted = {
        "pictures": len(rows),
        "with_victim": sum(number > 0 for number in victim_pixels),
        "victim_pixels": sum(victim_pixels),
    }
    if poison.semantic:
        least = poison.semantic.min_pixels
        counted["with_trigger_class"] = sum((row.trigger_class_pixels or 0) >= least for row in rows)
    return counted


def _changed(rows: Sequence[Row], role: str) -> Counts:
    return {role: len(rows), f"victim_pixels_{role}": sum(row.victim_pixels or 0 for row in rows)}
