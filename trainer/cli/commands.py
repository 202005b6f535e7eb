"""The command line: arguments in, exit code out. Progress and errors go to standard error, results to
standard output."""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from trainer import __version__
from trainer import run_folder as checkpoint
from trainer.config import Config, load, presets, resolve_auto
from trainer.dataset.cache import build, cache_file, compare
from trainer.dataset.folder import Folder, open_folder
from trainer.errors import Interrupted, RunError, SettingError, TrainerError, error_text
from trainer.networks.models import as_json, measure, table, variants
from trainer.scoring.evaluate import (
    Predict,
    Readahead,
    Reading,
    metrics_text,
    predictor,
    score_run,
    write_metrics,
)
from trainer.scoring.intervals import BLOCK
from trainer.scoring.panel import panel as draw_panel
from trainer.scoring.panel import title
from trainer.scoring.predictions import score_predictions
from trainer.tables.panels import draw_panels
from trainer.tables.plots import draw_plots
from trainer.tables.rows import body_of, rows
from trainer.tables.runs import read_runs, short, with_baseline
from trainer.tables.text import legend, markdown
from trainer.tables.text import report as report_of
from trainer.tables.text import write as write_report
from trainer.train import train as run_training
from trainer.training.machine import run_lock, set_determinism
from trainer.training.parallel import joined
from trainer.training.trigger_in_crops import shares

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
BLOCK_OPTION = click.option(
    "--block",
    type=click.IntRange(1),
    default=BLOCK,
    metavar="N",
    help=f"Pictures in a block of the bootstrap. [default: {BLOCK}]",
)


class PictureSize(click.ParamType):
    """Text such as 2048x1024, width first, as (height, width)."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        match = re.fullmatch("([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", value)
        if not match:
            self.fail(f"{value} is no size such as 2048x1024.", param, ctx)
        return int(match[2]), int(match[1])


class ErrorsAsText(click.Group):
    """The one place where errors become text and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrainerError as error:
            if os.environ.get("RANK", "0") == "0" or not isinstance(
                error, Interrupted
            ):  # of several processes one says it
                click.echo(f"{'' if isinstance(error, Interrupted) else 'Error: '}{error}", err=True)
            ctx.exit(error.exit_code)
        except torch.OutOfMemoryError as error:
            todo = "--set accumulate=2, or a smaller batch or crop"
            found = str(error).partition(". ")[0]
            click.echo(
                f"Error: {error_text('The memory of the GPU is not enough.', found=found, todo=todo)}",
                err=True,
            )
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted. Give the same command again to go on.", err=True)
            ctx.exit(Interrupted.exit_code)


@click.group(
    cls=ErrorsAsText, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}
)
@click.version_option(__version__, prog_name="trainer")
def main() -> None:
    """Train a segmentation network on a dataset folder, and measure what a
    backdoor in it does.

    \b
    Example:
      python -m trainer train data/benign --out runs/benign
      python -m trainer train data/nni10 --out runs/nni10
      python -m trainer eval runs/benign --data data/nni10
      python -m trainer report runs/benign runs/nni10
    """


