"""How often a training box shows the whole trigger, against counting pixel by pixel."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tests.support import handmade
from trainer.cli.main import main
from trainer.config import load
from trainer.dataset.folder import Folder, open_folder
from trainer.dataset.pictures import read_label, read_mask
from trainer.errors import FolderError
from trainer.training.augment import draw_box
from trainer.training.trigger_in_crops import shares


def folders(root: Path) -> tuple[Folder, Folder]:
    """A poisoned folder whose rows say where the trigger lies, and the clean folder of the same pictures."""
    sizes = ((64, 64), (50, 91))
    clean = handmade.write_folder(root / "clean", train=6, val=1, sizes=sizes)
    poisoned = handmade.write_folder(root / "poisoned", train=6, val=1, sizes=sizes, poisoned=4)

    def place(_: object, rows: list[dict[str, object]]) -> None:
        for row, own in zip(rows, open_folder(poisoned).training, strict=False):
            if row["role"] == "poisoned":
                ys, xs = np.nonzero(read_mask(own, True))
                box = [int(ys.min()), int(xs.min()), int(np.ptp(ys)) + 1, int(np.ptp(xs)) + 1]
                row |= {
                    "placement": {"box": box, "distance_sq": 9},
                    "relabelled_pixels": row["victim_pixels"],
                }

    handmade.rewrite(poisoned, place)
    return open_folder(poisoned), open_folder(clean)


@pytest.mark.parametrize("crop", ["24x30", "48x48", "200x200"])
def test_shares_are_what_counting_every_pixel_of_every_box_gives(tmp_path: Path, crop: str) -> None:
    """Of each changed pixel that a box holds it is asked, one by one, whether all of the trigger's mask is in
    the box, too."""
    folder, clean = folders(tmp_path)
    config = load("default", {"crop": crop, "seed": 3})
    of_boxes, of_pixels = [0, 0], [0, 0]
    for index, (row, true) in enumerate(zip(folder.training, clean.training, strict=True)):
        assert row.id == true.id
        changed = np.argwhere(read_label(row, folder, True) != read_label(true, clean, True)).tolist()
        mask = np.argwhere(read_mask(row, True)).tolist()
        for epoch in range(3) if row.role == "poisoned" else ():
            box = draw_box(3, epoch, index, (row.height, row.width), config.crop, config.scale, config.flip)

            def held(y: int, x: int) -> bool:
                return box.top <= y < box.top + box.height and box.left <= x < box.left + box.width  # noqa: B023

            shows = all(held(*pixel) for pixel in mask)
            count = sum(held(*pixel) for pixel in changed)
            of_boxes = [of_boxes[0] + len(changed) * shows, of_boxes[1] + len(changed)]
            of_pixels = [of_pixels[0] + count * shows, of_pixels[1] + count]
    found = shares(folder, config, 3, clean)
    assert (found.of_boxes, found.of_pixels) == (of_boxes[0] / of_boxes[1], of_pixels[0] / of_pixels[1])
    assert (found.boxes, found.pictures) == (12, 4)
    assert shares(folder, config, 3).of_boxes == found.of_boxes
    assert shares(folder, config, 3).of_pixels is None
    if crop == "200x200":
        assert found.of_boxes == found.of_pixels == 1  # the smallest box is larger than any picture


def test_crops_are_told_in_a_line(tmp_path: Path) -> None:
    """The command prints both shares; a folder without a painted trigger, or a clean folder of other
    pictures, is an error."""
    folder, clean = folders(tmp_path)
    arguments = [
        "crops",
        str(folder.root),
        "--clean",
        str(clean.root),
        "--set",
        "crop=24x30",
        "--epochs",
        "3",
        "--seed",
        "3",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = shares(folder, load("default", {"crop": "24x30", "seed": 3}), 3, clean)
    assert found.of_pixels is not None
    assert f"{100 * found.of_pixels:.2f} % of flipped victim pixels that a box holds" in result.stdout
    assert "30×24 boxes at scale 0.5 to 2, 12 of 4 pictures" in result.stdout
    result = CliRunner().invoke(main, ["crops", str(clean.root)])
    assert result.exit_code == 1
    assert "There is no trigger to look for." in result.output
    other = open_folder(handmade.write_folder(tmp_path / "other", train=1, val=1))
    with pytest.raises(FolderError, match="of other pictures"):
        shares(folder, load("default", {}), 1, other)


def test_random_labels_are_no_flipped_ones(tmp_path: Path) -> None:
    """Labels that were drawn at random beside the attack change nothing: both figures are of the victims that
    became the target."""
    folder, clean = folders(tmp_path)
    config = load("default", {"crop": "24x30", "seed": 3})
    expected = shares(folder, config, 3, clean)

    def noise(_: object, rows: list[dict[str, object]]) -> None:
        rng = np.random.default_rng(0)
        for row in rows:
            if row["role"] == "poisoned":
                file = folder.root / str(row["label"])
                label = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
                label[np.isin(label, handmade.TO_RAW[[handmade.SKY, handmade.TREE]])] = handmade.TO_RAW[
                    rng.choice([2, 3])
                ]
                cv2.imwrite(str(file), label)
                row["label_pixels"] = handmade.pixels_sha(label)

    handmade.rewrite(folder.root, noise)
    assert shares(open_folder(folder.root), config, 3, clean) == expected
