"""The options of the command line, as a table. Nothing that reads, places or paints is imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from poisongen.engine.cores import available_cores
from poisongen.errors import did_you_mean

if TYPE_CHECKING:
    from poisongen.datasets import Layout

FOLDER = click.Path(path_type=Path)

ATTACK_NAMES = (
    "benign",
    "badnets",
    "fine-grained",
    "iba",
    "nni",
)
"""The names of ``poisongen.attacks.ATTACKS``, which is not imported for a list of names."""

Decorator = Callable[[Any], Any]


def attack_from_file(text: str) -> tuple[Path, str] | None:
    """``FILE.py:NAME`` as path and name; None for a named attack."""
    path, colon, name = text.rpartition(":")
    return (Path(path), name) if colon and path.endswith(".py") else None


class Seed(click.ParamType):  # type: ignore[type-arg]
    """A whole number from 0 to 2⁶³ - 1."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, or a usage error."""
        text = str(value)
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 1 << 63):
            self.fail(f"{text!r} is not a whole number from 0 to 2^63 - 1", param, ctx)
        return int(text)


class LowerCase(click.types.StringParamType):
    """Text in lower case, however it was typed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text in lower case."""
        return super().convert(value, param, ctx).lower()


class AttackName(click.ParamType):  # type: ignore[type-arg]
    """A named attack, or ``FILE.py:NAME``."""

    name = "attack"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, or a usage error that lists what there is."""
        text = str(value)
        if text not in ATTACK_NAMES and attack_from_file(text) is None:
            names = ", ".join(ATTACK_NAMES)
            hint = did_you_mean(text, ATTACK_NAMES) or f"there are {names}, and FILE.py:NAME"
            self.fail(f"there is no attack {text!r}; {hint}", param, ctx)
        return text

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows."""
        return f"[{'|'.join(ATTACK_NAMES)}|FILE.py:NAME]"


def combine(*options: Decorator) -> Decorator:
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
    help="Clean files: copy (shares blocks where the file system can), or link. "
    "Editing a linked file edits the source.",
)


class Part(Enum):
    """The part of a recipe that an option is for."""

    RECIPE = "recipe"
    """The dataset as a whole."""
    POISON = "poison"
    """Who is poisoned, and which class plays which part."""
    TRIGGER = "trigger"
    """A field of the trigger, if its kind has one of this name."""
    PLACEMENT = "placement"
    """A field of the placement, if its kind has one of this name."""
    RELABEL = "relabel"
    """A field of the relabel, if its kind has one of this name."""
    RANDOM_PIXELS = "random pixels"
    """A field of the random labels that ``--prl`` adds."""


@dataclass(frozen=True)
class Option:
    """An option that shapes a dataset: how it is typed, and which field of which part takes it.

    ``names``: with dashes, the first is the one that recipe files use; ``settings``: what click is told.
    """

    names: tuple[str, ...]
    part: Part
    field: str
    settings: Mapping[str, Any]

    @property
    def flag(self) -> str:
        """``--trigger-size``."""
        return self.names[0]

    @property
    def parameter(self) -> str:
        """The key of its value among the values of a command: ``trigger_size``."""
        return self.flag.removeprefix("--").replace("-", "_")

    def decorator(self, default: str | None = None) -> Decorator:
        """As an option of a command; ``default``: what its help says of it."""
        settings = dict(self.settings)
        if default is not None:
            settings["help"] = f"{settings['help']}  [{default}]"
        return click.option(*self.names, self.parameter, **settings)


def _table(*options: Option) -> dict[str, Option]:
    return {option.flag.removeprefix("--"): option for option in options}


def _option(flag: str, part: Part, field: str, help: str, *more_names: str, **settings: Any) -> Option:
    return Option((flag, *more_names), part, field, {"help": help, **settings})


