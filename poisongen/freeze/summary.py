"""A recipe, a plan and its counts in words, for the terminal and the data card. Pure functions, text out."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

from poisongen.attacks import Attack
from poisongen.format.manifest import CHANGED
from poisongen.freeze.plan import Plan
from poisongen.lengths import plain
from poisongen.names import set_folder
from poisongen.recipe import Poison, Recipe
from poisongen.surfaces import Location
from poisongen.triggers import Trigger


def short_name(recipe: Recipe, names: Sequence[str]) -> str:
    """What a table calls a dataset: ``nni``, ``badnets line``, ``iba + PRL``, ``iba, trigger only``."""
    poison = recipe.poison
    parts = [recipe.attack]
    if poison and (poison.placement is None or poison.placement.kind == "fixed"):
        parts.append(poison.trigger.kind)
    if poison and poison.semantic:
        parts.append(names[poison.semantic.trigger_class])
    if recipe.random_pixels:
        parts.append("+ PRL")
    name = " ".join(parts)
    return f"{name}, {poison.control.replace('-', ' ')}" if poison and poison.control else name


def describe_attack(recipe: Recipe, names: Sequence[str]) -> str:
    """The attack in a few sentences, a line each."""
    poison = recipe.poison
    if poison is None:
        lines = [f"{recipe.attack}: nothing is poisoned (seed {recipe.seed})."]
    else:
        lines = [
            _describe_claim(recipe.attack, poison, names),
            _describe_share(recipe.seed, poison),
            _describe_trigger(poison, names),
        ]
    if recipe.random_pixels:
        lines.append(recipe.random_pixels.describe(names))
    if recipe.scale:
        lines.append(f"Pictures and label maps are resized by {recipe.scale} first.")
    return "\n".join(lines)


def _describe_claim(attack: str, poison: Poison, names: Sequence[str]) -> str:
    """What happens to whom."""
    claim = poison.relabel.describe(_victims(poison, names), names[poison.target_class])
    if poison.control == "trigger-only":
        what = f"the trigger is in the picture, and the label stays true (no {claim})"
        return f"{attack}, a control: {what}."
    if poison.control == "label-only":
        return f"{attack}, a control: {claim}, and the trigger is left out of the picture."
    return f"{attack}: {claim} where the trigger is in the picture."


def _victims(poison: Poison, names: Sequence[str]) -> str:
    """The victim classes: a list of some, the number of many."""
    if len(poison.victim_classes) > 5:
        return f"{len(poison.victim_classes)} classes"
    return ", ".join(names[train] for train in poison.victim_classes)


def _describe_share(seed: int, poison: Poison) -> str:
    """How many pictures, and who chooses them."""
    if poison.rate is not None:
        at_most = "At most " if poison.take_what_fits else ""
        share = f"{at_most}{_percent(poison.rate)} of all training pictures"
    else:
        whom = "the trigger and a victim" if poison.victim_classes else "the trigger"
        share = f"{_percent(poison.coverage or '1')} of the training pictures that show {whom}"
    changed = "changed" if poison.control else "poisoned"
    return f"{share} are {changed}, chosen by seed {seed}."


def _describe_trigger(poison: Poison, names: Sequence[str]) -> str:
    """What is shown, and where."""
    if poison.semantic:
        least = poison.semantic.min_pixels
        pixels = "one pixel" if least == 1 else f"{least:,} pixels"
        shown = names[poison.semantic.trigger_class]
        return f"The trigger is in the picture already: at least {pixels} of {shown}."
    return poison.trigger.shown(poison.placement.describe() if poison.placement else "")


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
_HEADING_LINES = 3


def counts_table(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What was counted, under every denominator: headings, and a line for each split and evaluation set. A
    dash is what was not counted."""
    cells = {name: _cells(count) for name, count in counts.items()}
    counted = set[str]().union(*cells.values())
    shown = [key for key in HEADINGS if key in counted]
    table = _headings(shown)
    inside = ""
    for name, row in cells.items():
        folder, _, last = name.rpartition("/")
        if folder and folder != inside:
            table.append([f"{folder}/", *[""] * len(shown)])
        inside = folder
        values = [row.get(key, "–") for key in shown]
        table.append([f"  {last}" if folder else name, *values])
    return _aligned(table)


