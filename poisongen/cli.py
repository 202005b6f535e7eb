"""The command line: arguments in, exit code out. The only module that prints."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from poisongen import apply, art, draw, rebuild, summary
from poisongen.attacks import ATTACKS, EVALUATION
from poisongen.datasets import LAYOUTS, Layout
from poisongen.errors import PoisongenError, RecipeError
from poisongen.folder import LinkMode, check_apart, check_out
from poisongen.labels import LabelSpace
from poisongen.lengths import Length
from poisongen.pixels import Pixels, digest_pixels
from poisongen.placement import NearVictim
from poisongen.plan import Plan, make_plan
from poisongen.recipe import EvaluationSet, Poison, Recipe
from poisongen.relabel import VictimToTarget
from poisongen.triggers import Patch
from poisongen.verify import verify as verify_folder
from poisongen.version import __version__
from poisongen.workers import Workers, available_cores

INTERRUPTED = 130

_SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "auto_envvar_prefix": "POISONGEN",
    "max_content_width": 100,
    "show_default": True,
}

_EPILOG = """\b
Exit codes: 0 done, 1 error, 2 wrong usage, 3 verification failed,
4 another source than the manifest's, 130 interrupted."""


@click.group(context_settings=_SETTINGS, epilog=_EPILOG)
@click.version_option(__version__, prog_name="poisongen", message="%(prog)s %(version)s")
def cli() -> None:
    """Write frozen, verifiable, rebuildable poisoned copies of segmentation datasets.

    For research on backdoors and on defences against them. The clean dataset is only read, never changed.

    \b
    Examples:
      poisongen draw streets
      poisongen cityscapes --source streets --attack nni --rate 0.1 --out data
      poisongen verify data
    """


def main() -> NoReturn:
    """The console script: runs the command line and turns errors into letters on standard error and exit codes."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = cli.main(standalone_mode=False, prog_name="poisongen")
        sys.exit(code if isinstance(code, int) else 0)
    except PoisongenError as error:
        click.echo(f"poisongen: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\npoisongen: interrupted; the same command goes on where it stopped", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        click.echo(
            f"poisongen: {PoisongenError('A file or folder cannot be used.', file=error.filename, found=error.strerror)}",
            err=True,
        )
        sys.exit(1)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


FOLDER = click.Path(path_type=Path)


class Seed(click.ParamType):
    """A whole number from 0 to 2⁶³ - 1."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, or a usage error."""
        text = str(value)
        if not (text.isascii() and text.isdecimal() and int(text) < 1 << 63):
            self.fail(f"{text!r} is not a whole number from 0 to 2^63 - 1", param, ctx)
        return int(text)


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_source_option = click.option("--source", type=FOLDER, required=True, help="Folder of the clean dataset.")
_out_option = click.option("--out", type=FOLDER, help="Folder to write: a new name, or an empty folder.")
_jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=available_cores,
    show_default="all cores",
    help="Worker processes; the result does not depend on it.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_restart_option = click.option(
    "--restart", is_flag=True, help="Discard unfinished work in OUT.partial instead of going on with it."
)
_link_option = click.option(
    "--link",
    type=click.Choice(["copy", "hard", "symlink"]),
    default="copy",
    help="Clean files: copy (shares blocks where the file system can), or link. Editing a linked file edits the source.",
)


@dataclass
class _Reporter:
    """What the command says: results on standard output, as text or JSON; notes on standard error."""

    as_json: bool
    started: float

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def result(self, lines: list[str], values: dict[str, Any]) -> None:
        click.echo(json.dumps(values, indent=1, ensure_ascii=False) if self.as_json else "\n".join(lines))

    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 1)


def _reporter(as_json: bool) -> _Reporter:
    return _Reporter(as_json, time.monotonic())


def _dataset_command(name: str, layout: Layout) -> click.Command:
    @click.command(
        name,
        help=f"""Poison {layout.title}, or freeze it clean.

        Classes are given by name or by training id. --out receives a drop-in copy of the layout with the poisoned training split, the
        other splits clean, and under triggered/ the sets on which attack success is measured.

        \b
        Examples:
          poisongen {name} --attack nni --rate 0.1 --out data/
          poisongen {name} --source DIR --attack iba --rate 5% --dry-run
          poisongen {name} --source DIR --attack benign --out clean/
        """,
    )
    @_options(
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
            help="What to do to the training split; benign freezes it clean.",
        ),
        click.option("--rate", help="Share of all training pictures that is poisoned: 0.1 or 10%. Required but for benign."),
        _out_option,
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
            "--min-victim-pixels", type=click.IntRange(min=1), default=1, help="Smaller victims do not make a picture eligible."
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
        _jobs_option,
        _link_option,
        _restart_option,
        click.option("--dry-run", is_flag=True, help="Plan, print the counts and the first placements, write nothing."),
        _json_option,
    )
    def command(**options: Any) -> None:
        _freeze(name, layout, **options)

    return command


