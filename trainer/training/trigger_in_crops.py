"""How much of an attack survives augmentation: a box can cut the trigger away while pixels with the attack's
label stay."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.config import Config
from trainer.dataset.folder import Folder
from trainer.dataset.pictures import read_label
from trainer.dataset.placements import read_placements
from trainer.errors import FolderError
from trainer.training.augment import draw_box


@dataclass(frozen=True)
class Shares:
    """How often the whole trigger is in a training box.

    ``of_boxes``: of all boxes of poisoned pictures, each counted by the changed pixels of its picture.
    ``of_pixels``: of the changed pixels that lie in a box, those beside which the whole trigger lies in it;
    None if it is not known where they are. ``pictures`` are poisoned. Both are of the same pixels.
    """

    of_boxes: float | None
    of_pixels: float | None
    boxes: int
    pictures: int


EPOCHS = 5  # whose boxes are drawn to say it of a run


def share_of_run(folder: Folder, config: Config) -> float | None:
    """How much of the relabelled pixels, each by its picture, have the whole trigger in their box, over the
    first epochs of a run.

    None where no training picture has a painted trigger and a new label.
    """
    try:
        return shares(folder, config, min(EPOCHS, config.epochs)).of_boxes
    except FolderError:
        return None


def shares(folder: Folder, config: Config, epochs: int, clean: Folder | None = None) -> Shares:
    """Draw the boxes of the first ``epochs`` epochs of a run, those that ``Samples`` cuts, without opening a
    picture.

    A poisoned label map does not say which pixels were changed: ``clean`` is the folder with the true labels
    of the same pictures; a pixel was changed if it is a victim there and the target here, so labels that were
    drawn at random do not count. Without ``clean``, the rows say how many pixels were relabelled. Raises
    FolderError: no painted trigger, or ``clean`` lacks a picture.
    """
    where = read_placements(folder)
    poisoned = [
        (i, row, where[key])
        for i, row in enumerate(folder.training)
        if row.role == "poisoned" and (key := ("", row.id)) in where
    ]
    if not poisoned:
        expected, found = (
            "training pictures with a painted trigger and a new label",
            f"none of {len(folder.training)}",
        )
        raise FolderError(
            "There is no trigger to look for.", file=folder.root, expected=expected, found=found
        )
    true = {row.id: row for row in clean.training} if clean else {}
    seen = weight = inside = whole = 0
    for index, row, place in poisoned:
        size, sums, count = (row.height, row.width), None, place.relabelled_pixels
        if clean:
            if row.id not in true or (true[row.id].height, true[row.id].width) != size:
                expected = f"{row.id}, {row.width}×{row.height}, in its training split"
                raise FolderError(
                    "The clean folder is of other pictures.", file=clean.root, expected=expected
                )
            changed = _flipped(folder, read_label(true[row.id], clean, True), read_label(row, folder, True))
            count = int(changed.sum())
            sums = np.pad(changed.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))  # (H + 1, W + 1)
        top, left, height, width = place.box
        for epoch in range(epochs):
            box = draw_box(config.seed, epoch, index, size, config.crop, config.scale, config.flip)
            shows = box.top <= top and top + height <= box.top + box.height
            shows = shows and box.left <= left and left + width <= box.left + box.width
            weight += count
            seen += count * shows
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


def _flipped(folder: Folder, true: NDArray[np.uint8], claimed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a label map claims the target for a victim."""
    victim = np.isin(true, folder.victims) & (true != folder.target)
    flipped: NDArray[np.bool_] = victim & (claimed == folder.target)
    return flipped
