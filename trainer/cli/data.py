"""The commands cache and crops: what training reads of a dataset folder."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from trainer.cli.options import FOLDER, preset_option, set_option
from trainer.cli.output import percent, say


@click.command()
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
    from trainer.config import Config, resolve_auto
    from trainer.dataset.cache import build, cache_file, compare
    from trainer.dataset.folder import open_folder

    folder, bar = open_folder(data), sys.stderr.isatty()
    file, jobs = cache_file(folder, out or "auto"), jobs or resolve_auto(Config()).threads
    pictures = f"{len(folder.training):,} training pictures"
    if check:
        compare(folder, file, jobs, bar)
        say(f"the cache holds the pixels of all {pictures}: {file}")
    elif build(folder, file, jobs, bar):
        gigabytes = file.stat().st_size / 1e9
        say(f"{pictures} are cached, {gigabytes:.2f} GB: {file}")
    else:
        say(f"the cache is fresh: {file}")


@click.command()
@click.argument("data", type=FOLDER)
@click.option(
    "--clean",
    type=FOLDER,
    metavar="DATA",
    help="The folder of the same pictures without poison: its labels are the true ones.",
)
@preset_option
@click.option(
    "--epochs", type=click.IntRange(1), default=20, metavar="N", help="How many to draw. [default: 20]"
)
@click.option("--seed", metavar="N", help="Of the boxes. [default: 0]")
@set_option
def crops(
    data: Path,
    clean: Path | None,
    preset: str | None,
    epochs: int,
    settings: Sequence[str],
    seed: str | None,
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
    from trainer.cli.settings import configure
    from trainer.dataset.folder import open_folder
    from trainer.training.trigger_in_crops import shares

    folder = open_folder(data)
    config = configure(folder, preset, settings, {"seed": seed})
    found = shares(folder, config, epochs, open_folder(clean) if clean else None)
    height, width = config.crop
    smallest, largest = config.scale
    boxes = f"{width}×{height} boxes at scale {smallest:g} to {largest:g}"
    drawn = f"({boxes}, {found.boxes:,} of {found.pictures} pictures)"
    of_boxes = f"{percent(found.of_boxes)} of boxes, by flipped pixels of their pictures"
    click.echo(f"whole trigger in the box: {of_boxes} {drawn}")
    if found.of_pixels is not None:
        of_pixels = f"{percent(found.of_pixels)} of flipped victim pixels that a box holds"
        click.echo(f"whole trigger in the box: {of_pixels}")
