"""Who is poisoned, and who is triggered: label maps in, ``Plan`` out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Any, NamedTuple

from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Source
from poisongen.engine.workers import Workers
from poisongen.errors import RecipeError, Shortfall
from poisongen.format.counts import Counts, count
from poisongen.format.manifest import Rejected
from poisongen.freeze.examine import TRAINING, Examined, Examiner, Ineligible, Verdict
from poisongen.freeze.rows import Entry, plan_row
from poisongen.lengths import number_poisoned, plain
from poisongen.names import set_folder
from poisongen.randomness import order_key
from poisongen.recipe import Poison, Recipe
from poisongen.triggers import Art


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a pixel is touched."""

    recipe: Recipe
    entries: tuple[Entry, ...]
    counts: dict[str, Counts]
    rejected: tuple[Rejected, ...] = ()
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def facts(self) -> dict[str, Any]:
        """The plan as plain values, for comparing it with another."""
        rows = [entry.facts() for entry in self.entries]
        return {"recipe": self.recipe.model_dump(mode="json"), "rows": rows}


def make_plan(recipe: Recipe, source: Source, art: Art, workers: Workers) -> Plan:
    """Decide who is poisoned and where: the same plan for the same recipe and label maps, whatever the
    workers.

    Raises SourceError, RecipeError (the attack fits no picture) or Shortfall (too few can be poisoned for the
    rate).
    """
    recipe.check(source.space)
    reader = Reader(source.root, recipe.scale)
    examiner = Examiner(reader, source.space, recipe, art, source.train_split, source.evaluation_split)
    examined = sorted(workers.map(examiner, source.samples, "planning"), key=lambda one: one.sample.id)
    if recipe.poison is None:
        clean = _in_order(_own_entry(one, recipe, chosen=False) for one in examined)
        return Plan(recipe, clean, _counts(clean, recipe, source))
    return _poisoned_plan(recipe, recipe.poison, source, examined)


def _poisoned_plan(recipe: Recipe, poison: Poison, source: Source, examined: Sequence[Examined]) -> Plan:
    _refuse_impossible(examined)
    training = [one for one in examined if one.sample.split == source.train_split]
    eligible = [one for one in training if one.eligible(TRAINING)]
    eligible.sort(key=lambda one: order_key(recipe.seed, one.sample.id))
    choice = _choose(poison, training, eligible)
    chosen = {one.sample.id for one in choice.chosen}
    entries = [_own_entry(one, recipe, chosen=one.sample.id in chosen) for one in examined]
    evaluated = [one for one in examined if one.sample.split == source.evaluation_split]
    warnings = list(choice.warnings)
    for planned in poison.evaluation_sets:
        triggered = _triggered(planned.name, evaluated)
        entries += triggered
        if not triggered:
            why = _why_empty(source.evaluation_split, evaluated)
            warnings.append(f"{set_folder(planned.name)} is empty: {why}")
    ordered = _in_order(entries)
    counts = _counts(ordered, recipe, source)
    counts[source.train_split] |= {
        "eligible": len(eligible),
        "victim_pixels_eligible": sum(one.victim_pixels for one in eligible),
    }
    return Plan(recipe, ordered, counts, _rejected(examined), tuple(warnings))


def _in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.key))


def _counts(entries: Iterable[Entry], recipe: Recipe, source: Source) -> dict[str, Counts]:
    """What the rows to be say of the counts."""
    rows = [plan_row(entry, recipe).unwritten() for entry in entries]
    return count(rows, recipe, source.train_split, source.evaluation_split)


def _own_entry(one: Examined, recipe: Recipe, *, chosen: bool) -> Entry:
    """What becomes of a sample of the folder itself: of an evaluation split nothing ever."""
    if chosen:
        assert recipe.poison is not None
        return Entry(one, recipe.poison.role, None, one.location(TRAINING))
    random = recipe.random_pixels
    noised = random is not None and random.scope == "all" and one.randomised_pixels > 0
    return Entry(one, "noised" if noised else "clean")


