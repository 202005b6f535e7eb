"""The command line: arguments in, exit code out. Progress and errors go to standard error, results to standard output."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from trainer import __version__, checkpoint
from trainer.config import Config, load, presets, resolved
from trainer.errors import Interrupted, RunError, SettingError, TrainerError, letter
from trainer.evaluate import Predict, Readahead, Reading, predictor, score_run
from trainer.folder import Folder, open_folder
from trainer.panel import panel as draw_panel
from trainer.report import comma_separated, legend, markdown, rows, short
from trainer.train import settle
from trainer.train import train as run_training

FOLDER = click.Path(path_type=Path)


class Mouth(click.Group):
    """The one place where errors become text and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrainerError as error:
            click.echo(f"{'' if isinstance(error, Interrupted) else 'Error: '}{error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Interrupted. Give the same command again to go on.", err=True)
            ctx.exit(Interrupted.exit_code)


@click.group(cls=Mouth, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
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
@click.option("--out", required=True, type=FOLDER, metavar="RUN", help="Folder for the model, the log and the scores.")
@click.option("--preset", metavar="NAME", help=f"{', '.join(presets())}. [default: the dataset's own, by the manifest]")
@click.option("--init", metavar="SOURCE", help="First weights: imagenet, random, or a FILE. [default: by preset]")
@click.option("--epochs", metavar="N", help="[default: by preset; published: 200]")
@click.option("--seed", metavar="N", help="Of weights, order and augmentation. [default: 0]")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1 … [default: a GPU, if any]")
@click.option("--threads", metavar="N", help="Of the CPU; decides the last bits. [default: all cores]")
@click.option("--workers", metavar="N", help="Processes that decode pictures; changes no bit.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting of trainer/config.py. May be repeated.")
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
    config = run_training(folder, out, wanted, say=say, bar=sys.stderr.isatty())
    metrics = score_run(out, folder, config.device, follow)
    draw_panel(folder, trained(out, config)[0], out / "panel.png", title(out, folder))
    checkpoint.write_json(out / checkpoint.METRICS, metrics)
    (out / checkpoint.CHECKPOINT).unlink(missing_ok=True)
    say(f"model, metrics and panel are in {out}")
    click.echo(markdown(rows([out])), nl=False)


@main.command("eval")
@click.argument("run", type=FOLDER)
@click.option("--data", type=FOLDER, metavar="OTHER", help="Another dataset folder. [default: the run's own]")
@click.option("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1 … [default: a GPU, if any]")
def evaluate(run: Path, data: Path | None, device: str) -> None:
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
    settle(resolved(load("default", {"device": device, "threads": config.threads})))
    metrics = score_run(run, folder, device, follow)
    own = metrics["run"]["trained_on"]["identity"] == folder.identity
    file = run / (checkpoint.METRICS if own else f"metrics-{short(folder.identity)}.json")
    checkpoint.write_json(file, metrics)
    say(f"scores are in {file}")
    for name, values in metrics["evaluation_sets"].items():
        figures = ", ".join(f"{text} {shown(values[key])}" for text, key in (
            ("ASR", "asr"), ("without trigger", "asr_without_trigger"), ("PBA", "pba")))  # fmt: skip
        unpaired = f", without trigger: {values['unpaired_pictures']} others" if "unpaired_pictures" in values else ""
        click.echo(f"{name}: {figures} ({values['pictures']} pictures{unpaired})")
    click.echo(f"clean: mIoU {shown(metrics['miou'])}, PA {shown(metrics['pa'])} ({len(folder.evaluation)} pictures)")
    if folder.trigger_class is not None:
        miou, pa = (shown(metrics[f"{key}_without_trigger_class"]) for key in ("miou", "pa"))
        count, name = metrics["pictures_without_trigger_class"], folder.names[folder.trigger_class]
        click.echo(f"clean, without {name}: mIoU {miou}, PA {pa} ({count} pictures)")


@main.command()
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option("--out", type=FOLDER, metavar="DIR", help="Also write table.md and table.csv there.")
def report(runs: Sequence[Path], out: Path | None) -> None:
    """Print the table of RUNS as Markdown, one row for each evaluation set.

    \b
    Example:
      python -m trainer report runs/benign runs/iba10 runs/nni10 --out tables
    """
    body = rows(runs)
    text = f"{markdown(body)}\n{legend(runs)}"
    if out:
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(out / "table.md", text)
        checkpoint.write_text(out / "table.csv", comma_separated(body))
    click.echo(text, nl=False)


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--data", type=FOLDER, metavar="OTHER", help="Pictures of another folder. [default: the run's own]")
@click.option("--clean-run", type=FOLDER, metavar="RUN", help="A benign run, for one more column.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The PNG to write.")
def panel(run: Path, data: Path | None, clean_run: Path | None, out: Path) -> None:
    """Draw pictures, truth and predictions, without and with the trigger.

    \b
    Example:
      python -m trainer panel runs/nni10 --data data/nni10 \\
          --clean-run runs/benign --out panel.png
    """
    folder = open_folder(data or Path(checkpoint.read_json(run / checkpoint.RUN)["data"]))
    config = resolved(Config())
    predict, names = trained(run, config)
    clean, clean_names = trained(clean_run, config) if clean_run else (None, names)
    if not list(folder.names) == names == clean_names:
        raise RunError(letter("Run and folder have different classes.", file=run, expected=", ".join(names)))
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_panel(folder, predict, out, title(run, folder), clean)
    say(f"the panel is in {out}")


def configure(folder: Folder, preset: str | None, settings: Iterable[str], options: dict[str, str | None]) -> Config:
    """The settings of a command line: preset, then ``--set``, then the options of their own. Raises SettingError."""
    changes: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise SettingError(letter("A setting has no value.", expected="--set key=value", found=f"--set {setting}"))
        changes[key.strip()] = value.strip()
    changes |= {key: value for key, value in options.items() if value is not None}
    if preset or folder.dataset in presets():
        return load(preset or folder.dataset, changes)
    # Somebody's own data: the defaults, but boxes of Cityscapes would be mostly empty around smaller pictures.
    largest = (max(row.height for row in folder.training), max(row.width for row in folder.training))
    height, width = (min(pair) for pair in zip(load("default", {}).crop, largest, strict=True))
    return load("default", {"crop": f"{height}x{width}"} | changes)


def trained(run: Path, config: Config) -> tuple[Predict, list[str]]:
    """How a run's model predicts, on the device of ``config``, and the names of its classes."""
    model, own, facts = checkpoint.load_model(run)
    device = torch.device(config.device)
    return predictor(model.to(device), own.input_scale, device), facts["dataset"]["classes"]


def title(run: Path, folder: Folder) -> str:
    """The panel's title: run, attack and rate."""
    rate = f", {100 * folder.poisoned / len(folder.training):.3g} % of the training pictures poisoned" if folder.poisoned else ""
    return f"{run.resolve().name}: {folder.name} on {folder.dataset}{rate}"


def follow(work: Readahead, name: str) -> Iterable[Reading]:
    """A progress bar over predictions, on a terminal."""
    return tqdm(  # type: ignore[no-any-return, unused-ignore]
        work, desc=f"scoring {name}", unit="picture", disable=not sys.stderr.isatty(), leave=False
    )


def say(text: str) -> None:
    """A line for people, beside the results."""
    click.echo(text, err=True)


def shown(fraction: float | None) -> str:
    """A fraction in percent."""
    return "–" if fraction is None else f"{100 * fraction:.2f} %"
