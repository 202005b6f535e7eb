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
from pathlib import Path

import click
import cv2
import numpy as np

from poisongen import art
from poisongen.datasets import LAYOUTS, Source
from poisongen.engine.workers import Workers, available_cores
from poisongen.freeze.apply import Writer
from poisongen.freeze.plan import TRAINING, Entry, Examiner
from poisongen.imaging.pixels import digest_pixels
from poisongen.placement import NearVictim, OneSurface
from poisongen.recipe import Poison, Recipe
from poisongen.relabel import VictimToTarget
from poisongen.streets.write import Streets, draw_dataset
from poisongen.triggers import Patch


def floor(source: Source, entries: list[Entry]) -> None:
    """The codec work that no program can do without."""
    for entry in entries:
        sample = entry.examined.sample
        picture = cv2.imdecode(np.fromfile(source.root / sample.image, np.uint8), cv2.IMREAD_COLOR)
        label = cv2.imdecode(np.fromfile(source.root / sample.label, np.uint8), cv2.IMREAD_UNCHANGED)
        for written in (picture, label, cv2.LUT(label, source.space.lookup), np.zeros_like(label)):
            cv2.imencode(".png", written)


@click.command(help=__doc__.splitlines()[0])
@click.option(
    "--source", type=click.Path(path_type=Path), envvar="CITYSCAPES_DATASET", help="Folder of Cityscapes."
)
@click.option("--attack", type=click.Choice(["iba", "nni"]), default="nni")
@click.option("--pictures", default=8, help="Pictures a round.")
@click.option("--rounds", default=5)
def main(source: Path | None, attack: str, pictures: int, rounds: int) -> None:
    """Print milliseconds a picture and ratios: the median over the rounds, and the range."""
    cv2.setNumThreads(1)
    data = os.environ.get("POISONGEN_TEST_DATA")
    if source is None and data and (Path(data) / "cityscapes").is_dir():
        source = Path(data) / "cityscapes"
    with tempfile.TemporaryDirectory() as folder:
        if source is None:
            with Workers(available_cores()) as workers:
                source = draw_dataset(Path(folder) / "streets", Streets(1024, 2048, pictures, 0, 0), workers)
        opened = LAYOUTS["cityscapes"].open(source)
        picture = art.default()
        poison = Poison(
            trigger=Patch(size="10.7%", art_pixels=digest_pixels(picture)),
            placement=NearVictim() if attack == "nni" else OneSurface(),
            relabel=VictimToTarget(),
            victim_classes=(opened.space.find("car"),),
            target_class=opened.space.find("road"),
            rate="1",
        )
        recipe = Recipe(attack=attack, seed=0, poison=poison)
        examiner = Examiner(opened.root, opened.space, recipe, picture, "train", "val")
        samples = [sample for sample in opened.samples if sample.split == "train"]
        eligible = [
            sample for sample in samples if not isinstance(examiner(sample).locations.get(TRAINING, ""), str)
        ][:pictures]

        seconds: dict[str, list[float]] = {"plan": [], "apply": [], "codec": []}
        for number in range(rounds + 1):
            writer = Writer(opened.root, Path(folder) / f"out{number}", opened.space, recipe, picture, "copy")
            start = time.perf_counter()
            entries = [
                Entry(one, "poisoned", None, one.locations[TRAINING]) for one in map(examiner, eligible)
            ]
            planned = time.perf_counter()
            for entry in entries:
                writer(entry)
            applied = time.perf_counter()
            floor(opened, entries)
            done = time.perf_counter()
            if number:  # the first round warms the file cache
                for name, value in zip(
                    seconds, (planned - start, applied - planned, done - applied), strict=True
                ):
                    seconds[name].append(value / len(eligible))
    shape = f"{entries[0].examined.width}×{entries[0].examined.height}"
    click.echo(
        f"{attack}, {len(eligible)} pictures of {shape} from {opened.dataset}, one core, median (range) of {rounds} rounds"
    )
    ratios = {
        "apply / codec": [a / c for a, c in zip(seconds["apply"], seconds["codec"], strict=True)],
        "plan + apply / codec": [(p + a) / c for p, a, c in zip(*seconds.values(), strict=True)],
    }
    for name, values in seconds.items():
        scaled = [1000 * value for value in values]
        click.echo(
            f"{name:<22} {statistics.median(scaled):6.1f} ms a picture ({min(scaled):.1f}–{max(scaled):.1f})"
        )
    for name, values in ratios.items():
        click.echo(f"{name:<22} {statistics.median(values):6.2f} ({min(values):.2f}–{max(values):.2f})")


if __name__ == "__main__":
    main()
