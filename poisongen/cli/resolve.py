"""From the options of a command to the recipe that they mean, and an error for each that nobody took."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from poisongen.attack_file import load_attack
from poisongen.attacks import ATTACKS, MORE_SETS, Attack, evaluation_sets
from poisongen.choices import Choice, configure
from poisongen.cli.options import SHAPING, Option, Part, attack_from_file
from poisongen.datasets.source import Source
from poisongen.errors import RecipeError
from poisongen.labels import LabelSpace
from poisongen.lengths import Length
from poisongen.names import DECOY_ART
from poisongen.placement import Fixed, Placement
from poisongen.recipe import Code, EvaluationSet, Poison, Recipe
from poisongen.relabel import RandomPixels, Relabel
from poisongen.triggers import TRIGGERS, Art, Checkerboard, Patch, Semantic, Trigger, parse_trigger
from poisongen.triggers.patch import drawn


@dataclass(frozen=True)
class Resolved:
    """What options mean: the recipe, the art of its triggers, the file of an attack from outside."""

    recipe: Recipe
    art: Art
    code: Path | None = None


class Given:
    """The options that were given, and which of them a part of the recipe took."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """``values``: of all options of ``SHAPING``, by parameter; None and False are those not given."""
        asked = {name: values[option.parameter] for name, option in SHAPING.items()}
        self._values = {
            name: value for name, value in asked.items() if value is not None and value is not False
        }
        self._taken = set[str]()

    def look(self, name: str) -> Any:
        """The value of an option, or None; somebody else takes it."""
        return self._values.get(name)

    def take(self, name: str) -> Any:
        """The value of an option, or None."""
        self._taken.add(name)
        return self._values.get(name)

    def fields(self, part: Part, kind: type[Choice]) -> dict[str, tuple[str, Any]]:
        """The options for fields that this kind of a part has: field → flag and value."""
        found = {}
        for name, option in SHAPING.items():
            if option.part is part and option.field in kind.model_fields and name in self._values:
                found[option.field] = (option.flag, self.take(name))
        return found

    def not_taken(self) -> list[Option]:
        """The options that were given, and that nobody took."""
        return [SHAPING[name] for name in self._values if name not in self._taken]


@dataclass(frozen=True)
class NamedAttack:
    """An attack, and what it is called on the command line and in a recipe."""

    attack: Attack
    words: str
    name: str
    file: Path | None = None
    code: Code | None = None

    @classmethod
    def parse(cls, words: str) -> "NamedAttack":
        """The attack that ``--attack`` names. Raises RecipeError, SourceError."""
        in_file = attack_from_file(words)
        if in_file is None:
            return cls(ATTACKS[words], words, words)
        path, name = in_file
        attack, code = load_attack(path, name)
        return cls(attack, words, name.lower().replace("_", "-"), path, code)


def resolve(source: Source, options: Mapping[str, Any]) -> Resolved:
    """The recipe of a dataset's command; ``options`` are the values of those of ``SHAPING``.

    Raises RecipeError, also for an option that no part of the recipe takes; UsageError for one that is
    missing.
    """
    given = Given(options)
    named = NamedAttack.parse(given.take("attack"))
    shared = {
        "attack": named.name,
        "seed": given.take("seed") or 0,
        "scale": given.take("scale"),
        "lossless": bool(given.take("lossless")),
        "random_pixels": _random_pixels(source, named.attack, given),
        "code": named.code,
    }
    if named.attack.relabel is None:
        _refuse_not_taken(given, named, None)
        return Resolved(Recipe(**shared), Art(), named.file)
    if given.look("rate") is None and given.look("coverage") is None:
        raise click.UsageError(
            "Which share of the training pictures shall be poisoned? Give --rate, e.g. 0.1."
        )
    poison, art = _poison(source, named, named.attack.relabel, given)
    return Resolved(Recipe(**shared, poison=poison), art, named.file)


def _poison(source: Source, named: NamedAttack, relabel: Relabel, given: Given) -> tuple[Poison, Art]:
    trigger, art = _trigger(named.attack, given.take("trigger"), source.space)
    trigger = configure(trigger, given.fields(Part.TRIGGER, type(trigger)))
    placement = _placement(named.attack.placement, trigger, given)
    relabel = configure(relabel, given.fields(Part.RELABEL, type(relabel)))
    coverage = given.take("coverage") if isinstance(trigger, Semantic) else None
    wanted_victims, least = (
        (given.take("victim"), given.take("min-victim-pixels")) if relabel.needs_victims else (None, None)
    )
    rate, control, fits = given.take("rate"), given.take("control"), given.take("take-what-fits")
    wanted_target, wanted_sets = given.take("target"), given.take("eval")
    eval_seed = given.take("eval-seed") or 0
    _refuse_not_taken(given, named, trigger)
    target = _class(source, wanted_target, _target(source, relabel), "target")
    victims = _victims(source, wanted_victims, target) if relabel.needs_victims else ()
    sets, decoy_art = _evaluation_sets(trigger, art, placement, eval_seed, wanted_sets)
    poison = Poison(
        trigger=trigger,
        placement=placement,
        relabel=relabel,
        control=control,
        victim_classes=victims,
        target_class=target,
        min_victim_pixels=least or 1,
        rate=rate,
        coverage=coverage,
        take_what_fits=bool(fits),
        evaluation_sets=sets,
    )
    return poison, art | decoy_art


def _trigger(attack: Attack, asked: str | None, space: LabelSpace) -> tuple[Trigger, Art]:
    """The trigger that was asked for, else the attack's own, and its art."""
    if asked is not None:
        return parse_trigger(asked, space)
    if isinstance(attack.trigger, str):
        return parse_trigger(attack.trigger, space)
    for name, digest in attack.trigger.art_files().items():
        if name not in attack.art.files:
            raise RecipeError(
                "The attack does not give a picture of its trigger.",
                expected=f'Attack(…, art=Art({{"{name}": Path(…)}}))',
            )
        found = attack.art.digest(name)
        if found != digest:
            raise RecipeError(
                "A picture of the attack's trigger is not the one that the trigger names.",
                file=attack.art.files[name],
                expected=digest,
                found=found,
            )
    return attack.trigger, attack.art