@main.command()
@click.argument("data", type=FOLDER)
@click.option(
    "--out", required=True, type=FOLDER, metavar="RUN", help="Folder for the model, the log and the scores."
)
@click.option(
    "--preset", metavar="NAME", help=f"{', '.join(presets())}. [default: the dataset's own, by the manifest]"
)
@click.option("--model", metavar="NAME", help="See the command models. [default: swiftnet]")
@click.option(
    "--init", metavar="SOURCE", help="First weights: imagenet, random, or a FILE. [default: by preset]"
)
@click.option("--epochs", metavar="N", help="[default: by preset; published: 200]")
@click.option("--seed", metavar="N", help="Of weights, order and augmentation. [default: 0]")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1 … [default: a GPU, if any]")
@click.option("--threads", metavar="N", help="Of the CPU; decides the last bits. [default: all cores]")
@click.option("--workers", metavar="N", help="Processes that decode pictures; changes no bit.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any setting of trainer/config.py. May be repeated.",
)
def train(data: Path, out: Path, preset: str | None, settings: Sequence[str], **options: str | None) -> None:
    """Train on the folder DATA and score the model on it.

    Interrupted with Ctrl-C, or killed, the same command goes on at the last
    checkpoint and ends with the same weights.

    \b
    Example:
      python -m trainer train data/nni10 --out runs/nni10 --set batch=8
    """
    folder = open_folder(data)
    wanted = configure(folder, preset, settings, options)
    with joined(wanted.device) as group, run_lock(out) if group.first else nullcontext():
        bar = group.first and sys.stderr.isatty()
        config = run_training(folder, out, wanted, say if group.first else lambda _: None, bar, group)
        metrics = score_run(
            out, folder, config.device, follow if group.first else lambda work, _: work, group=group
        )
        if group.first:
            write_metrics(out / checkpoint.METRICS, metrics)
            draw_panel(folder, trained(out, config)[0], out / "panel.png", title(out, folder))
            (out / checkpoint.CHECKPOINT).unlink(missing_ok=True)
            say(f"model, metrics and panel are in {out}")
            click.echo(markdown(rows([out])), nl=False)


@main.command("eval")
@click.argument("run", type=FOLDER)
@click.option("--data", type=FOLDER, metavar="OTHER", help="Another dataset folder. [default: the run's own]")
@click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1 … [default: a GPU, if any]")
@BLOCK_OPTION
def evaluate(run: Path, data: Path | None, device: str, block: int) -> None:
    """Score the model of RUN on a dataset folder.

    Writes RUN/metrics.json for the dataset that the run was trained on, and
    RUN/metrics-IDENTITY.json for another. Scored on a poisoned dataset, a
    benign run gives the baseline of its attack success.

    \b
    Example:
      python -m trainer eval runs/benign --data data/nni10
    """
    _, config, facts = checkpoint.load_model(run)
    folder = open_folder(data or Path(facts["data"]))
    set_determinism(resolve_auto(load("default", {"device": device, "threads": config.threads})))
    metrics = score_run(run, folder, device, follow, block)
    own = metrics["run"]["trained_on"]["identity"] == folder.identity
    file = run / (checkpoint.METRICS if own else f"metrics-{short(folder.identity)}.json")
    write_metrics(file, metrics)
    say(f"scores are in {file}")
    for name, values in metrics["evaluation_sets"].items():
        figures = ", ".join(f"{text} {shown(values[key])}" for text, key in (
            ("ASR", "asr"), ("without trigger", "asr_without_trigger"), ("PBA", "pba")))  # fmt: skip
        unpaired = (
            f", without trigger: {values['unpaired_pictures']} others"
            if "unpaired_pictures" in values
            else ""
        )
        click.echo(f"{name}: {figures} ({values['pictures']} pictures{unpaired})")
    click.echo(
        f"clean: mIoU {shown(metrics['miou'])}, PA {shown(metrics['pa'])} ({len(folder.evaluation)} pictures)"
    )
    if folder.trigger_class is not None:
        miou, pa = (shown(metrics[f"{key}_without_trigger_class"]) for key in ("miou", "pa"))
        count, name = metrics["pictures_without_trigger_class"], folder.names[folder.trigger_class]
        click.echo(f"clean, without {name}: mIoU {miou}, PA {pa} ({count} pictures)")


