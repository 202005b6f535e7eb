"""The options of the command line, and the recipe that they resolve to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from poisongen.attacks import ATTACKS, EVALUATION
from poisongen.datasets import Layout
from poisongen.errors import RecipeError
from poisongen.labels import LabelSpace
from poisongen.lengths import Length
from poisongen.pixels import Pixels, digest_pixels
from poisongen.placement import NearVictim
from poisongen.recipe import EvaluationSet, Poison, Recipe
from poisongen.relabel import VictimToTarget
from poisongen.triggers import Patch
from poisongen.workers import available_cores

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
link_option = click.option(
    "--link",
    type=click.Choice(["copy", "hard", "symlink"]),
    default="copy",
    help="Clean files: copy (shares blocks where the file system can), or link. Editing a linked file edits the source.",
)


def attack_options(layout: Layout) -> Callable[[Any], Any]:
    """Every option of a dataset's command, with the layout's defaults."""
    return combine(
        click.option(
            "--source",
            type=FOLDER,
            envvar=[layout.variable, "POISONGEN_SOURCE"],
            show_envvar=True,
            help=f"Folder of the clean {layout.title}.",
        ),
        click.option(
            "--attack",
            type=click.Choice(list(ATTACKS)),
            required=True,
            help="What to do to the training split; benign freezes it clean, and needs no other option.",
        ),
        click.option("--rate", help="Share of all training pictures that is poisoned: 0.1 or 10%. Required but for benign."),
        out_option,
        click.option("--victim", default=layout.victims, help="Class that the trigger hides; several with commas."),
        click.option("--target", default=layout.target, help="Class that the victim is relabelled to."),
        click.option("--trigger", default="default", help="The drawn default, or patch:FILE (PNG; alpha is blended)."),
        click.option("--trigger-size", default="10.7%", help="Height of the trigger: 110px, or 10.7% of the picture's height."),
        click.option(
            "--edge-margin", default="0px", help="Least distance of the trigger's centre from the edges (the authors' code: 39%)."
        ),
        click.option(
            "--nni",
            "rule",
            type=click.Choice(["nearest", "band"]),
            default="nearest",
            help="nni: the nearest position, or uniform in a band.",
        ),
        click.option("--lower", default="0px", help="nni: least distance from the victim, px or % of the height."),
        click.option(
            "--upper", help="nni: greatest distance from the victim (the paper: 60 px at 512 rows).", show_default="unbounded"
        ),
        click.option(
            "--min-victim-pixels",
            type=click.IntRange(min=1),
            default=1,
            help="Smaller victims make no picture eligible, here and in evaluation.",
        ),
        click.option(
            "--seed",
            type=Seed(),
            default=0,
            help="Chooses the poisoned pictures and places the triggers.",
        ),
        click.option(
            "--eval-seed",
            type=Seed(),
            default=0,
            help="Places the triggers of the evaluation sets.",
        ),
        click.option(
            "--take-what-fits", is_flag=True, help="Poison fewer pictures, with a warning, where the rate asks for too many."
        ),
        jobs_option,
        link_option,
        restart_option,
        click.option("--dry-run", is_flag=True, help="Plan, print the counts and the first placements, write nothing."),
        json_option,
    )


def recipe_of(space: LabelSpace, picture: Pixels | None, options: dict[str, Any]) -> Recipe:
    """The resolved recipe of a dataset's command; ``picture`` is the trigger art. Raises RecipeError."""
    attack = ATTACKS[options["attack"]]
    if attack.placement is None:
        if options["rate"] is not None:
            raise RecipeError(f"--rate has no meaning for {options['attack']}, which poisons nothing.", remedy="leave it out")
        return Recipe(attack=options["attack"], seed=options["seed"])
    if options["rate"] is None:
        raise click.UsageError("Which share of the training pictures shall be poisoned? Give --rate, e.g. 0.1.")
    assert picture is not None
    margin = Length.parse(options["edge_margin"])
    placement = attack.placement.model_copy(update={"edge_margin": margin})
    near = {
        "rule": options["rule"],
        "lower": Length.parse(options["lower"]),
        "upper": Length.parse(options["upper"]) if options["upper"] else None,
    }
    if isinstance(placement, NearVictim):
        placement = placement.model_copy(update=near)
    elif near != {"rule": "nearest", "lower": Length.parse("0px"), "upper": None}:
        raise RecipeError(
            f"--nni, --lower and --upper have no meaning for {options['attack']}.",
            remedy="leave them out, or choose --attack nni",
        )
    return Recipe(
        attack=options["attack"],
        seed=options["seed"],
        poison=Poison(
            trigger=Patch(size=Length.parse(options["trigger_size"]), art_pixels=digest_pixels(picture)),
            placement=placement,
            relabel=VictimToTarget(),
            victim_classes=tuple(space.find(victim) for victim in options["victim"].split(",")),
            target_class=space.find(options["target"]),
            min_victim_pixels=options["min_victim_pixels"],
            rate=options["rate"],
            take_what_fits=options["take_what_fits"],
            evaluation_sets=tuple(
                EvaluationSet(name=name, placement=rule, seed=options["eval_seed"]) for name, rule in EVALUATION.items()
            ),
        ),
    )
