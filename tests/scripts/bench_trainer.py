"""How fast training pictures come from files, the cache and memory, and what loading costs a training: ``make
bench-trainer``.

Three tables, each in one run. Crops: windows of 768² at scale 0.5 to 2 out of whole pictures, in one process.
Training: steps with each source in turn with steps on one batch that is there already, so that a busy machine
hurts all alike; ratios are within a round. Memory: resident set after each of several epochs, each source in
a process of its own. Real Cityscapes if ``--source``, ``CITYSCAPES_DATASET`` or ``POISONGEN_TEST_DATA`` names
it, its pairs repeated under several names; else drawn streets, blurred to the entropy of photographs.
"""

import dataclasses
import itertools
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import cv2
import torch

from poisongen.cli.commands import cli
from poisongen.engine.cores import available_cores
from poisongen.engine.workers import Workers
from poisongen.streets.write import Streets, draw_dataset
from tests.scripts.bench import cityscapes_of
from tests.support.training_speed import KINDS, NO_LOADING, loaded, speeds
from trainer.config import Config, load, resolve_auto
from trainer.dataset import cache
from trainer.dataset.folder import IGNORE, Folder, open_folder
from trainer.errors import TrainerError
from trainer.training.augment import assemble
from trainer.training.batches import Samples, Schedule
from trainer.training.machine import set_determinism
from trainer.training.sources import choose_source, open_source

PICTURE, LABEL = "leftImg8bit", "gtFine"
BLUR = 5
"""Pixels. The grain of drawn pictures is stronger than a photograph's; blurred, their PNGs are as large as
those of Cityscapes."""


def dataset(
    place: Path, source: Path | None, pictures: int, size: tuple[int, int], drawn: int = 8
) -> tuple[Folder, str]:
    """Freeze a folder of so many training pictures, each pair of the source under several names. Says what
    they are.

    Without a source, up to ``drawn`` streets of ``size`` (height, width) are drawn.
    """
    what = "Cityscapes"
    if source is None:
        with Workers(available_cores(), quiet=True) as workers:
            source = draw_dataset(place / "drawn", Streets(*size, min(pictures, drawn), 1, 0), workers)
        what = "drawn streets, blurred"
        for file in source.glob(f"{PICTURE}/*/*/*.png"):
            cv2.imwrite(str(file), cv2.blur(cv2.imread(str(file)), (BLUR, BLUR)))
    copies, different = place / "copies", 0
    for split, count in (("train", pictures), ("val", 1)):
        pairs = []
        for picture in sorted((source / PICTURE / split).glob("*/*.png")):
            name = picture.name.replace(f"_{PICTURE}", f"_{LABEL}_labelIds")
            label = source / LABEL / split / picture.parent.name / name
            if label.exists():
                pairs.append((picture, label))
        different = max(different, min(len(pairs), count))
        for number, (picture, label) in enumerate(itertools.islice(itertools.cycle(pairs), count)):
            for file, end in ((picture, PICTURE), (label, f"{LABEL}_labelIds")):
                to = copies / end.partition("_")[0] / split / "town" / f"town_{number:06}_000000_{end}.png"
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, to)
    options = ["--source", str(copies), "--attack", "benign", "--out", str(place / "data"), "--jobs", "1"]
    cli(["cityscapes", *options], standalone_mode=False)
    folder = open_folder(place / "data")
    row = folder.training[0]
    size_mb = statistics.mean(row.image.stat().st_size for row in folder.training) / 1e6
    pngs = f"PNGs of {size_mb:.2f} MB, {8e6 * size_mb / row.width / row.height:.1f} bits a pixel"
    return folder, f"{what}, {pictures} names of {different} pictures of {row.width}×{row.height}, {pngs}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def crops(folder: Folder, config: Config, rounds: int, count: int) -> None:
    """Print how many windows a second each source gives, and how that compares with files in the same
    round."""
    samples = {}
    for kind in KINDS:
        of_kind = choose_source(dataclasses.replace(config, pictures=kind), folder)
        samples[kind] = Samples(folder, of_kind, open_source(of_kind, folder))
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds + 1):
        for kind in KINDS:
            repeats = 1 if kind == "files" else 8  # a window of the others takes next to no time
            began = time.perf_counter()
            for address in range(count * repeats):
                cut = samples[kind][number * 1000 + address, address % len(folder.training), False]
                if isinstance(cut, TrainerError):
                    raise cut
                # As into a batch: a view that nobody looks at would cost nothing.
                cut.picture.clone()
                cut.label.clone()
            if number:  # the first round warms the file cache
                speeds[kind].append(count * repeats / (time.perf_counter() - began))
    height, width = config.crop
    click.echo(
        f"\nCrops of {width}×{height} at scale 0.5 to 2 in one process; median (range) of {rounds} rounds"
    )
    click.echo(f"{'':<12} {'pictures/s':>26}   × files (goal for the cache: 10)")
    for kind, values in speeds.items():
        times = [one / other for one, other in zip(values, speeds["files"], strict=True)]
        click.echo(f"{kind:<12} {spread(values):>26}   {spread(times)}")


def training(folder: Folder, config: Config, rounds: int, steps: int) -> None:
    """Print how many pictures a second are trained on from each source, beside one batch again and again.

    With one thread, the time of the processor (of this process, not of workers) is what a busy machine
    disturbs least.
    """
    measured = speeds(folder, config, KINDS, rounds, steps)
    floor = measured[0]
    height, width = config.net_crop
    compiled = ", torch.compile" if config.compile else ""
    how = f"{config.device}, {config.threads} threads, {config.precision}{compiled}"
    click.echo(f"\nTraining SwiftNet-18 on {how}: batches of {config.batch} crops of {width}×{height};")
    click.echo(f"median (range) of {rounds} rounds of {steps} steps")
    columns = f"{'':<12} workers {'CPU ms a picture':>22} {'pictures/s':>18}"
    click.echo(f"{columns}   % of {NO_LOADING} (goal for the cache: 95)")
    for speed in measured:
        workers = "–" if speed.workers is None else speed.workers
        cpu, pace = spread(speed.cpu_ms, 0), spread(speed.pictures_per_second, 2)
        share = spread(speed.percent_of(floor))
        click.echo(f"{speed.source:<12} {workers:>7} {cpu:>22} {pace:>18}   {share}")