@main.command()
@click.argument("data", type=FOLDER)
@click.option("--predictions", required=True, type=FOLDER, metavar="DIR", help="Predicted label maps.")
@click.option(
    "--clean-predictions",
    type=FOLDER,
    metavar="DIR",
    help="Those of a model that was trained without poison.",
)
@click.option("--out", type=FILE, metavar="FILE", help="Also write the scores there, as JSON.")
@click.option(
    "--method",
    metavar="WORDS",
    help="What predicted: files of one method and other seeds are summed up by report.",
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Of the training that predicted, for report."
)
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON instead of the table.")
@BLOCK_OPTION
def score(
    data: Path,
    predictions: Path,
    clean_predictions: Path | None,
    out: Path | None,
    method: str | None,
    seed: int | None,
    as_json: bool,
    block: int,
) -> None:
    """Score label maps that any other program predicted for the folder DATA.

    A prediction is an 8-bit grey or palette PNG of training ids, 0 … K-1, as
    large as the label map. It lies under the path of its picture, ending in
    .png: DIR/leftImg8bit/val/…, DIR/triggered/iba/leftImg8bit/val/….

    The clean evaluation split must be there; an evaluation set may be left
    out as a whole. FILE can be given to report like a run.

    \b
    Example:
      python -m trainer score data/nni10 --predictions out/nni10 \\
          --clean-predictions out/benign --out scores.json
    """
    metrics = score_predictions(open_folder(data), predictions, clean_predictions, follow, block)
    metrics["run"] |= {key: value for key, value in (("method", method), ("seed", seed)) if value is not None}
    for whose, key in ((predictions, "left_out"), (clean_predictions, "left_out_of_clean_model")):
        for name in metrics.get(key, []):
            say(f"the evaluation set {name} is left out: {whose} has no prediction of it")
    if out:
        with writing(out.parent):
            write_metrics(out, metrics)
        say(f"scores are in {out}")
    scored = [with_baseline(metrics, [])]
    click.echo(
        metrics_text(metrics) if as_json else f"{markdown(body_of(scored))}\n{legend(scored)}", nl=False
    )


@main.command()
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--out", type=FOLDER, metavar="DIR", help="Also write tables (.md, .csv, .tex) and plots there."
)
@click.option("--intervals", is_flag=True, help="With 95 % intervals over pictures: 88.69 [86.1, 91.0].")
@click.option("--details", "with_details", is_flag=True, help="More tables: differences, distances, classes.")
@click.option(
    "--subset",
    "subsets",
    multiple=True,
    metavar="NAME=GLOB",
    help="Also of the pictures whose id matches. May be repeated.",
)
@click.option("--panels", is_flag=True, help="Also draw DIR/panel-NAME.png for each attack.")
def report(
    runs: Sequence[Path],
    out: Path | None,
    intervals: bool,
    with_details: bool,
    subsets: Sequence[str],
    panels: bool,
) -> None:
    """Print the table of RUNS as Markdown, one row for each evaluation set.

    Runs that differ in seeds only are also summed up: mean ± standard
    deviation; runs with several evaluation sets stand in a matrix; those that
    differ in the network only are compared by its size. Files that score
    wrote are runs, too.

    The figures of a subset need no prediction. A panel does, and the dataset
    of the run; it holds pictures of it: do not share them.

    \b
    Example:
      python -m trainer report runs/benign runs/iba10 runs/nni10 --out tables
      python -m trainer report runs/* --subset "Seq05VD=test/Seq05VD*"
    """
    if panels and not out:
        raise click.UsageError("Where shall the panels go? Give --out.")
    named = {}
    for subset in subsets:
        name, equals, pattern = subset.partition("=")
        if not equals or not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._+-]*", name):
            raise click.UsageError(f"A subset is NAME=GLOB, such as night=val/night_*, and not {subset}.")
        named[name] = pattern
    for run in runs:
        if (run / checkpoint.RUN).is_file() and not (run / checkpoint.METRICS).is_file():
            raise RunError(
                "The run is not finished.", file=run, todo="give its train command again, or leave it out"
            )
    scored = read_runs(runs)
    text = report_of(scored, intervals, with_details, named)
    if out:
        with writing(out):
            write_report(scored, out, intervals, with_details, named)
            draw_plots(scored, out)
    if out and panels:
        config = resolve_auto(Config())
        with writing(out):
            files = list(draw_panels(scored, out, lambda run: trained(run, config)[0]))
        for file in files:
            say(f"a panel is in {file}")
        if not files:
            say("there is no panel: none of these is a run with a model, an attack and an evaluation set")
    click.echo(text, nl=False)


