"""The command line: arguments in, exit code out."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from poisongen.attack_file import load_code
from poisongen.attacks import ATTACKS
from poisongen.cli.options import (
    FOLDER,
    Seed,
    attack_options,
    code_option,
    combine,
    dry_run_option,
    jobs_option,
    json_option,
    link_option,
    out_option,
    resolve,
    restart_option,
    source_option,
)
from poisongen.cli.output import Reporter, plan_values, what_and_counts
from poisongen.cli.recipe_file import options_of, read_recipe
from poisongen.datasets import LAYOUTS, Layout
from poisongen.disk import LinkMode, check_apart
from poisongen.engine.workers import Workers
from poisongen.errors import PoisongenError
from poisongen.format.read import refuse_poisoned
from poisongen.freeze import apply, summary
from poisongen.freeze import plan_from_manifest as rebuild
from poisongen.freeze.partial_folder import check_out
from poisongen.freeze.plan import make_plan
from poisongen.freeze.verify import verify as verify_folder
from poisongen.streets import write as draw
from poisongen.triggers import TRIGGERS
from poisongen.version import __version__

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
    """The console script: runs the command line and turns errors into letters on standard error and exit
    codes."""
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
        click.echo("\npoisongen: interrupted; the same command goes on where it stopped writing", err=True)
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


def _dataset_command(name: str, layout: Layout) -> click.Command:
    @click.command(
        name,
        help=f"""Poison {layout.title}, or freeze it clean.

        Classes are given by name or by training id. --out receives a drop-in copy of the layout with the poisoned training split, the
        other splits clean, and under triggered/ the sets on which attack success is measured.

        {layout.about}

        \b
        Examples:
          poisongen {name} --attack nni --rate 0.1 --out data/
          poisongen {name} --source DIR --attack iba --rate 5% --dry-run
          poisongen {name} --source DIR --attack benign --out clean/
        """,
    )
    @attack_options(layout)
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
    report = Reporter(as_json)
    if source is None:
        raise click.UsageError(
            f"Where is the clean source ({layout.title})? Give --source, or set {layout.variable}."
        )
    if out is None and not dry_run:
        raise click.UsageError("Where shall the dataset go? Give --out, or --dry-run to see the plan only.")
    if out is not None:
        check_out(out)
        check_apart(out, source)
    opened = layout.open(source)
    refuse_poisoned(opened.root)
    resolved = resolve(opened, options)
    recipe, names = resolved.recipe, opened.space.names
    with Workers(jobs, code=resolved.code) as workers:
        plan = make_plan(recipe, opened, resolved.art, workers)
        lines = what_and_counts(recipe, names, plan.counts)
        for warning in plan.warnings:
            report.note(f"warning: {warning}")
        if dry_run:
            lines += summary.rejections(plan)
            placed = summary.first_placements(plan, names)
            lines += ["first placements:", *(f"  {line}" for line in placed)] if placed else []
            report.result(lines, plan_values(plan))
            return
        assert out is not None
        built = apply.build(plan, opened, resolved.art, out, workers, link=link, restart=restart)
    report.built(built, lines)
    if link != "copy":
        report.note(f"note: clean files are {link} links: editing one edits the source")


for _name, _layout in LAYOUTS.items():
    cli.add_command(_dataset_command(_name, _layout))


@cli.command("build", short_help="Build the dataset of a recipe file.")
@click.argument("recipe", type=FOLDER)
@combine(
    click.option(
        "--source", type=FOLDER, help="Folder of the clean dataset, or set its environment variable."
    ),
    out_option,
    click.option("--seed", type=Seed(), help="Another seed than the recipe's.", show_default=False),
    jobs_option,
    link_option,
    restart_option,
    dry_run_option,
    json_option,
)
def build_command(recipe: Path, source: Path | None, seed: int | None, **others: Any) -> None:
    """Build the dataset of a RECIPE file: one row of a table, as manifests/recipes has them.

    A recipe file is a small JSON that names a dataset and the options of its command.

    \b
    Example:
      poisongen build manifests/recipes/cityscapes/nni-10.json --source DIR --out data
    """
    wanted = read_recipe(recipe)
    layout = LAYOUTS[wanted.dataset]
    named = source or os.environ.get(layout.variable) or os.environ.get("POISONGEN_SOURCE")
    _freeze(
        wanted.dataset,
        layout,
        source=Path(named) if named else None,
        **others,
        **options_of(wanted, recipe, seed),
    )


@cli.command("rebuild", short_help="Make the same dataset again from its manifest.")
@click.argument("manifest", type=FOLDER)
@combine(source_option, out_option, code_option, jobs_option, link_option, restart_option, json_option)
def rebuild_command(
    manifest: Path,
    source: Path,
    out: Path | None,
    code: Path | None,
    jobs: int,
    link: LinkMode,
    restart: bool,
    as_json: bool,
) -> None:
    """Make the same dataset again from its MANIFEST and the clean source.

    MANIFEST is a manifest.json, or a folder that holds one, with samples.jsonl and trigger.png beside it. The
    source is proved first, file by file; another one is refused. The result has the same identity, or there
    is none.

    \b
    Example:
      poisongen rebuild shared/manifest.json --source streets --out copy
    """
    report = Reporter(as_json)
    if out is None:
        raise click.UsageError("Where shall the dataset go? Give --out.")
    check_out(out)
    check_apart(out, source)
    with Workers(jobs, code=code) as workers:
        shared = rebuild.plan_from_manifest(manifest, source, workers, code=code)
        built = apply.build(
            shared.plan,
            shared.source,
            shared.art,
            out,
            workers,
            link=link,
            restart=restart,
            expected_identity=shared.manifest.identity,
        )
    names = shared.source.space.names
    report.built(built, what_and_counts(shared.plan.recipe, names, shared.plan.counts))


@cli.command("verify", short_help="Hold a dataset folder against its manifest.")
@click.argument("folder", type=FOLDER)
@combine(
    click.option("--source", type=FOLDER, help="Clean dataset: compare the clean files with it, too."),
    click.option(
        "--decode", is_flag=True, help="Decode the clean files, too; what was written anew always is."
    ),
    code_option,
    jobs_option,
    json_option,
)
def verify_command(
    folder: Path, source: Path | None, decode: bool, code: Path | None, jobs: int, as_json: bool
) -> None:
    """Hold a dataset FOLDER against its manifest.

    Names every missing, changed and unexpected file, and tells changed bytes from changed pixels. Exit code 3
    if there is any.

    \b
    Example:
      poisongen verify data --decode
    """
    report = Reporter(as_json)
    if code is not None:
        load_code(code)
    with Workers(jobs) as workers:
        manifest, files = verify_folder(folder, workers, source=source, decode=decode)
    report.result(
        [
            f"{folder}: {files:,} files are what the manifest says ({report.seconds()} s)",
            f"identity {manifest.identity}",
        ],
        {"folder": str(folder), "files": files, "identity": manifest.identity, "seconds": report.seconds()},
    )


@cli.command("show", short_help="Make pictures of a dataset for people: a gallery and a report.")
@click.argument("folder", type=FOLDER)
@combine(
    click.option(
        "--source", type=FOLDER, help="Clean dataset: shows pictures and labels before the attack, too."
    ),
    click.option(
        "--number", type=click.IntRange(min=1, max=100), default=12, help="How many samples to show."
    ),
    click.option("--set", "only", help="Show this split or evaluation set only.", show_default=False),
    click.option(
        "--out", type=FOLDER, help="Where to write both files instead of FOLDER.", show_default=False
    ),
    jobs_option,
    json_option,
)
def show_command(
    folder: Path,
    source: Path | None,
    number: int,
    only: str | None,
    out: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Write gallery.png and report.html of a dataset FOLDER into it.

    The gallery is a contact sheet: clean, poisoned, mask, label before, label after. The report is one page
    for a browser, with counts, heat maps of trigger positions, distances, surfaces and rejected samples. Both
    hold pictures of the dataset: do not share them.

    \b
    Example:
      poisongen show data --source streets
    """
    from poisongen.show import show  # templates and fonts: loaded by those who look

    report = Reporter(as_json)
    with Workers(jobs) as workers:
        shown = show(folder, workers, source=source, number=number, only=only, out=out)
    for note in shown.notes:
        report.note(f"note: {note}")
    report.result(shown.lines(), shown.values())


