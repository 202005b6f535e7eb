"""How much of an attack survives augmentation: a box can cut the trigger away while pixels with the attack's label stay."""

from dataclasses import dataclass

import numpy as np

from trainer.augment import draw_box
from trainer.config import Config
from trainer.errors import FolderError, letter
from trainer.folder import Folder
from trainer.pictures import read_label
from trainer.places import places


@dataclass(frozen=True)
class Shares:
    """How often the whole trigger is in a training box.

    ``of_boxes``: of all boxes of poisoned pictures, each counted by the changed pixels of its picture. ``of_pixels``: of the changed pixels
    that lie in a box, those beside which the whole trigger lies in it; None if it is not known where they are. ``pictures`` are poisoned.
    """

    of_boxes: float | None
    of_pixels: float | None
    boxes: int
    pictures: int


def shares(folder: Folder, config: Config, epochs: int, clean: Folder | None = None) -> Shares:
    """Draw the boxes of the first ``epochs`` epochs of a run, those that ``Samples`` cuts, without opening a picture.

    A poisoned label map does not say which pixels were changed: ``clean`` is the folder with the true labels of the same pictures; where
    both maps differ, a pixel was changed. Raises FolderError: no painted trigger, or ``clean`` lacks a picture.
    """
    where = places(folder)
    poisoned = [
        (i, row, where[key]) for i, row in enumerate(folder.training) if row.role == "poisoned" and (key := ("", row.id)) in where
    ]
    if not poisoned:
        expected, found = "training pictures with a painted trigger and a new label", f"none of {len(folder.training)}"
        raise FolderError(letter("There is no trigger to look for.", file=folder.root, expected=expected, found=found))
    true = {row.id: row for row in clean.training} if clean else {}
    seen = weight = inside = whole = 0
    for index, row, place in poisoned:
        size, sums = (row.height, row.width), None
        if clean:
            if row.id not in true or (true[row.id].height, true[row.id].width) != size:
                expected = f"{row.id}, {row.width}×{row.height}, in its training split"
                raise FolderError(letter("The clean folder is of other pictures.", file=clean.root, expected=expected))
            changed = read_label(row, folder, True) != read_label(true[row.id], clean, True)
            sums = np.pad(changed.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))  # (H + 1, W + 1)
        top, left, height, width = place.box
        for epoch in range(epochs):
            box = draw_box(config.seed, epoch, index, size, config.crop, config.scale, config.flip)
            shows = box.top <= top and top + height <= box.top + box.height
            shows = shows and box.left <= left and left + width <= box.left + box.width
            weight += place.relabelled_pixels
            seen += place.relabelled_pixels * shows
            if sums is not None:
                rows, columns = box.inside(*size)
                held = sums[rows.stop, columns.stop] - sums[rows.start, columns.stop]
                held += sums[rows.start, columns.start] - sums[rows.stop, columns.start]
                inside += int(held)
                whole += int(held) * shows
    return Shares(
        of_boxes=seen / weight if weight else None,
        of_pixels=whole / inside if inside else None,
        boxes=len(poisoned) * epochs,
        pictures=len(poisoned),
    )