def resident_set() -> float:
    """MB of memory of this process and its children, on Linux."""
    pages, own = os.sysconf("SC_PAGE_SIZE"), Path("/proc/self")
    children = (own / "task" / str(os.getpid()) / "children").read_text().split()
    statistics_of_all = [(Path("/proc") / pid / "statm").read_text() for pid in ("self", *children)]
    resident = [int(statistics_of_one.split()[1]) for statistics_of_one in statistics_of_all]
    return sum(resident) * pages / 1e6


def epochs_of(root: Path, config: Config, epochs: int, answers: Any) -> None:
    """Read, cut and augment a whole training, and tell the resident set after each epoch. Runs in a process
    of its own."""
    device, folder = set_determinism(config), open_folder(root)
    batches = loaded(folder, config, open_source(config, folder))
    for _ in range(epochs):
        for batch in itertools.islice(batches, Schedule(len(folder.training), config).steps):
            assemble(batch, IGNORE, device)
        answers.put(resident_set())


def memory(folder: Folder, config: Config, epochs: int) -> None:
    """Print the resident set after each epoch, of each source."""
    context = multiprocessing.get_context("spawn")
    size = sum(4 * row.height * row.width for row in folder.training) / 1e6
    click.echo(
        f"\nMB of memory after each of {epochs} epochs of {len(folder.training)} pictures, "
        f"{size:.0f} MB decoded; growth from the second on"
    )
    for kind in KINDS:
        answers = context.Queue()
        of_kind = choose_source(dataclasses.replace(config, pictures=kind), folder)
        process = context.Process(target=epochs_of, args=(folder.root, of_kind, epochs, answers))
        process.start()
        values = [answers.get() for _ in range(epochs)]
        process.join()
        growth = values[-1] / values[min(1, epochs - 1)] - 1
        click.echo(f"{kind:<12} {' '.join(f'{value:6.0f}' for value in values)}   {100 * growth:+.1f} %")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is timed. ``crop``: the side of the crops in training; ``window``: of those that are only
    read, ``windows`` of them a round."""

    height: int
    width: int
    pictures: int
    rounds: int
    steps: int
    crop: int
    batch: int
    threads: int
    workers: int
    window: int = 768
    windows: int = 12
    epochs: int = 6


TINY = Sizes(
    height=128,
    width=256,
    pictures=4,
    rounds=1,
    steps=1,
    crop=64,
    batch=2,
    threads=1,
    workers=-1,
    window=64,
    windows=4,
    epochs=2,
)


def chosen_sizes(gpu: bool, given: dict[str, int | None]) -> Sizes:
    """What the options ask for, else what suits the machine."""
    of_machine = {"steps": 60, "crop": 768, "batch": 14} if gpu else {"steps": 4, "crop": 256, "batch": 4}
    asked = {name: value for name, value in given.items() if value is not None}
    return Sizes(height=1024, width=2048, **(of_machine | asked))  # type: ignore[arg-type]


@click.command(help=__doc__.splitlines()[0])
@click.option(
    "--source", type=click.Path(path_type=Path), envvar="CITYSCAPES_DATASET", help="Folder of Cityscapes."
)
@click.option("--pictures", default=24, show_default=True, help="Training pictures.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--steps", type=int, help="Of training, in a turn. [default: 4 on a CPU, 60 on a GPU]")
@click.option("--crop", type=int, help="Side of the crops in training. [default: 256 on a CPU, 768 on a GPU]")
@click.option("--batch", type=int, help="[default: 4 on a CPU, 14 on a GPU]")
@click.option("--threads", default=0, help="Of a CPU. [default: all cores]")
@click.option("--workers", default=-1, help="[default: as the trainer resolves them]")
@click.option(
    "--quick",
    is_flag=True,
    help="Only to see that all of it runs: small drawn pictures, and no figure means anything.",
)
def main(source: Path | None, quick: bool, **given: int | None) -> None:
    """Print the tables."""
    gpu = torch.cuda.is_available()
    sizes = TINY if quick else chosen_sizes(gpu, given)
    settings = {
        "epochs": 10000,
        "batch": sizes.batch,
        "crop": f"{sizes.crop}x{sizes.crop}",
        "init": "random",
        "threads": sizes.threads,
        "workers": sizes.workers,
    }
    config = resolve_auto(load("default", settings))
    with tempfile.TemporaryDirectory() as place:
        root = None if quick else cityscapes_of(source)
        pictures = max(sizes.pictures, sizes.batch)
        folder, what = dataset(Path(place), root, pictures, (sizes.height, sizes.width))
        click.echo(what)
        began = time.perf_counter()
        cache.build(folder, cache.cache_file(folder, "auto"), config.threads)
        click.echo(f"cache built in {time.perf_counter() - began:.1f} s with {config.threads} threads")
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        of_windows = dataclasses.replace(config, device="cpu", crop=(sizes.window, sizes.window))
        crops(folder, of_windows, sizes.rounds, sizes.windows)
        for compiled in (False, True) if gpu else (False,):
            training(folder, dataclasses.replace(config, compile=compiled), sizes.rounds, sizes.steps)
        memory(folder, config, sizes.epochs)


if __name__ == "__main__":
    main()