SHAPING = _table(
    _option(
        "--attack",
        Part.RECIPE,
        "attack",
        "What to do to the training split; benign freezes it clean, and needs no other option.",
        type=AttackName(),
        required=True,
    ),
    _option("--rate", Part.POISON, "rate", "Share of all training pictures that is poisoned: 0.1 or 10%."),
    _option(
        "--coverage",
        Part.POISON,
        "coverage",
        "Instead of --rate, for a semantic trigger: share of the pictures that show it (and a victim).",
    ),
    _option(
        "--take-what-fits",
        Part.POISON,
        "take_what_fits",
        "Poison fewer pictures, with a warning, where the rate asks for too many.",
        is_flag=True,
    ),
    _option(
        "--victim",
        Part.POISON,
        "victim_classes",
        "Class that the trigger hides; several with commas, or all: every class but the target.",
    ),
    _option("--target", Part.POISON, "target_class", "Class that labels are changed to."),
    _option(
        "--min-victim-pixels",
        Part.POISON,
        "min_victim_pixels",
        "Smaller victims make no picture eligible, here and in evaluation.  [1]",
        type=click.IntRange(min=1),
    ),
    _option(
        "--trigger",
        Part.POISON,
        "trigger",
        "default (a drawn sticker), patch:FILE, patch:DIR (a picture for each sample id), line, frame, "
        "checkerboard, blend[:FILE], stripes, semantic:CLASS.  [the attack's]",
    ),
    _option(
        "--trigger-size",
        Part.TRIGGER,
        "size",
        "Height of a patch, thickness of a line or frame: 110px, 10.7% of the picture's height, own (of a "
        "patch: as it is).  [patch 10.7%, patch:DIR own, line and frame 1.67%]",
    ),
    _option(
        "--opacity",
        Part.TRIGGER,
        "opacity",
        "1 hides what lies below, 0.08 is faint.  [1; blend 0.1, stripes 0.16]",
    ),
    _option(
        "--colour",
        Part.TRIGGER,
        "colour",
        "Of a line, frame or checkerboard: #rrggbb.  [#000000]",
        "--color",
        type=LowerCase(),
    ),
    _option(
        "--cells",
        Part.TRIGGER,
        "cells",
        "Of a checkerboard, along one side.  [4]",
        type=click.IntRange(1, 256),
    ),
    _option(
        "--cycles",
        Part.TRIGGER,
        "cycles",
        "Of stripes, from left to right.  [6]",
        type=click.IntRange(1, 4096),
    ),
    _option(
        "--min-trigger-pixels",
        Part.TRIGGER,
        "min_pixels",
        "Of a semantic trigger: less of the class is no trigger.  [1]",
        type=click.IntRange(min=1),
    ),
    _option(
        "--anchor",
        Part.PLACEMENT,
        "anchor",
        "badnets, fine-grained: where the trigger always is.  [top-left]",
        type=click.Choice(["top-left", "top-right", "bottom-left", "bottom-right", "centre"]),
    ),
    _option(
        "--edge-margin",
        Part.PLACEMENT,
        "edge_margin",
        "iba, nni: least distance of the trigger's centre from the edges (the authors' code: 39%).  [0px]",
    ),
    _option(
        "--nni",
        Part.PLACEMENT,
        "rule",
        "nni: the nearest position, or uniform in a band (the authors' code).  [nearest]",
        type=click.Choice(["nearest", "band"]),
    ),
    _option(
        "--lower",
        Part.PLACEMENT,
        "lower",
        "nni: least distance of the trigger's centre from the victim, px or % of the height (Euclidean; of a "
        "band Chebyshev).  [0px]",
    ),
    _option(
        "--upper",
        Part.PLACEMENT,
        "upper",
        "nni: greatest distance (the paper: 60 px at 512 rows).  [unbounded]",
    ),
    _option(
        "--relabel-ignore",
        Part.RELABEL,
        "include_ignore",
        "badnets: relabel ignored pixels, too.",
        is_flag=True,
    ),
    _option(
        "--prl",
        Part.RECIPE,
        "random_pixels",
        "Pixel random labelling: random pixels, never the victim's, get another class of the picture.",
        is_flag=True,
    ),
    _option(
        "--prl-pixels",
        Part.RANDOM_PIXELS,
        "pixels",
        "How many: 50000, or 9.5% of the picture.  [9.5%]",
    ),
    _option(
        "--prl-scope",
        Part.RANDOM_PIXELS,
        "scope",
        "In every training picture, or in the poisoned ones.  [all]",
        type=click.Choice(["all", "poisoned"]),
    ),
    _option(
        "--control",
        Part.POISON,
        "control",
        "Same pictures, same places; but the labels stay true, or the trigger is left out.",
        type=click.Choice(["trigger-only", "label-only"]),
    ),
    _option(
        "--eval",
        Part.POISON,
        "evaluation_sets",
        "iba, nni: further evaluation sets, with commas: bands (four distances), margin (edge margin 39%), "
        "decoy (another sticker).",
    ),
    _option("--scale", Part.RECIPE, "scale", "Resize pictures (to PNG) and label maps first: 0.5."),
    _option("--lossless", Part.RECIPE, "lossless", "Write poisoned JPEG pictures as PNG.", is_flag=True),
    _option(
        "--seed",
        Part.RECIPE,
        "seed",
        "Chooses the poisoned pictures and places the triggers.  [default: 0]",
        type=Seed(),
    ),
    _option(
        "--eval-seed",
        Part.POISON,
        "evaluation_sets",
        "Places the triggers of the evaluation sets.  [default: 0]",
        type=Seed(),
    ),
)
"""Options that shape a dataset, besides where it comes from and goes to, by the names that recipe files use.

An option that is given and that no part of the recipe takes is an error. A field of a trigger, placement or
relabel is set by one entry here.
"""


def attack_options(layout: Layout) -> Decorator:
    """Every option of a dataset's command."""
    target = layout.target or "required"
    if layout.everything_target:
        target += f"; badnets {layout.everything_target}"
    defaults = {"victim": layout.victims or "required", "target": target}
    return combine(
        click.option(
            "--source",
            type=FOLDER,
            envvar=[layout.variable, "POISONGEN_SOURCE"],
            show_envvar=True,
            help=f"Folder of the clean source: {layout.title}.",
        ),
        out_option,
        *(option.decorator(defaults.get(name)) for name, option in SHAPING.items()),
        jobs_option,
        link_option,
        restart_option,
        dry_run_option,
        json_option,
    )
