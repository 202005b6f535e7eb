"""The options of the command line, and the recipe that they resolve to."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from poisongen import attack_file as outside
from poisongen.attacks import ATTACKS, MORE_SETS, Attack, evaluation_sets
from poisongen.choices import configure
from poisongen.datasets import Layout, Source
from poisongen.engine.workers import available_cores
from poisongen.errors import RecipeError
from poisongen.labels import LabelSpace
from poisongen.lengths import Length
from poisongen.names import DECOY_ART
from poisongen.placement import Fixed
from poisongen.recipe import Poison, Recipe
from poisongen.relabel import RandomPixels, Relabel
from poisongen.triggers import TRIGGERS, Art, Checkerboard, Patch, Semantic, Trigger, parse_trigger
from poisongen.triggers.patch import drawn

FOLDER = click.Path(path_type=Path)


class Seed(click.ParamType):  # type: ignore[type-arg]
    """A whole number from 0 to 2⁶³ - 1."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, or a usage error."""
        text = str(value)
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 1 << 63):
            self.fail(f"{text!r} is not a whole number from 0 to 2^63 - 1", param, ctx)
        return int(text)


def combine(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One decorator that applies several, the first of them outermost."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


source_option = click.option("--source", type=FOLDER, required=True, help="Folder of the clean dataset.")
out_option = click.option("--out", type=FOLDER, help="Folder to write: a new name, or an empty folder.")
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=available_cores,
    show_default="all cores",
    help="Worker processes; the result does not depend on it.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
restart_option = click.option(
    "--restart", is_flag=True, help="Discard unfinished work in OUT.partial instead of going on with it."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Plan, print the counts and the first placements, write nothing."
)
code_option = click.option(
    "--code",
    type=FOLDER,
    help="The Python file of an attack from outside, if the manifest names one; it is run.",
)
link_option = click.option(
    "--link",
    type=click.Choice(["copy", "hard", "symlink"]),
    default="copy",
    help="Clean files: copy (shares blocks where the file system can), or link. Editing a linked file edits the source.",
)


class AttackName(click.ParamType):  # type: ignore[type-arg]
    """A named attack, or ``FILE.py:NAME``."""

    name = "attack"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, or a usage error that lists what there is."""
        text = str(value)
        if text not in ATTACKS and outside.split(text) is None:
            close = difflib.get_close_matches(text, ATTACKS, n=1)
            hint = (
                f"did you mean {close[0]}?" if close else f"there are {', '.join(ATTACKS)}, and FILE.py:NAME"
            )
            self.fail(f"there is no attack {text!r}; {hint}", param, ctx)
        return text

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows."""
        return f"[{'|'.join(ATTACKS)}|FILE.py:NAME]"


def _class_options(victims: str, target: str) -> dict[str, Callable[[Any], Any]]:
    what = "Class that the trigger hides; several with commas, or all: every class but the target."
    return {
        "victim": click.option("--victim", help=f"{what}  [{victims}]"),
        "target": click.option("--target", help=f"Class that labels are changed to.  [{target}]"),
    }


# Options that shape a dataset, besides where it comes from and goes to. A recipe file gives them by their
# long names.
SHAPING: dict[str, Callable[[Any], Any]] = {
    "attack": click.option(
        "--attack",
        type=AttackName(),
        required=True,
        help="What to do to the training split; benign freezes it clean, and needs no other option.",
    ),
    "rate": click.option("--rate", help="Share of all training pictures that is poisoned: 0.1 or 10%."),
    "coverage": click.option(
        "--coverage",
        help="Instead of --rate, for a semantic trigger: share of the pictures that show it (and a victim).",
    ),
    "take-what-fits": click.option(
        "--take-what-fits",
        is_flag=True,
        help="Poison fewer pictures, with a warning, where the rate asks for too many.",
    ),
    **_class_options("per dataset", "per dataset"),
    "min-victim-pixels": click.option(
        "--min-victim-pixels",
        type=click.IntRange(min=1),
        help="Smaller victims make no picture eligible, here and in evaluation.  [1]",
    ),
    "trigger": click.option(
        "--trigger",
        help="default (a drawn sticker), patch:FILE, patch:DIR (a picture for each sample id), line, frame, checkerboard, "
        "blend[:FILE], stripes, semantic:CLASS.  [the attack's]",
    ),
    "trigger-size": click.option(
        "--trigger-size",
        help="Height of a patch, thickness of a line or frame: 110px, 10.7% of the picture's height, own (of a patch: as it is).  "
        "[patch 10.7%, patch:DIR own, line and frame 1.67%]",
    ),
    "opacity": click.option(
        "--opacity", help="1 hides what lies below, 0.08 is faint.  [1; blend 0.1, stripes 0.16]"
    ),
    "colour": click.option(
        "--colour", "--color", help="Of a line, frame or checkerboard: #rrggbb.  [#000000]"
    ),
    "cells": click.option(
        "--cells", type=click.IntRange(1, 256), help="Of a checkerboard, along one side.  [4]"
    ),
    "cycles": click.option(
        "--cycles", type=click.IntRange(1, 4096), help="Of stripes, from left to right.  [6]"
    ),
    "min-trigger-pixels": click.option(
        "--min-trigger-pixels",
        type=click.IntRange(min=1),
        help="Of a semantic trigger: less of the class is no trigger.  [1]",
    ),
    "anchor": click.option(
        "--anchor",
        type=click.Choice(["top-left", "top-right", "bottom-left", "bottom-right", "centre"]),
        help="badnets, fine-grained: where the trigger always is.  [top-left]",
    ),
    "edge-margin": click.option(
        "--edge-margin",
        help="iba, nni: least distance of the trigger's centre from the edges (the authors' code: 39%).  [0px]",
    ),
    "nni": click.option(
        "--nni",
        type=click.Choice(["nearest", "band"]),
        help="nni: the nearest position, or uniform in a band (the authors' code).  [nearest]",
    ),
    "lower": click.option(
        "--lower",
        help="nni: least distance of the trigger's centre from the victim, px or % of the height (Euclidean; of a band Chebyshev).  "
        "[0px]",
    ),
    "upper": click.option(
        "--upper", help="nni: greatest distance (the paper: 60 px at 512 rows).  [unbounded]"
    ),
    "relabel-ignore": click.option(
        "--relabel-ignore", is_flag=True, help="badnets: relabel ignored pixels, too."
    ),
    "prl": click.option(
        "--prl",
        is_flag=True,
        help="Pixel random labelling: random pixels, never the victim's, get another class of the picture.",
    ),
    "prl-pixels": click.option("--prl-pixels", help="How many: 50000, or 9.5% of the picture.  [9.5%]"),
    "prl-scope": click.option(
        "--prl-scope",
        type=click.Choice(["all", "poisoned"]),
        help="In every training picture, or in the poisoned ones.  [all]",
    ),
    "control": click.option(
        "--control",
        type=click.Choice(["trigger-only", "label-only"]),
        help="Same pictures, same places; but the labels stay true, or the trigger is left out.",
    ),
    "eval": click.option(
        "--eval",
        "more_sets",
        help="iba, nni: further evaluation sets, with commas: bands (four distances), margin (edge margin 39%), decoy (another sticker).",
    ),
    "scale": click.option("--scale", help="Resize pictures (to PNG) and label maps first: 0.5."),
    "lossless": click.option("--lossless", is_flag=True, help="Write poisoned JPEG pictures as PNG."),
    "seed": click.option(
        "--seed", type=Seed(), default=0, help="Chooses the poisoned pictures and places the triggers."
    ),
    "eval-seed": click.option(
        "--eval-seed", type=Seed(), default=0, help="Places the triggers of the evaluation sets."
    ),
}


def attack_options(layout: Layout) -> Callable[[Any], Any]:
    """Every option of a dataset's command."""
    variables = [layout.variable, "POISONGEN_SOURCE"]
    target = layout.target or "required"
    target += f"; badnets {layout.everything_target}" if layout.everything_target else ""
    shaping = SHAPING | _class_options(layout.victims or "required", target)
    return combine(
        click.option(
            "--source",
            type=FOLDER,
            envvar=variables,
            show_envvar=True,
            help=f"Folder of the clean source: {layout.title}.",
        ),
        out_option,
        *shaping.values(),
        jobs_option,
        link_option,
        restart_option,
        dry_run_option,
        json_option,
    )


@dataclass(frozen=True)
class Resolved:
    """What options mean: the recipe, the art of its triggers, the file of an attack from outside."""

    recipe: Recipe
    art: Art
    code: Path | None = None


def resolve(source: Source, options: Mapping[str, Any]) -> Resolved:
    """The recipe of a dataset's command; ``options`` are those of ``SHAPING``. Raises RecipeError."""
    given = outside.split(options["attack"])
    attack, code = outside.load_attack(*given) if given else (ATTACKS[options["attack"]], None)
    shared = {
        "attack": given[1].lower().replace("_", "-") if given else options["attack"],
        "seed": options["seed"],
        "scale": options["scale"],
        "lossless": options["lossless"],
        "random_pixels": _random_pixels(source, attack, options),
        "code": code,
    }
    if attack.relabel is None:
        _refuse(options, options["attack"], ATTACK_ONLY | (set() if options["prl"] else {"victim"}))
        return Resolved(Recipe(**shared), Art(), given[0] if given else None)
    if options["rate"] is None and options["coverage"] is None:
        raise click.UsageError(
            "Which share of the training pictures shall be poisoned? Give --rate, e.g. 0.1."
        )
    poison, art = _poison(source, attack, options)
    return Resolved(Recipe(**shared, poison=poison), art, given[0] if given else None)


ATTACK_ONLY = {
    *(
        "rate",
        "coverage",
        "take_what_fits",
        "target",
        "min_victim_pixels",
        "trigger",
        "trigger_size",
        "opacity",
        "colour",
        "cells",
    ),
    *(
        "cycles",
        "min_trigger_pixels",
        "anchor",
        "edge_margin",
        "nni",
        "lower",
        "upper",
        "relabel_ignore",
        "control",
        "more_sets",
    ),
}
"""Options that have no meaning where nothing is poisoned."""


def _refuse(options: Mapping[str, Any], attack: str, names: set[str]) -> None:
    for name in sorted(names):
        if options[name] not in (None, False):
            option = "--eval" if name == "more_sets" else f"--{name.replace('_', '-')}"
            raise RecipeError(
                f"{option} has no meaning for {attack}, which poisons nothing.", todo="leave it out"
            )


def _poison(source: Source, attack: Attack, options: Mapping[str, Any]) -> tuple[Poison, Art]:
    assert attack.relabel is not None
    space = source.space
    trigger, art = _trigger(attack, options["trigger"], space)
    trigger = configure(
        trigger,
        {
            "size": ("--trigger-size", options["trigger_size"]),
            "opacity": ("--opacity", options["opacity"]),
            "colour": ("--colour", options["colour"] and options["colour"].lower()),
            "cells": ("--cells", options["cells"]),
            "cycles": ("--cycles", options["cycles"]),
            "min_pixels": ("--min-trigger-pixels", options["min_trigger_pixels"]),
        },
        f"the trigger {trigger.kind}",
        {f"--trigger {one.words or kind}": one for kind, one in TRIGGERS.items()},
    )
    placing = {
        "anchor": ("--anchor", options["anchor"]),
        "edge_margin": ("--edge-margin", options["edge_margin"]),
        "rule": ("--nni", options["nni"]),
        "lower": ("--lower", options["lower"]),
        "upper": ("--upper", options["upper"]),
    }
    placement = attack.placement
    if not trigger.placed and isinstance(placement, Fixed):
        placement = None  # it is where it is
        for option, value in placing.values():
            if value is not None:
                raise RecipeError(f"{option} has no meaning for a semantic trigger.", todo="leave it out")
    if placement is not None:
        having = {f"--attack {name}": one.placement for name, one in ATTACKS.items()}
        placement = configure(placement, placing, f"the attack {options['attack']}", having)
    including = {"include_ignore": ("--relabel-ignore", options["relabel_ignore"] or None)}
    relabels = {f"--attack {name}": one.relabel for name, one in ATTACKS.items()}
    relabel = configure(attack.relabel, including, f"the attack {options['attack']}", relabels)
    if options["coverage"] is not None and not isinstance(trigger, Semantic):
        raise RecipeError(
            "--coverage is the share of the pictures that show a semantic trigger.", todo="give --rate"
        )
    target = _class(source, options["target"], _target(source, relabel), "target")
    for option in ("victim", "min_victim_pixels"):
        if not relabel.needs_victims and options[option] is not None:
            what = f"--{option.replace('_', '-')} has no meaning for the attack {options['attack']}, which changes every pixel."
            raise RecipeError(what, todo="leave it out")
    more = _more_sets(options["more_sets"])
    decoy = _decoy(trigger, art) if "decoy" in more else None
    poison = Poison(
        trigger=trigger,
        placement=placement,
        relabel=relabel,
        control=options["control"],
        victim_classes=_victims(source, options["victim"], target) if relabel.needs_victims else (),
        target_class=target,
        min_victim_pixels=options["min_victim_pixels"] or 1,
        rate=options["rate"],
        coverage=options["coverage"],
        take_what_fits=options["take_what_fits"],
        evaluation_sets=evaluation_sets(trigger, placement, options["eval_seed"], more, decoy),
    )
    return poison, art | (Art({DECOY_ART: drawn(DECOY_ART)}) if decoy else Art())


def _trigger(attack: Attack, asked: str | None, space: LabelSpace) -> tuple[Trigger, Art]:
    """The trigger that was asked for, else the attack's own, and its art."""
    if asked is not None:
        return parse_trigger(asked, space)
    if isinstance(attack.trigger, str):
        return parse_trigger(attack.trigger, space)
    missing = sorted(attack.trigger.art_files().keys() - attack.art.files.keys())
    if missing:
        raise RecipeError(
            "The attack does not give the pictures of its trigger.",
            expected=f'Attack(…, art=Art({{"{missing[0]}": Path(…)}}))',
        )
    for name, digest in attack.trigger.art_files().items():
        if attack.art.digest(name) != digest:
            raise RecipeError(
                "A picture of the attack's trigger is not the one that the trigger names.",
                file=attack.art.files[name],
                expected=digest,
                found=attack.art.digest(name),
            )
    return attack.trigger, attack.art


def _random_pixels(source: Source, attack: Attack, options: Mapping[str, Any]) -> RandomPixels | None:
    given = {
        "pixels": ("--prl-pixels", options["prl_pixels"]),
        "scope": ("--prl-scope", options["prl_scope"]),
    }
    if not options["prl"]:
        for option, value in given.values():
            if value is not None:
                raise RecipeError(
                    f"{option} has no meaning without --prl.", todo="add --prl, or leave it out"
                )
        return None
    spared: tuple[int, ...] = ()
    if attack.relabel is None or attack.relabel.needs_victims:
        target = source.target if options["target"] is None else options["target"]
        wanted = source.victims if options["victim"] is None else options["victim"]
        spared = (
            () if wanted is None else _victims(source, wanted, source.space.find(target) if target else None)
        )
    return configure(RandomPixels(spared=spared), given, "random labels", {})


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


def _decoy(trigger: Trigger, art: Art) -> Patch:
    """Another sticker of the trigger's size, which lies at the same places because it has the same form: an
    opaque square."""
    if not isinstance(trigger, Patch | Checkerboard) or not isinstance(trigger.size, Length):
        raise RecipeError(f"There is no decoy for the trigger {trigger.kind}.", todo="leave --eval decoy out")
    shown = art.picture(trigger.art) if isinstance(trigger, Patch) else None
    if shown is not None and (shown.shape[0] != shown.shape[1] or (shown[..., 3] < 255).any()):
        raise RecipeError(
            "There is no decoy of this trigger's form: it would lie at other places.",
            expected="a square picture without transparency",
            found=f"{shown.shape[1]}×{shown.shape[0]} pixels"
            + (", some transparent" if (shown[..., 3] < 255).any() else ""),
            todo="leave --eval decoy out",
        )
    decoy = Art({DECOY_ART: drawn(DECOY_ART)})
    return Patch(
        size=trigger.size, opacity=trigger.opacity, art=DECOY_ART, art_pixels=decoy.digest(DECOY_ART)
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
    if text is None and default is None:
        raise click.UsageError(f"Which class is the {what}? Give --{what}.")
    return source.space.find((default or "") if text is None else text)