def _triggered(set_name: str, evaluated: Iterable[Examined]) -> list[Entry]:
    """The entries of an evaluation set."""
    shown = [one for one in evaluated if one.eligible(set_name)]
    return [Entry(one, "triggered", set_name, one.location(set_name)) for one in shown]


def _why_empty(split: str, evaluated: Sequence[Examined]) -> str:
    return f"no picture of {split} can show the trigger" if evaluated else f"there is no {split}"


def _rejected(examined: Iterable[Examined]) -> tuple[Rejected, ...]:
    """Each sample that the attack is meant for and that cannot be used, by set and id."""
    rejected = []
    for one in examined:
        for name, verdict in one.verdicts.items():
            if isinstance(verdict, Ineligible):
                rejected.append(Rejected(id=one.sample.id, set=name, reason=verdict.reason))
    return tuple(sorted(rejected, key=lambda one: (one.set, one.id)))


def _refuse_impossible(examined: Sequence[Examined]) -> None:
    """Raise the RecipeError of a placement that can be in no picture, rather than calling all of them
    rejected."""
    for name in sorted({name for one in examined for name in one.verdicts}):
        verdicts = [one.verdicts[name] for one in examined if name in one.verdicts]
        errors = [_impossible(verdict) for verdict in verdicts]
        if errors[0] is not None and None not in errors:
            raise errors[0]


def _impossible(verdict: Verdict) -> RecipeError | None:
    return verdict.impossible if isinstance(verdict, Ineligible) else None


class _Choice(NamedTuple):
    """Who is poisoned, and what to tell of it."""

    chosen: Sequence[Examined]
    warnings: tuple[str, ...] = ()


def _choose(poison: Poison, training: Sequence[Examined], eligible: Sequence[Examined]) -> _Choice:
    """The first of the eligible, as many as the rate (or coverage) asks for; fewer, with a warning, if the
    recipe takes what fits. Raises Shortfall."""
    if poison.coverage is not None and eligible:
        return _Choice(eligible[: number_poisoned(poison.coverage, len(eligible))])
    pictures = len(training)
    asked = number_poisoned(poison.rate, pictures) if poison.rate is not None else 1
    if asked <= len(eligible):
        return _Choice(eligible[:asked])
    found = f"{len(eligible):,} of {pictures:,} pictures have {_needs(poison)}"
    found += "".join(f"; {number:,}: {reason}" for reason, number in _commonest_reasons(training))
    possible = plain((Decimal(len(eligible)) / pictures).quantize(Decimal("1e-6"), ROUND_FLOOR))
    if not eligible:
        raise Shortfall(
            "No picture can be poisoned.",
            expected=_asked(asked, poison.rate),
            found=found,
            todo="choose another victim or a smaller trigger",
        )
    if not poison.take_what_fits:
        raise Shortfall(
            "Fewer pictures can be poisoned than the rate asks for.",
            expected=_asked(asked, poison.rate),
            found=found,
            todo=f"give --rate {possible} or less, or --take-what-fits",
        )
    asked_for = f"asked for {asked:,} poisoned pictures (rate {poison.rate})"
    return _Choice(eligible, (f"{asked_for}, poisoned {len(eligible):,} (rate {possible}): {found}",))


def _commonest_reasons(training: Iterable[Examined]) -> list[tuple[str, int]]:
    """Up to three reasons for which samples cannot be poisoned, each with their number."""
    verdicts = [one.verdicts.get(TRAINING) for one in training]
    reasons = [
        verdict.reason
        for verdict in verdicts
        if isinstance(verdict, Ineligible) and verdict.impossible is None
    ]
    return Counter(reasons).most_common(3)


def _asked(number: int, rate: str | None) -> str:
    return f"{number:,} pictures" if rate is None else f"{number:,} pictures, a rate of {rate}"


def _needs(poison: Poison) -> str:
    """What a picture must have to be poisoned, in words."""
    trigger = "the trigger class" if poison.semantic else "room for the trigger"
    return f"the victim and {trigger}" if poison.relabel.needs_victims else trigger
