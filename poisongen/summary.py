"""A recipe, a plan and its counts in words, for the terminal and the data card. Pure functions, text out."""

from collections.abc import Mapping, Sequence

from poisongen.placement import NearVictim
from poisongen.plan import Plan
from poisongen.recipe import Placement, Recipe


def describe_attack(recipe: Recipe, names: Sequence[str]) -> str:
    """The attack in a sentence or two."""
    poison = recipe.poison
    if poison is None:
        return f"{recipe.attack}: nothing is changed (seed {recipe.seed})."
    victims = ", ".join(names[train] for train in poison.victim_classes)
    size = f"{poison.trigger.size} of the picture's height" if poison.trigger.size.unit == "%" else str(poison.trigger.size)
    return (
        f"{recipe.attack}: {victims} → {names[poison.target_class]} where the trigger is in the picture.\n"
        f"{'At most ' if poison.take_what_fits else ''}{_percent(poison.rate)} of all training pictures are poisoned, "
        f"chosen by seed {recipe.seed}.\n"
        f"The trigger ({size}) lies {describe_placement(poison.placement)}."
    )


def describe_placement(placement: Placement) -> str:
    """Where the trigger goes, in words."""
    margin = "" if placement.edge_margin.value == 0 else f", reference point {placement.edge_margin} or more from every edge"
    if not isinstance(placement, NearVictim):
        return f"anywhere on one surface{margin}"
    bounds = f" between {placement.lower} and {placement.upper}" if placement.upper else ""
    if placement.lower.value and not placement.upper:
        bounds = f", {placement.lower} or more away"
    if placement.rule == "nearest":
        return f"on one surface as near to the victim as it fits{bounds}{margin}"
    return f"on one surface, uniformly at distances from the victim{bounds}{margin}"


def counts_table(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What was counted, under every denominator: a heading, and a line for each split and evaluation set."""
    heading = ["", "pictures", "with victim", "eligible", "with trigger", "of pictures", "of those with", "of victim pixels"]
    table = [heading]
    for name, count in counts.items():
        changed = next((what for what in ("poisoned", "triggered") if what in count), "")
        eligible = count.get("eligible", count.get("triggered"))
        cells = [count["pictures"], count.get("with_victim"), eligible, count.get(changed)]
        # "Those with" are the pictures with a victim.
        shares = (("pictures", changed), ("with_victim", changed), ("victim_pixels", f"victim_pixels_{changed}"))
        table.append(
            [name]
            + ["–" if cell is None else f"{cell:,}" for cell in cells]
            + [f"{100 * count[part] / count[whole]:.2f} %" if changed and count.get(whole) else "–" for whole, part in shares]
        )
    if all("with_victim" not in count for count in counts.values()):
        table = [row[:2] for row in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]


def first_placements(plan: Plan, names: Sequence[str], number: int = 5) -> list[str]:
    """The first planned triggers, a line each: sample, box, surface, distance in pixels."""
    lines = []
    for entry in [entry for entry in plan.entries if entry.spot and entry.role == "poisoned"][:number]:
        spot = entry.spot
        assert spot is not None
        top, left, rows, columns = spot.box
        distance = "" if spot.distance_sq is None else f", {spot.distance_sq**0.5:.1f} px from the victim"
        lines.append(
            f"{entry.examined.sample.id}: {columns}×{rows} at row {top}, column {left} on {names[spot.surface_class]}{distance}"
        )
    return lines


def rejections(plan: Plan) -> list[str]:
    """How many samples have no placement, by reason."""
    tally: dict[tuple[str, str], int] = {}
    for _, name, reason in plan.rejected:
        key = (f"triggered/{name}" if name else "training", reason)
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
    return f"{float(rate) * 100:g} %"