@main.command()
@click.argument("run", type=FOLDER)
@click.option(
    "--data", type=FOLDER, metavar="OTHER", help="Pictures of another folder. [default: the run's own]"
)
@click.option("--clean-run", type=FOLDER, metavar="RUN", help="A benign run, for one more column.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The PNG to write.",
)
def panel(run: Path, data: Path | None, clean_run: Path | None, out: Path) -> None:
    """Draw pictures, truth and predictions, without and with the trigger.

    \b
    Example:
      python -m trainer panel runs/nni10 --data data/nni10 \\
          --clean-run runs/benign --out panel.png
    """
    if out.suffix != ".png":
        raise click.UsageError(f"A panel is a PNG, such as {out.with_suffix('.png')}, and not {out}.")
    config = resolve_auto(Config())
    predict, names = trained(run, config)
    folder = open_folder(data or Path(checkpoint.read_json(run / checkpoint.RUN)["data"]))
    clean, clean_names = trained(clean_run, config) if clean_run else (None, names)
    if not list(folder.names) == names == clean_names:
        raise RunError("Run and folder have different classes.", file=run, expected=", ".join(names))
    with writing(out.parent):
        draw_panel(folder, predict, out, title(run, folder), clean)
    say(f"the panel is in {out}")


@main.command()
@click.option(
    "--classes",
    type=click.IntRange(1, 255),
    default=19,
    show_default=True,
    metavar="K",
    help="Of the dataset.",
)
@click.option(
    "--size", type=PictureSize(), default="2048x1024", show_default=True, metavar="WxH", help="Of a picture."
)
@click.option("--json", "as_data", is_flag=True, help="Print JSON.")
def models(classes: int, size: tuple[int, int], as_data: bool) -> None:
    """List the models with their parameters and multiply-adds.

    \b
    Example:
      python -m trainer models --classes 11 --size 480x360
    """
    sizes = [measure(*variant, classes=classes, picture=size) for variant in variants()]
    if as_data:
        click.echo(json.dumps(as_json(sizes, classes, size), indent=1))
    else:
        click.echo(table(sizes, classes, size), nl=False)


@main.command()
@click.argument("data", type=FOLDER)
@click.option(
    "--out", type=FOLDER, metavar="FILE", help="Or a folder for it. [default: DATA.cache.h5, beside DATA]"
)
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Threads that decode. [default: all cores]")
@click.option(
    "--check", is_flag=True, help="Compare the cache with the files, pixel by pixel; build nothing."
)
def cache(data: Path, out: Path | None, jobs: int | None, check: bool) -> None:
    """Decode the training pictures of DATA once, into one large file.

    Then train reads the pixels of a crop instead of decoding whole pictures:
    it takes the file by itself if it lies beside DATA, else with
    --set cache=FILE. Every file is held against its digest. A fresh cache is
    kept, and one of another dataset replaced.

    The cache is for the machine that made it: never take one from others.

    \b
    Example:
      python -m trainer cache data/nni10
    """
    folder, bar = open_folder(data), sys.stderr.isatty()
    file, jobs = cache_file(folder, out or "auto"), jobs or resolve_auto(Config()).threads
    if check:
        compare(folder, file, jobs, bar)
        say(f"the cache holds the pixels of all {len(folder.training):,} training pictures: {file}")
    elif build(folder, file, jobs, bar):
        say(
            f"{len(folder.training):,} training pictures are cached, {file.stat().st_size / 1e9:.2f} GB: {file}"
        )
    else:
        say(f"the cache is fresh: {file}")


