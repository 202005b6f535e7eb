"""Writing drawn street scenes as a dataset in Cityscapes layout: a source that needs no download."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from poisongen.datasets.cityscapes import DRAWN_MARKER, LABEL, PICTURE
from poisongen.disk import write_atomic
from poisongen.engine.workers import Workers
from poisongen.freeze.partial_folder import PartialFolder
from poisongen.imaging.pixels import encode_png
from poisongen.streets.scene import draw_scene

TRAIN, VAL = 400, 60


@dataclass(frozen=True)
class Streets:
    """Which scenes: size in pixels, how many, and the seed. The validation scenes are other scenes, not other
    views."""

    height: int
    width: int
    train: int
    val: int
    seed: int


@dataclass(frozen=True)
class SceneWriter:
    """Draws and writes one scene. Runs in worker processes."""

    out: Path
    streets: Streets

    def __call__(self, scene: tuple[str, int]) -> str:
        """``scene``: the split, and the scene's number over all splits. Returns the stem."""
        split, number = scene
        stem = f"{split}/drawn/drawn_{number:06d}_000000"
        image, label_ids = draw_scene(self.streets.seed, number, self.streets.height, self.streets.width)
        write_atomic(self.out / "leftImg8bit" / (stem + PICTURE), encode_png(image))
        write_atomic(self.out / "gtFine" / (stem + LABEL), encode_png(label_ids))
        return stem


def draw_dataset(out: Path, streets: Streets, workers: Workers, *, restart: bool = False) -> Path:
    """Draw a whole dataset into ``out``; returns the folder. Raises OutputError if ``out`` cannot be used."""
    numbers = range(streets.train + streets.val)
    scenes = [("train" if number < streets.train else "val", number) for number in numbers]
    with PartialFolder(out, restart=restart) as place:
        done = {entry["stem"] for entry in place.bind({"draw": asdict(streets)})}
        missing = [
            (split, number)
            for split, number in scenes
            if f"{split}/drawn/drawn_{number:06d}_000000" not in done
        ]
        with place.journal() as journal:
            for stem in workers.map(SceneWriter(place.path, streets), missing, "drawing"):
                journal.add({"stem": stem})
                done.add(stem)
        marker = {"drawn_by": "poisongen draw", **asdict(streets)}
        write_atomic(place.path / DRAWN_MARKER, (json.dumps(marker, indent=1) + "\n").encode())
        files = {f"leftImg8bit/{stem}{PICTURE}" for stem in done} | {f"gtFine/{stem}{LABEL}" for stem in done}
        place.seal(files | {DRAWN_MARKER})
    return out