def _headings(shown: Sequence[str]) -> list[list[str]]:
    """The lines of the heads of these columns, each at the bottom; empty lines are left out."""
    columns = []
    for key in shown:
        words = HEADINGS[key].split("|")
        columns.append([*[""] * (_HEADING_LINES - len(words)), *words])
    lines = zip(*columns, strict=True)
    return [["", *line] for line in lines if any(line)]


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *others in table:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _cells(count: Mapping[str, int]) -> dict[str, str]:
    """Key of ``HEADINGS`` → cell, of what was counted."""
    role = next((role for role in CHANGED if role in count), "")
    numbers = {key: count.get(key) for key in ("pictures", "with_victim", "with_trigger_class", "randomised")}
    numbers["eligible"] = count.get("eligible", count.get("triggered"))
    numbers["changed"] = count.get(role)
    cells = {key: f"{number:,}" for key, number in numbers.items() if number is not None}
    if not role:
        return cells
    shares = {
        "of_pictures": (role, "pictures"),
        "of_those_with_victim": (role, "with_victim"),
        "of_victim_pixels": (f"victim_pixels_{role}", "victim_pixels"),
    }
    for key, (part, whole) in shares.items():
        if count.get(whole):
            cells[key] = f"{100 * count[part] / count[whole]:.2f}"
    return cells


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
    if attack.paper:
        lines.append(f"  paper      {attack.paper}")
    return lines


def trigger_lines(triggers: Mapping[str, type[Trigger]]) -> list[str]:
    """What ``--trigger`` takes, a line each: its words, and what it is."""
    named = {"default": "The drawn sticker: patch:FILE with the project's own picture."}
    for trigger in triggers.values():
        named[trigger.words] = (trigger.__doc__ or "").split("\n")[0]
    width = max(map(len, named))
    lines = [f"  {words:<{width}}  {_first_words(what)}" for words, what in named.items()]
    return ["triggers (--trigger):", *lines]


def _first_words(text: str) -> str:
    """A docstring's first line up to the first punctuation mark."""
    return re.split(r"[:;.,] ", text + " ")[0].rstrip(".")


def coverage_line(recipe: Recipe, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """For a semantic trigger: how many of the pictures that show it are poisoned; the others contradict the
    poison."""
    poison = recipe.poison
    count = next((count for count in counts.values() if "poisoned" in count), None)
    if poison is None or poison.semantic is None or count is None or not count["eligible"]:
        return []
    poisoned, eligible = count["poisoned"], count["eligible"]
    what = "the trigger class and a victim" if poison.relabel.needs_victims else "the trigger class"
    of = f"{poisoned:,} of the {eligible:,} training pictures with {what} are poisoned"
    return [f"coverage {100 * poisoned / eligible:.2f} %: {of}"]


def first_placements(plan: Plan, names: Sequence[str], number: int = 5) -> list[str]:
    """The first planned triggers, a line each: sample, box, surface, distance in pixels."""
    lines = []
    for entry in plan.entries:
        if entry.set is None and entry.location is not None:
            lines.append(f"{entry.sample.id}: {_place(entry.location, names)}")
    return lines[:number]


def _place(location: Location, names: Sequence[str]) -> str:
    top, left, rows, columns = location.box
    place = f"{columns}×{rows} at row {top}, column {left}"
    if location.surface_class is not None:
        place += f" on {names[location.surface_class]}"
    if location.distance_sq is not None:
        place += f", {location.distance_sq**0.5:.1f} px from the victim"
    return place


def rejections(plan: Plan) -> list[str]:
    """How many samples have no placement, by reason."""
    tally = Counter((_where(one.set), one.reason) for one in plan.rejected)
    return [f"{where}: {number:,} rejected: {reason}" for (where, reason), number in sorted(tally.items())]


def _where(set_name: str) -> str:
    return set_folder(set_name) if set_name else "training"


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