def _freeze(
    name: str,
    layout: Layout,
    *,
    source: Path | None,
    out: Path | None,
    jobs: int,
    link: LinkMode,
    restart: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    report = _reporter(as_json)
    if source is None:
        raise click.UsageError(f"Where is the clean {layout.title}? Give --source, or set {layout.variable}.")
    if out is None and not dry_run:
        raise click.UsageError("Where shall the dataset go? Give --out, or --dry-run to see the plan only.")
    picture = art.load(options["trigger"]) if options["attack"] != "benign" else None
    recipe = _recipe(layout, picture, options, layout.space)
    if out is not None:
        check_out(out)
        check_apart(out, source)
    opened = layout.open(source)
    with Workers(jobs) as workers:
        plan = make_plan(recipe, opened, picture, workers)
        lines = [summary.describe_attack(recipe, opened.space.names), *summary.counts_table(plan.counts)]
        for warning in plan.warnings:
            report.note(f"warning: {warning}")
        if dry_run:
            lines += summary.rejections(plan)
            lines += (
                ["first placements:", *(f"  {line}" for line in summary.first_placements(plan, opened.space.names))]
                if recipe.poison
                else []
            )
            report.result(lines, _plan_json(plan))
            return
        assert out is not None
        built = apply.build(plan, opened, picture, out, workers, link=link, restart=restart)
    _report_built(report, built, lines)
    if link != "copy":
        report.note(f"note: clean files are {link} links: editing one edits the source")


def _recipe(layout: Layout, picture: Pixels | None, options: dict[str, Any], space: LabelSpace) -> Recipe:
    """The resolved recipe of the command line. Raises RecipeError."""
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


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "recipe": plan.recipe.model_dump(mode="json"),
        "counts": plan.counts,
        "rejected": [dict(zip(("id", "set", "reason"), one, strict=True)) for one in plan.rejected],
        "placements": [
            {"id": entry.examined.sample.id, "set": entry.set, **vars(entry.spot)}
            for entry in plan.entries
            if entry.spot is not None
        ],
        "warnings": list(plan.warnings),
    }


def _report_built(report: _Reporter, built: apply.Built, lines: list[str]) -> None:
    resumed = f", {built.resumed:,} samples were there already" if built.resumed else ""
    report.result(
        [
            *lines,
            f"wrote {built.out}: {built.files:,} files, {summary.size_text(built.bytes)} "
            f"({summary.size_text(built.copied)} copied unchanged{resumed}), {report.seconds()} s",
            f"identity {built.manifest.identity}",
        ],
        {
            "out": str(built.out),
            "identity": built.manifest.identity,
            "files": built.files,
            "bytes": built.bytes,
            "bytes_copied": built.copied,
            "samples_resumed": built.resumed,
            "seconds": report.seconds(),
            "counts": built.manifest.counts,
        },
    )


for _name, _layout in LAYOUTS.items():
    cli.add_command(_dataset_command(_name, _layout))


@cli.command("rebuild", short_help="Make the same dataset again from its manifest.")
@click.argument("manifest", type=FOLDER)
@_options(_source_option, _out_option, _jobs_option, _link_option, _restart_option, _json_option)
def rebuild_command(
    manifest: Path, source: Path, out: Path | None, jobs: int, link: LinkMode, restart: bool, as_json: bool
) -> None:
    """Make the same dataset again from its MANIFEST and the clean source.

    MANIFEST is a manifest.json, or a folder that holds one, with samples.jsonl and trigger.png beside it. The source is proved first,
    file by file; another one is refused. The result has the same identity, or there is none.

    \b
    Example:
      poisongen rebuild shared/manifest.json --source streets --out copy
    """
    report = _reporter(as_json)
    if out is None:
        raise click.UsageError("Where shall the dataset go? Give --out.")
    check_out(out)
    check_apart(out, source)
    with Workers(jobs) as workers:
        recalled = rebuild.recall(manifest, source, workers)
        built = apply.build(
            recalled.plan,
            recalled.source,
            recalled.art,
            out,
            workers,
            link=link,
            restart=restart,
            expected_identity=recalled.manifest.identity,
        )
    names = recalled.source.space.names
    _report_built(
        report, built, [summary.describe_attack(recalled.plan.recipe, names), *summary.counts_table(recalled.plan.counts)]
    )