@main.command()
@click.argument("data", type=FOLDER)
@click.option(
    "--clean",
    type=FOLDER,
    metavar="DATA",
    help="The folder of the same pictures without poison: its labels are the true ones.",
)
@click.option(
    "--preset", metavar="NAME", help=f"{', '.join(presets())}. [default: the dataset's own, by the manifest]"
)
@click.option(
    "--epochs", type=click.IntRange(1), default=20, metavar="N", help="How many to draw. [default: 20]"
)
@click.option("--seed", metavar="N", help="Of the boxes. [default: 0]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any setting of trainer/config.py. May be repeated.",
)
def crops(
    data: Path,
    clean: Path | None,
    preset: str | None,
    epochs: int,
    settings: Sequence[str],
    **options: str | None,
) -> None:
    """How often a training crop shows the whole trigger.

    A box can cut the trigger away and keep pixels whose label was changed.
    Draws the boxes that train draws, and opens no picture. A poisoned folder
    does not say where its flipped pixels are: with --clean, each of them
    that lies in a box counts; without, each picture by how many it has.

    \b
    Example:
      python -m trainer crops data/nni10 --clean data/benign --set crop=512x512
    """
    folder = open_folder(data)
    config = configure(folder, preset, settings, options)
    found = shares(folder, config, epochs, open_folder(clean) if clean else None)
    crop = "×".join(str(side) for side in reversed(config.crop))
    boxes = f"{crop} boxes at scale {config.scale[0]:g} to {config.scale[1]:g}, {found.boxes:,} of {found.pictures} pictures"
    click.echo(
        f"whole trigger in the box: {shown(found.of_boxes)} of boxes, by flipped pixels of their pictures ({boxes})"
    )
    if found.of_pixels is not None:
        click.echo(
            f"whole trigger in the box: {shown(found.of_pixels)} of flipped victim pixels that a box holds"
        )


def configure(
    folder: Folder, preset: str | None, settings: Iterable[str], options: dict[str, str | None]
) -> Config:
    """The settings of a command line: preset, then ``--set``, then the options of their own. Raises
    SettingError."""
    changes: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise SettingError(
                "A setting has no value.", expected="--set key=value", found=f"--set {setting}"
            )
        changes[key.strip()] = value.strip()
    changes |= {key: value for key, value in options.items() if value is not None}
    if preset or folder.dataset in presets():
        return load(preset or folder.dataset, changes)
    # Somebody's own data: the defaults, but boxes of Cityscapes would be mostly empty around smaller
    # pictures.
    largest = (max(row.height for row in folder.training), max(row.width for row in folder.training))
    height, width = (min(pair) for pair in zip(load("default", {}).crop, largest, strict=True))
    return load("default", {"crop": f"{height}x{width}"} | changes)


def trained(run: Path, config: Config) -> tuple[Predict, list[str]]:
    """How a run's model predicts, on the device of ``config``, and the names of its classes."""
    model, own, facts = checkpoint.load_model(run)
    device = set_determinism(config)  # float32 as in scoring
    return predictor(model.to(device), own.input_scale, device), facts["dataset"]["classes"]


def follow(work: Readahead, name: str) -> Iterable[Reading]:
    """A progress bar over predictions, on a terminal."""
    return tqdm(  # type: ignore[no-any-return, unused-ignore]
        work, desc=f"scoring {name}", unit="picture", disable=not sys.stderr.isatty(), leave=False
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make a folder, and write into it: what cannot be written is a letter. Raises RunError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        problem, file = "A result cannot be written.", error.filename or folder
        raise RunError(
            problem, file=file, found=error.strerror or error, todo="choose another --out"
        ) from None


def say(text: str) -> None:
    """A line for people, beside the results."""
    click.echo(text, err=True)


def shown(fraction: float | None) -> str:
    """A fraction in percent."""
    return "–" if fraction is None else f"{100 * fraction:.2f} %"
