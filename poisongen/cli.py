"""The command line: arguments in, exit code out. The only module that prints."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from poisongen import apply, art, draw, rebuild, summary
from poisongen.attacks import ATTACKS
from poisongen.datasets import LAYOUTS, Layout
from poisongen.errors import PoisongenError
from poisongen.folder import LinkMode, check_apart, check_out
from poisongen.options import (
    FOLDER,
    Seed,
    attack_options,
    combine,
    jobs_option,
    json_option,
    link_option,
    out_option,
    recipe_of,
    restart_option,
    source_option,
)
from poisongen.plan import Plan, make_plan
from poisongen.verify import verify as verify_folder
from poisongen.version import __version__
from poisongen.workers import Workers

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
    report = _reporter(as_json)
    if source is None:
        raise click.UsageError(f"Where is the clean {layout.title}? Give --source, or set {layout.variable}.")
    if out is None and not dry_run:
        raise click.UsageError("Where shall the dataset go? Give --out, or --dry-run to see the plan only.")
    picture = art.load(options["trigger"]) if options["attack"] != "benign" else None
    recipe = recipe_of(layout.space, picture, options)
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


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "recipe": plan.recipe.model_dump(mode="json"),
        "counts": plan.counts,
        "rejected": [dict(zip(("id", "set", "reason"), one, strict=True)) for one in plan.rejected],
        "placements": [
            {"id": entry.examined.sample.id, "set": entry.set, **entry.spot.model_dump()}
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
@combine(source_option, out_option, jobs_option, link_option, restart_option, json_option)
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
@combine(
    click.option("--source", type=FOLDER, help="Clean dataset: compare the clean files with it, too."),
    click.option("--decode", is_flag=True, help="Decode the clean files, too; what was written anew always is."),
    jobs_option,
    json_option,
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
@combine(
    click.option("--size", default="256x128", help="Width x height of the pictures in pixels."),
    click.option("--train", type=click.IntRange(min=1), default=draw.TRAIN, help="Pictures in the training split."),
    click.option("--val", type=click.IntRange(min=0), default=draw.VAL, help="Pictures in the validation split."),
    click.option("--seed", type=Seed(), default=0, help="Another seed draws other streets."),
    jobs_option,
    restart_option,
    json_option,
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
    sound = cross and width.isdecimal() and height.isdecimal() and len(text) < 12
    if not sound or not (64 <= int(width) <= 8192 and 32 <= int(height) <= 8192):
        raise click.BadParameter(
            f"{text!r} is not a size; give width x height, 64x32 to 8192x8192, e.g. 256x128", param_hint="--size"
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