def _placement(placement: Placement | None, trigger: Trigger, given: Given) -> Placement | None:
    """The attack's placement with the options for it; None for a trigger that is not placed, in an attack
    whose trigger is always at one place."""
    if placement is None or (isinstance(placement, Fixed) and not trigger.placed):
        return None
    return configure(placement, given.fields(Part.PLACEMENT, type(placement)))


def _random_pixels(source: Source, attack: Attack, given: Given) -> RandomPixels | None:
    if not given.take("prl"):
        return None
    spared: tuple[int, ...] = ()
    if attack.relabel is None or attack.relabel.needs_victims:
        wanted = given.take("victim") or source.victims
        named_target = given.look("target") or source.target
        target = source.space.find(named_target) if named_target else None
        spared = _victims(source, wanted, target) if wanted is not None else ()
    fields = given.fields(Part.RANDOM_PIXELS, RandomPixels)
    return configure(RandomPixels(spared=spared), fields)


def _refuse_not_taken(given: Given, named: NamedAttack, trigger: Trigger | None) -> None:
    """Raise RecipeError for the first option that no part of the recipe took; ``trigger`` None: nothing is
    poisoned."""
    for option in given.not_taken():
        if option.part is Part.RANDOM_PIXELS:
            raise RecipeError(
                f"{option.flag} has no meaning without --prl.", todo="add --prl, or leave it out"
            )
        if trigger is None:
            raise RecipeError(
                f"{option.flag} has no meaning for {named.words}, which poisons nothing.",
                todo="leave it out",
            )
        if option.flag == "--coverage":
            raise RecipeError(
                "--coverage is the share of the pictures that show a semantic trigger.", todo="give --rate"
            )
        having = _who_has(option)
        raise RecipeError(
            f"{option.flag} has no meaning for {_what_lacks(option, named, trigger)}.",
            todo=f"leave it out, or choose {' or '.join(having)}" if having else "leave it out",
        )