@cli.command("verify", short_help="Hold a dataset folder against its manifest.")
@click.argument("folder", type=FOLDER)
@_options(
    click.option("--source", type=FOLDER, help="Clean dataset: compare the clean files with it, too."),
    click.option("--decode", is_flag=True, help="Decode every picture, even where the bytes are right."),
    _jobs_option,
    _json_option,
)
def verify_command(folder: Path, source: Path | None, decode: bool, jobs: int, as_json: bool) -> None:
    """Hold a dataset FOLDER against its manifest.

    Names every missing, changed and unexpected file, and tells changed bytes from changed pixels. Exit code 3 if there is any.

    \b
    Example:
      poisongen verify data --decode
    """
    report = _reporter(as_json)
    with Workers(jobs) as workers:
        manifest, files = verify_folder(folder, workers, source=source, decode=decode)
    report.result(
        [f"{folder}: {files:,} files are what the manifest says ({report.seconds()} s)", f"identity {manifest.identity}"],
        {"folder": str(folder), "files": files, "identity": manifest.identity, "seconds": report.seconds()},
    )


@cli.command("draw", short_help="Draw street scenes, a source that needs no download.")
@click.argument("out", type=FOLDER)
@_options(
    click.option("--size", default="256x128", help="Width x height of the pictures in pixels."),
    click.option("--train", type=click.IntRange(min=1), default=draw.TRAIN, help="Pictures in the training split."),
    click.option("--val", type=click.IntRange(min=0), default=draw.VAL, help="Pictures in the validation split."),
    click.option("--seed", type=Seed(), default=0, help="Another seed draws other streets."),
    _jobs_option,
    _restart_option,
    _json_option,
)
def draw_command(out: Path, size: str, train: int, val: int, seed: int, jobs: int, restart: bool, as_json: bool) -> None:
    """Draw street scenes in the layout of Cityscapes: a source to try everything on, without a download.

    Drawn with whole numbers only: the same arguments give the same pixels on every machine.

    \b
    Examples:
      poisongen draw streets
      poisongen draw big --size 2048x1024 --train 20 --val 5
    """
    report = _reporter(as_json)
    width, height = _parse_size(size)
    with Workers(jobs) as workers:
        folder = draw.draw_dataset(out, draw.Streets(height, width, train, val, seed), workers, restart=restart)
    report.result(
        [f"drew {train:,} + {val:,} street scenes of {width}×{height} in {folder} ({report.seconds()} s)"],
        {
            "out": str(folder),
            "train": train,
            "val": val,
            "height": height,
            "width": width,
            "seed": seed,
            "seconds": report.seconds(),
        },
    )


def _parse_size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().replace("×", "x").partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()) or not (64 <= int(width) <= 8192 and 32 <= int(height) <= 8192):
        raise click.BadParameter(
            f"{text!r} is not a size; give width x height, 64x32 to 8192x8192, e.g. 256x128", param_hint="--size"
        )
    return int(width), int(height)


@cli.command("attacks")
@_json_option
def attacks_command(as_json: bool) -> None:
    """List the attacks, with defaults and papers.

    \b
    Example:
      poisongen attacks
    """
    lines = []
    for name, attack in ATTACKS.items():
        lines += [f"{name}: {attack.summary}"]
        if attack.placement:
            lines += [
                "  trigger    a picture, 10.7% of the height, the project's own art",
                f"  placement  {summary.describe_placement(attack.placement)}",
            ]
            lines += ["  relabel    victim pixels become the target"]
        lines += [f"  paper      {attack.paper}"] if attack.paper else []
    values = {
        name: {
            "summary": attack.summary,
            "paper": attack.paper,
            "placement": attack.placement.model_dump(mode="json") if attack.placement else None,
        }
        for name, attack in ATTACKS.items()
    }
    _reporter(as_json).result(lines, values)
