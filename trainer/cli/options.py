"""Options that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from trainer.presets import presets

Function = TypeVar("Function", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
BLOCK = 20  # that of scoring/intervals.py, which is not imported for a text of help


def picture_size(text: str) -> tuple[int, int]:
    """Text such as 2048x1024, width first, as (height, width). Raises click.BadParameter."""
    match = re.fullmatch("([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if not match:
        raise click.BadParameter(f"{text} is no size such as 2048x1024.")
    width, height = match.groups()
    return int(height), int(width)


def block_option(function: Function) -> Function:
    """``--block``, of the commands that compute intervals."""
    return click.option(
        "--block",
        type=click.IntRange(1),
        default=BLOCK,
        metavar="N",
        help=f"Pictures in a block of the bootstrap. [default: {BLOCK}]",
    )(function)


def preset_option(function: Function) -> Function:
    """``--preset``, of the commands that draw as a run does."""
    return click.option(
        "--preset",
        metavar="NAME",
        help=f"{', '.join(presets())}. [default: the dataset's own, by the manifest]",
    )(function)


def set_option(function: Function) -> Function:
    """``--set``, of the same commands."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Any setting of trainer/config.py. May be repeated.",
    )(function)


def device_option(function: Function) -> Function:
    """``--device``, of the commands that run a trained network."""
    return click.option(
        "--device",
        default="auto",
        metavar="NAME",
        help="cpu, cuda, cuda:1 … [default: a GPU, if any]",
    )(function)
