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
class Scene:
    """A scene of a dataset: its split, and its number over all splits."""

    split: str
    number: int

    @property
    def stem(self) -> str:
        """What its files are called, below their roots and without their endings."""
        return f"{self.split}/drawn/drawn_{self.number:06d}_000000"


def picture_path(stem: str) -> str:
    """Of a scene's picture below the dataset's root."""
    return f"leftImg8bit/{stem}{PICTURE}"


def label_path(stem: str) -> str:
    """Of a scene's label map below the dataset's root."""
    return f"gtFine/{stem}{LABEL}"


@dataclass(frozen=True)
class SceneWriter:
    """Draws and writes one scene. Runs in worker processes."""

    out: Path
    streets: Streets

    def __call__(self, scene: Scene) -> str:
        """Returns the stem."""
        streets = self.streets
        image, label_ids = draw_scene(streets.seed, scene.number, streets.height, streets.width)
        write_atomic(self.out / picture_path(scene.stem), encode_png(image))
        write_atomic(self.out / label_path(scene.stem), encode_png(label_ids))
        return scene.stem


def draw_dataset(out: Path, streets: Streets, workers: Workers, *, restart: bool = False) -> Path:
    """Draw a whole dataset into ``out``; returns the folder. Raises OutputError if ``out`` cannot be used."""
    scenes = scenes_of(streets)
    with PartialFolder(out, restart=restart) as place:
        done = {entry["stem"] for entry in place.bind({"draw": asdict(streets)})}
        missing = [scene for scene in scenes if scene.stem not in done]
        with place.journal() as journal:
            for stem in workers.map(SceneWriter(place.path, streets), missing, "drawing"):
                journal.add({"stem": stem})
                done.add(stem)
        marker = {"drawn_by": "poisongen draw", **asdict(streets)}
        marker_text = json.dumps(marker, indent=1) + "\n"
        write_atomic(place.path / DRAWN_MARKER, marker_text.encode())
        pictures = {picture_path(stem) for stem in done}
        labels = {label_path(stem) for stem in done}
        place.seal(pictures | labels | {DRAWN_MARKER})
    return out


def scenes_of(streets: Streets) -> list[Scene]:
    """The training scenes, then the validation scenes."""
    train = [Scene("train", number) for number in range(streets.train)]
    last = streets.train + streets.val
    val = [Scene("val", number) for number in range(streets.train, last)]
    return train + val
