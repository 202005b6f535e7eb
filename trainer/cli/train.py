"""The command train."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click

from trainer.cli.options import FOLDER, preset_option, set_option
from trainer.cli.output import say, with_bar


@click.command()
@click.argument("data", type=FOLDER)
@click.option(
    "--out", required=True, type=FOLDER, metavar="RUN", help="Folder for the model, the log and the scores."
)
@preset_option
@click.option("--model", metavar="NAME", help="See the command models. [default: swiftnet]")
@click.option(
    "--init", metavar="SOURCE", help="First weights: imagenet, random, or a FILE. [default: by preset]"
)
@click.option("--epochs", metavar="N", help="[default: by preset; published: 200]")
@click.option("--seed", metavar="N", help="Of weights, order and augmentation. [default: 0]")
@click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1 … [default: a GPU, if any]")
@click.option("--threads", metavar="N", help="Of the CPU; decides the last bits. [default: all cores]")
@click.option("--workers", metavar="N", help="Processes that decode pictures; changes no bit.")
@set_option
def train(data: Path, out: Path, preset: str | None, settings: Sequence[str], **options: str | None) -> None:
    """Train on the folder DATA and score the model on it.

    Interrupted with Ctrl-C, or killed, the same command goes on at the last
    checkpoint and ends with the same weights.

    \b
    Example:
      python -m trainer train data/nni10 --out runs/nni10 --set batch=8
    """
    from trainer import run_folder
    from trainer.cli.settings import configure
    from trainer.cli.trained_model import trained_model
    from trainer.dataset.folder import open_folder
    from trainer.scoring.evaluate import score_run, without_progress, write_result
    from trainer.scoring.panel import panel, title
    from trainer.tables.formats import markdown
    from trainer.tables.rows import rows
    from trainer.train import train as run_training
    from trainer.training.machine import run_lock
    from trainer.training.parallel import joined

    folder = open_folder(data)
    wanted = configure(folder, preset, settings, options)
    with joined(wanted.device) as group, run_lock(out) if group.first else nullcontext():
        bar = group.first and sys.stderr.isatty()
        config = run_training(folder, out, wanted, say if group.first else lambda _: None, bar, group)
        follow = with_bar if group.first else without_progress
        result = score_run(out, folder, config.device, follow, group=group)
        if group.first:
            write_result(out / run_folder.METRICS, result)
            panel(folder, trained_model(out, config).predict, out / "panel.png", title(out, folder))
            (out / run_folder.CHECKPOINT).unlink(missing_ok=True)
            say(f"model, metrics and panel are in {out}")
            click.echo(markdown(rows([out])), nl=False)