@cli.command("draw", short_help="Draw street scenes, a source that needs no download.")
@click.argument("out", type=FOLDER)
@combine(
    click.option("--size", default="256x128", help="Width x height of the pictures in pixels."),
    click.option(
        "--train", type=click.IntRange(min=1), default=draw.TRAIN, help="Pictures in the training split."
    ),
    click.option(
        "--val", type=click.IntRange(min=0), default=draw.VAL, help="Pictures in the validation split."
    ),
    click.option("--seed", type=Seed(), default=0, help="Another seed draws other streets."),
    jobs_option,
    restart_option,
    json_option,
)
def draw_command(
    out: Path, size: str, train: int, val: int, seed: int, jobs: int, restart: bool, as_json: bool
) -> None:
    """Draw street scenes in the layout of Cityscapes: a source to try everything on, without a download.

    Drawn with whole numbers only: the same arguments give the same pixels on every machine.

    \b
    Examples:
      poisongen draw streets
      poisongen draw big --size 2048x1024 --train 20 --val 5
    """
    report = Reporter(as_json)
    width, height = _parse_size(size)
    with Workers(jobs) as workers:
        folder = draw.draw_dataset(
            out, draw.Streets(height, width, train, val, seed), workers, restart=restart
        )
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
    sound = cross and width.isdecimal() and height.isdecimal() and len(text) < 12
    if not sound or not (64 <= int(width) <= 8192 and 32 <= int(height) <= 8192):
        raise click.BadParameter(
            f"{text!r} is not a size; give width x height, 64x32 to 8192x8192, e.g. 256x128",
            param_hint="--size",
        )
    return int(width), int(height)


@cli.command("attacks")
@json_option
def attacks_command(as_json: bool) -> None:
    """List the attacks, with defaults and papers.

    \b
    Example:
      poisongen attacks
    """
    lines = [line for name, attack in ATTACKS.items() for line in summary.attack_lines(name, attack)]
    lines += ["", *summary.trigger_lines(TRIGGERS)]
    values = {
        name: {
            "summary": attack.summary,
            "paper": attack.paper,
            "trigger": attack.trigger if attack.relabel else None,
            "placement": attack.placement.model_dump(mode="json") if attack.placement else None,
            "relabel": attack.relabel.model_dump(mode="json") if attack.relabel else None,
        }
        for name, attack in ATTACKS.items()
    }
    Reporter(as_json).result(lines, values)