def _what_lacks(option: Option, named: NamedAttack, trigger: Trigger) -> str:
    """What an option was not for, in words."""
    if option.part is Part.TRIGGER:
        return f"the trigger {trigger.kind}"
    if option.part is Part.PLACEMENT and not trigger.placed:
        return "a semantic trigger" if isinstance(trigger, Semantic) else f"the trigger {trigger.kind}"
    if option.part is Part.POISON:
        return f"the attack {named.words}, which changes every pixel"
    return f"the attack {named.words}"


def _who_has(option: Option) -> list[str]:
    """The choices that have the option's field, as they are typed."""
    having = []
    if option.part is Part.TRIGGER:
        for name, kind in TRIGGERS.items():
            if option.field in kind.model_fields:
                having.append(f"--trigger {kind.words or name}")
        return having
    for name, attack in ATTACKS.items():
        chosen: Choice | None = None
        if option.part is Part.PLACEMENT:
            chosen = attack.placement
        elif option.part is Part.RELABEL:
            chosen = attack.relabel
        if chosen is not None and option.field in type(chosen).model_fields:
            having.append(f"--attack {name}")
    return having


def _evaluation_sets(
    trigger: Trigger, art: Art, placement: Placement | None, seed: int, asked: str | None
) -> tuple[tuple[EvaluationSet, ...], Art]:
    """The evaluation sets of an attack and those that were asked for, and the art that these add."""
    more = _more_sets(asked)
    if "decoy" not in more:
        return evaluation_sets(trigger, placement, seed, more), Art()
    decoy_art = Art({DECOY_ART: drawn(DECOY_ART)})
    decoy = _decoy(trigger, art, decoy_art)
    return evaluation_sets(trigger, placement, seed, more, decoy), decoy_art


def _more_sets(text: str | None) -> tuple[str, ...]:
    names = () if text is None else tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in MORE_SETS or names.count(name) > 1:
            what = "is given twice" if name in MORE_SETS else "is none that can be added"
            raise RecipeError(
                f"The evaluation set “{name}” {what}.",
                expected=f"{', '.join(MORE_SETS[:-1])} or {MORE_SETS[-1]}",
            )
    return names


def _decoy(trigger: Trigger, art: Art, decoy_art: Art) -> Patch:
    """Another sticker of the trigger's size, which lies at the same places because it has the same form: an
    opaque square."""
    if not isinstance(trigger, Patch | Checkerboard) or not isinstance(trigger.size, Length):
        raise RecipeError(f"There is no decoy for the trigger {trigger.kind}.", todo="leave --eval decoy out")
    if isinstance(trigger, Patch):
        _require_opaque_square(art, trigger.art)
    digest = decoy_art.digest(DECOY_ART)
    return Patch(size=trigger.size, opacity=trigger.opacity, art=DECOY_ART, art_pixels=digest)


def _require_opaque_square(art: Art, name: str) -> None:
    shown = art.picture(name)
    rows, columns = shown.shape[:2]
    transparent = (shown[..., 3] < 255).any()
    if rows != columns or transparent:
        raise RecipeError(
            "There is no decoy of this trigger's form: it would lie at other places.",
            expected="a square picture without transparency",
            found=f"{columns}×{rows} pixels{', some transparent' if transparent else ''}",
            todo="leave --eval decoy out",
        )


def _victims(source: Source, text: str | None, target: int | None) -> tuple[int, ...]:
    if text is not None and text.strip().lower() == "all":
        return tuple(train for train in range(len(source.space.names)) if train != target)
    wanted = source.victims if text is None else text
    if wanted is None:
        raise click.UsageError("Which class does the trigger hide? Give --victim.")
    victims = tuple(source.space.find(name) for name in wanted.split(","))
    if len(set(victims)) < len(victims):
        raise RecipeError("A victim class is given twice.", found=wanted, todo="name each class once")
    return victims


def _target(source: Source, relabel: Relabel) -> str | None:
    return (None if relabel.needs_victims else source.everything_target) or source.target


def _class(source: Source, text: str | None, default: str | None, what: str) -> int:
    wanted = default if text is None else text
    if wanted is None:
        raise click.UsageError(f"Which class is the {what}? Give --{what}.")
    return source.space.find(wanted)
