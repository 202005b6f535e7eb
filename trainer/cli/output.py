"""What commands print and write."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer.scoring.evaluate import Readahead, Reading


def say(text: str) -> None:
    """A line for people, on standard error, apart from the results."""
    click.echo(text, err=True)


def percent(fraction: float | None) -> str:
    """A fraction in percent."""
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def with_bar(work: "Readahead", name: str) -> "Iterable[Reading]":
    """Predictions with a progress bar, where standard error is a terminal."""
    from tqdm import tqdm

    hidden = not sys.stderr.isatty()
    shown: Iterable[Reading] = tqdm(work, f"scoring {name}", unit="picture", disable=hidden, leave=False)
    return shown


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make a folder, and write into it. Raises RunError: something cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise RunError(
            "A result cannot be written.",
            file=error.filename or folder,
            found=error.strerror or error,
            todo="choose another --out",
        ) from None
