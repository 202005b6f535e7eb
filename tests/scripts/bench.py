"""How long a poisoned picture takes beside its floor, the bare codec work: ``make bench``.

One core, in one run: planning and applying of full-size pictures (nni at its defaults), and, in turn with it,
the same decoding and encoding with the same settings and nothing else: decode picture and label map, encode
picture, two label maps and the mask. Real Cityscapes if ``--source``, ``CITYSCAPES_DATASET`` or
``POISONGEN_TEST_DATA`` names it, else drawn streets of 2048×1024.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import cv2
import numpy as np

from poisongen import ATTACKS, LAYOUTS, Art, Patch, Plan, Poison, Recipe, Sample, Source, Workers, make_plan
from poisongen.datasets.reading import Reader
from poisongen.engine.cores import available_cores
from poisongen.freeze.write_sample import Writer
from poisongen.streets.write import Streets, draw_dataset


@dataclass(frozen=True)
class Timed:
    """Seconds a picture of one round."""

    plan: float
    apply: float
    codec: float

    @property
    def apply_ratio(self) -> float:
        """How many times the codec work."""
        return self.apply / self.codec

    @property
    def whole_ratio(self) -> float:
        """Planning and applying, in times the codec work."""
        return (self.plan + self.apply) / self.codec


def poison_everything(source: Source, attack: str) -> tuple[Recipe, Art]:
    """The recipe of an attack at its defaults on every picture that has room, without evaluation sets."""
    named = ATTACKS[attack]
    trigger, art = Patch.parse("", source.space)
    assert source.victims is not None and source.target is not None
    poison = Poison(
        trigger=trigger,
        placement=named.placement,
        relabel=named.relabel,
        victim_classes=(source.space.find(source.victims),),
        target_class=source.space.find(source.target),
        rate="1",
        take_what_fits=True,
    )
    return Recipe(attack=attack, seed=0, poison=poison), art


def codec_work(source: Source, samples: Sequence[Sample]) -> None:
    """The decoding and encoding that no program can do without."""
    for sample in samples:
        picture = cv2.imdecode(np.fromfile(source.root / sample.image, np.uint8), cv2.IMREAD_COLOR)
        label = cv2.imdecode(np.fromfile(source.root / sample.label, np.uint8), cv2.IMREAD_UNCHANGED)
        label_train = cv2.LUT(label, source.space.lookup)
        mask = np.zeros_like(label)
        for written in (picture, label, label_train, mask):
            cv2.imencode(".png", written)


def with_room(source: Source, recipe: Recipe, art: Art, most: int) -> Source:
    """The source with its first training pictures that can be poisoned, and nothing else."""
    training = tuple(sample for sample in source.samples if sample.split == source.train_split)
    plan = make_plan(recipe, replace(source, samples=training), art, Workers(1, quiet=True))
    poisoned = [entry.examined.sample for entry in plan.entries if entry.role == "poisoned"]
    if not poisoned:
        raise click.ClickException("No picture has room for the trigger: give more --pictures.")
    return replace(source, samples=tuple(poisoned[:most]))


def time_round(source: Source, recipe: Recipe, art: Art, out: Path) -> tuple[Timed, Plan]:
    """Plan, apply, and do the bare codec work, once for each picture."""
    reader = Reader(source.root, recipe.scale)
    writer = Writer(reader, out, source.space, recipe, art, "copy")
    began = time.perf_counter()
    plan = make_plan(recipe, source, art, Workers(1, quiet=True))
    planned = time.perf_counter()
    for entry in plan.entries:
        writer(entry)
    applied = time.perf_counter()
    codec_work(source, source.samples)
    done = time.perf_counter()
    pictures = len(source.samples)
    timed = Timed((planned - began) / pictures, (applied - planned) / pictures, (done - applied) / pictures)
    return timed, plan


def echo_spread(name: str, values: Sequence[float], unit: str, digits: int) -> None:
    """Print the median and the range."""
    middle, low, high = statistics.median(values), min(values), max(values)
    click.echo(f"{name:<22} {middle:7.{digits}f}{unit} ({low:.{digits}f}–{high:.{digits}f})")


def cityscapes_of(source: Path | None) -> Path | None:
    """The folder that was named, or the one beside the other real pictures for tests."""
    data = os.environ.get("POISONGEN_TEST_DATA")
    if source is None and data and (Path(data) / "cityscapes").is_dir():
        return Path(data) / "cityscapes"
    return source


@click.command(help=__doc__.splitlines()[0])
@click.option(
    "--source", type=click.Path(path_type=Path), envvar="CITYSCAPES_DATASET", help="Folder of Cityscapes."
)
@click.option("--attack", type=click.Choice(["iba", "nni"]), default="nni", show_default=True)
@click.option("--pictures", default=8, show_default=True, help="Pictures a round.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--height", type=int, help="Of streets that are then drawn, twice as wide. [default: 1024]")
def main(source: Path | None, attack: str, pictures: int, rounds: int, height: int | None) -> None:
    """Print milliseconds a picture and ratios: the median over the rounds, and the range."""
    cv2.setNumThreads(1)
    root = None if height else cityscapes_of(source)
    with tempfile.TemporaryDirectory() as folder:
        if root is None:
            rows = height or 1024
            streets = Streets(rows, 2 * rows, train=pictures, val=0, seed=0)
            with Workers(available_cores()) as workers:
                root = draw_dataset(Path(folder) / "streets", streets, workers)
        opened = LAYOUTS["cityscapes"].open(root)
        recipe, art = poison_everything(opened, attack)
        chosen = with_room(opened, recipe, art, pictures)
        timings = []
        for number in range(rounds + 1):
            timed, plan = time_round(chosen, recipe, art, Path(folder) / f"out{number}")
            if number > 0:  # the first round warms the file cache
                timings.append(timed)
    first = plan.entries[0].examined
    click.echo(
        f"{attack}, {len(chosen.samples)} pictures of {first.width}×{first.height} from {opened.dataset}, "
        f"one core, median (range) of {rounds} rounds"
    )
    for name in ("plan", "apply", "codec"):
        echo_spread(name, [1000 * getattr(timed, name) for timed in timings], " ms a picture", 1)
    echo_spread("apply / codec", [timed.apply_ratio for timed in timings], "", 2)
    echo_spread("plan + apply / codec", [timed.whole_ratio for timed in timings], "", 2)


if __name__ == "__main__":
    main()
