"""The command line: arguments in, exit code out.

What the commands do is imported when one of them runs, so that help and errors of usage are there at once.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import click

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
    restart_option,
    source_option,
)
from poisongen.datasets import LAYOUTS, Layout
from poisongen.errors import PoisongenError
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
    """The console script: runs the command line, and turns errors into text on standard error and exit
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
        told = PoisongenError("A file or folder cannot be used.", file=error.filename, found=error.strerror)
        click.echo(f"poisongen: {told}", err=True)
        sys.exit(1)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _actions() -> ModuleType:
    from poisongen.cli import actions  # everything that computes: half a second

    return actions


_WRITING = ("source", "out", "jobs", "link", "restart", "as_json", "dry_run")
"""The options that say where a command reads and writes, and how."""


def _parted(options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The options of a command as ``Writing``, and all others."""
    others = dict(options)
    writing = {name: others.pop(name) for name in _WRITING if name in options}
    return _actions().Writing(**writing), others


def _dataset_command(name: str, layout: Layout) -> click.Command:
    @click.command(
        name,
        help=f"""Poison {layout.title}, or freeze it clean.

        Classes are given by name or by training id. --out receives a drop-in copy of the layout with the
        poisoned training split, the other splits clean, and under triggered/ the sets on which attack success
        is measured.

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
        writing, shaping = _parted(options)
        _actions().freeze(name, writing, shaping)

    return command


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
def build_command(recipe: Path, seed: int | None, **options: Any) -> None:
    """Build the dataset of a RECIPE file: one row of a table, as manifests/recipes has them.

    A recipe file is a small JSON that names a dataset and the options of its command.

    \b
    Example:
      poisongen build manifests/recipes/cityscapes/nni-10.json --source DIR --out data
    """
    writing, _ = _parted(options)
    _actions().build(recipe, writing, seed)


@cli.command("rebuild", short_help="Make the same dataset again from its manifest.")
@click.argument("manifest", type=FOLDER)
@combine(source_option, out_option, code_option, jobs_option, link_option, restart_option, json_option)
def rebuild_command(manifest: Path, code: Path | None, **options: Any) -> None:
    """Make the same dataset again from its MANIFEST and the clean source.

    MANIFEST is a manifest.json, or a folder that holds one, with samples.jsonl and trigger.png beside it. The
    source is proved first, file by file; another one is refused. The result has the same identity, or there
    is none.

    \b
    Example:
      poisongen rebuild shared/manifest.json --source streets --out copy
    """
    writing, _ = _parted(options)
    _actions().rebuild(manifest, writing, code)


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
def verify_command(folder: Path, **options: Any) -> None:
    """Hold a dataset FOLDER against its manifest.

    Names every missing, changed and unexpected file, and tells changed bytes from changed pixels. Exit code 3
    if there is any.

    \b
    Example:
      poisongen verify data --decode
    """
    _actions().verify(folder, **options)


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
def show_command(folder: Path, **options: Any) -> None:
    """Write gallery.png and report.html of a dataset FOLDER into it.

    The gallery is a contact sheet: clean, poisoned, mask, label before, label after. The report is one page
    for a browser, with counts, heat maps of trigger positions, distances, surfaces and rejected samples. Both
    hold pictures of the dataset: do not share them.

    \b
    Example:
      poisongen show data --source streets
    """
    _actions().show(folder, **options)


@cli.command("draw", short_help="Draw street scenes, a source that needs no download.")
@click.argument("out", type=FOLDER)
@combine(
    click.option("--size", default="256x128", help="Width x height of the pictures in pixels."),
    click.option("--train", type=click.IntRange(min=1), default=400, help="Pictures in the training split."),
    click.option("--val", type=click.IntRange(min=0), default=60, help="Pictures in the validation split."),
    click.option("--seed", type=Seed(), default=0, help="Another seed draws other streets."),
    jobs_option,
    restart_option,
    json_option,
)
def draw_command(out: Path, size: str, train: int, val: int, seed: int, **options: Any) -> None:
    """Draw street scenes in the layout of Cityscapes: a source to try everything on, without a download.

    Drawn with whole numbers only: the same arguments give the same pixels on every machine.

    \b
    Examples:
      poisongen draw streets
      poisongen draw big --size 2048x1024 --train 20 --val 5
    """
    width, height = _parse_size(size)
    scenes = {"height": height, "width": width, "train": train, "val": val, "seed": seed}
    _actions().draw(out, scenes, **options)


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
    _actions().attacks(as_json)
