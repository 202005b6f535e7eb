"""The command line: arguments in, exit code out. Progress and errors go to standard error, results to
standard output.

A command is a module of this package that is imported when it is called, and imports what computes (torch
above all, which takes seconds) when it runs: help, the version and wrong options are there at once.
"""

import importlib
import os
import sys
from typing import Any, NamedTuple

import click

from trainer import __version__
from trainer.errors import Interrupted, TrainerError, error_text


class LazyCommand(NamedTuple):
    """Where a command is, and the first line of its help, so that a list of commands imports none of them."""

    module: str
    function: str
    short_help: str


COMMANDS = {
    "cache": LazyCommand(
        "trainer.cli.data", "cache", "Decode the training pictures of DATA once, into one large file."
    ),
    "crops": LazyCommand("trainer.cli.data", "crops", "How often a training crop shows the whole trigger."),
    "eval": LazyCommand("trainer.cli.score", "evaluate", "Score the model of RUN on a dataset folder."),
    "models": LazyCommand(
        "trainer.cli.models", "models", "List the models with their parameters and multiply-adds."
    ),
    "panel": LazyCommand(
        "trainer.cli.report", "panel", "Draw pictures, truth and predictions, without and with the trigger."
    ),
    "report": LazyCommand(
        "trainer.cli.report",
        "report",
        "Print the table of RUNS as Markdown, one row for each evaluation set.",
    ),
    "score": LazyCommand(
        "trainer.cli.score", "score", "Score label maps that any other program predicted for the folder DATA."
    ),
    "table": LazyCommand(
        "trainer.cli.table", "table", "Make the tables of the folder TABLE: datasets, runs, scores, tables."
    ),
    "train": LazyCommand("trainer.cli.train", "train", "Train on the folder DATA and score the model on it."),
}
"""By the names on the command line."""


LIBRARIES = ("torch", "torchvision", "h5py", "matplotlib", "safetensors")
"""What the generator does without, so that an environment may lack it."""


class LazyGroup(click.Group):
    """The commands of ``COMMANDS``; the module of one is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        place = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(place.module), place.function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = (
            formatter.width - max(map(len, COMMANDS)) - 6
        )  # as click has it: two columns and their margins
        rows = [(name, shortened(COMMANDS[name].short_help, width)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def shortened(text: str, width: int) -> str:
    """A first line of help as click shows it in a list of commands: whole words, without its full stop."""
    return click.Command(None, help=text).get_short_help_str(width)


class ErrorsAsText(LazyGroup):
    """The one place where errors become text and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as error:
            if (
                os.environ.get("RANK", "0") == "0"
            ):  # each of several processes is interrupted, and one says it
                click.echo(str(error), err=True)
            ctx.exit(error.exit_code)
        except TrainerError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except ModuleNotFoundError as error:
            if error.name not in LIBRARIES:
                raise
            text = error_text(
                "A library that the trainer computes with is not installed.",
                expected=", ".join(LIBRARIES),
                found=f"no {error.name} in {sys.prefix}",
                todo="pip install 'poisongen[train]'",
            )
            click.echo(f"Error: {text}", err=True)
            ctx.exit(1)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            text = error_text(
                "The memory of the GPU is not enough.",
                found=str(error).partition(". ")[0],
                todo="--set accumulate=2, or a smaller batch or crop",
            )
            click.echo(f"Error: {text}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted. Give the same command again to go on.", err=True)
            ctx.exit(Interrupted.exit_code)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Is this torch's error for a GPU without room? Nothing but torch raises it, so torch is imported
    then."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


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
