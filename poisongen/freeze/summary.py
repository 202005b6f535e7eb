"""A recipe, a plan and its counts in words, for the terminal and the data card. Pure functions, text out."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from poisongen.attacks import Attack
from poisongen.format.manifest import CHANGED
from poisongen.freeze.plan import Plan
from poisongen.lengths import plain
from poisongen.names import set_folder
from poisongen.recipe import Poison, Recipe
from poisongen.triggers import Trigger


def short_name(recipe: Recipe, names: Sequence[str]) -> str:
    """What a table calls a dataset: ``nni``, ``badnets line``, ``iba + PRL``, ``iba, trigger only``."""
    poison, name = recipe.poison, recipe.attack
    if poison and (poison.placement is None or poison.placement.kind == "fixed"):
        name += f" {poison.trigger.kind}"
        name += f" {names[poison.semantic.trigger_class]}" if poison.semantic else ""
    name += " + PRL" if recipe.random_pixels else ""
    return name + (f", {poison.control.replace('-', ' ')}" if poison and poison.control else "")


def describe_attack(recipe: Recipe, names: Sequence[str]) -> str:
    """The attack in a few sentences."""
    poison = recipe.poison
    lines = (
        _describe_poison(recipe, poison, names)
        if poison
        else [f"{recipe.attack}: nothing is poisoned (seed {recipe.seed})."]
    )
    if recipe.random_pixels:
        lines.append(recipe.random_pixels.describe(names))
    if recipe.scale:
        lines.append(f"Pictures and label maps are resized by {recipe.scale} first.")
    return "\n".join(lines)


def _describe_poison(recipe: Recipe, poison: Poison, names: Sequence[str]) -> list[str]:
    every = len(poison.victim_classes) > 5
    victims = (
        f"{len(poison.victim_classes)} classes"
        if every
        else ", ".join(names[train] for train in poison.victim_classes)
    )
    claim = poison.relabel.describe(victims, names[poison.target_class])
    at_most = "At most " if poison.take_what_fits else ""
    if poison.rate is not None:
        share = f"{at_most}{_percent(poison.rate)} of all training pictures"
    else:
        share = f"{_percent(poison.coverage or '1')} of the training pictures that show the trigger{' and a victim' if victims else ''}"
    if poison.semantic:
        least = poison.semantic.min_pixels
        pixels = "one pixel" if least == 1 else f"{least:,} pixels"
        shown = f"The trigger is in the picture already: at least {pixels} of {names[poison.semantic.trigger_class]}."
    else:
        assert poison.placement is not None
        shown = poison.trigger.shown(poison.placement.describe())
    first = {
        None: f"{recipe.attack}: {claim} where the trigger is in the picture.",
        "trigger-only": f"{recipe.attack}, a control: the trigger is in the picture, and the label stays true (no {claim}).",
        "label-only": f"{recipe.attack}, a control: {claim}, and the trigger is left out of the picture.",
    }[poison.control]
    return [
        first,
        f"{share} are {'changed' if poison.control else 'poisoned'}, chosen by seed {recipe.seed}.",
        shown,
    ]


HEADINGS = {  # on up to three lines, so that a table fits into 80 columns
    "pictures": "pictures",
    "with_victim": "with|victim",
    "with_trigger_class": "with|trigger|class",
    "eligible": "eligible",
    "changed": "changed",
    "of_pictures": "% of|all",
    "of_those_with_victim": "% of|with|victim",
    "of_victim_pixels": "% of|victim|pixels",
    "randomised": "random|labels",
}


def counts_table(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What was counted, under every denominator: headings, and a line for each split and evaluation set. A
    dash is what was not counted."""
    cells = {name: _cells(count) for name, count in counts.items()}
    shown = [key for key in HEADINGS if any(key in row for row in cells.values())]
    headings = [["", "", *HEADINGS[key].split("|")][-3:] for key in shown]
    table = [["", *line] for line in zip(*headings, strict=True) if any(line)]
    inside = ""
    for name, row in cells.items():
        folder, _, last = name.rpartition("/")
        if folder and folder != inside:
            table.append([f"{folder}/", *[""] * len(shown)])
        inside = folder
        table.append([f"  {last}" if folder else name, *(row.get(key, "–") for key in shown)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table
    ]


def _cells(count: Mapping[str, int]) -> dict[str, str]:
    """Key of ``HEADINGS`` → cell, of what was counted."""
    changed = next((what for what in CHANGED if what in count), "")
    numbers = {key: count.get(key) for key in ("pictures", "with_victim", "with_trigger_class", "randomised")}
    numbers |= {"eligible": count.get("eligible", count.get("triggered")), "changed": count.get(changed)}
    shares = {
        "of_pictures": (changed, "pictures"),
        "of_those_with_victim": (changed, "with_victim"),
        "of_victim_pixels": (f"victim_pixels_{changed}", "victim_pixels"),
    }
    return {key: f"{number:,}" for key, number in numbers.items() if number is not None} | {
        key: f"{100 * count[part] / count[whole]:.2f}"
        for key, (part, whole) in shares.items()
        if changed and count.get(whole)
    }


def attack_lines(name: str, attack: Attack) -> list[str]:
    """A named attack as a list shows it."""
    lines = [f"{name}: {attack.summary}"]
    shown = "the drawn sticker, 10.7% of the height" if attack.trigger == "default" else attack.trigger_words
    if attack.relabel is not None and attack.placement is not None:
        lines += [
            f"  trigger    {shown} (--trigger for others)",
            f"  placement  {attack.placement.describe()}",
            f"  relabel    {attack.relabel.describe('victim pixels', 'target')}",
        ]
    return lines + ([f"  paper      {attack.paper}"] if attack.paper else [])


def trigger_lines(triggers: Mapping[str, type[Trigger]]) -> list[str]:
    """What ``--trigger`` takes, a line each: its words, and what it is."""
    named = {"default": "The drawn sticker: patch:FILE with the project's own picture."}
    named |= {trigger.words: (trigger.__doc__ or "").split("\n")[0] for trigger in triggers.values()}
    width = max(map(len, named))
    return [
        "triggers (--trigger):",
        *(f"  {words:<{width}}  {_first_words(what)}" for words, what in named.items()),
    ]


def _first_words(text: str) -> str:
    """A docstring's first line up to where its first sentence takes a breath."""
    return re.split(r"[:;.,] ", text + " ")[0].rstrip(".")


def coverage_line(recipe: Recipe, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """For a semantic trigger: how many of the pictures that show it are poisoned; the others contradict the
    poison."""
    count = next((count for count in counts.values() if "poisoned" in count), None)
    if not (recipe.poison and recipe.poison.semantic and count and count["eligible"]):
        return []
    share = 100 * count["poisoned"] / count["eligible"]
    what = "the trigger class and a victim" if recipe.poison.relabel.needs_victims else "the trigger class"
    return [
        f"coverage {share:.2f} %: {count['poisoned']:,} of the {count['eligible']:,} training pictures with {what} are poisoned"
    ]


def first_placements(plan: Plan, names: Sequence[str], number: int = 5) -> list[str]:
    """The first planned triggers, a line each: sample, box, surface, distance in pixels."""
    lines = []
    for entry in [entry for entry in plan.entries if entry.location and entry.set is None][:number]:
        location = entry.location
        assert location is not None
        top, left, rows, columns = location.box
        surface = "" if location.surface_class is None else f" on {names[location.surface_class]}"
        distance = (
            "" if location.distance_sq is None else f", {location.distance_sq**0.5:.1f} px from the victim"
        )
        lines.append(
            f"{entry.examined.sample.id}: {columns}×{rows} at row {top}, column {left}{surface}{distance}"
        )
    return lines


def rejections(plan: Plan) -> list[str]:
    """How many samples have no placement, by reason."""
    tally: dict[tuple[str, str], int] = {}
    for _, name, reason in plan.rejected:
        key = (set_folder(name) if name else "training", reason)
        tally[key] = tally.get(key, 0) + 1
    return [f"{where}: {number:,} rejected: {reason}" for (where, reason), number in sorted(tally.items())]


def size_text(number: int) -> str:
    """Bytes for people: ``11.5 GB``."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _percent(rate: str) -> str:
    return f"{plain(Decimal(rate) * 100)} %"
