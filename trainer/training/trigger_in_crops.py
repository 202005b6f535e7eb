"""How much of an attack survives augmentation: a box can cut the trigger away while pixels with the attack's
label stay."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainer.config import Config
from trainer.dataset.folder import Folder, Row
from trainer.dataset.pictures import read_label
from trainer.dataset.placements import Placement
from trainer.errors import FolderError
from trainer.training.augment import Box, draw_box


@dataclass(frozen=True)
class Shares:
    """How often the whole trigger is in a training box.

    ``of_boxes``: of all boxes of poisoned pictures, each counted by the changed pixels of its picture.
    ``of_pixels``: of the changed pixels that lie in a box, those whose box holds the whole trigger, too;
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
    poisoned = [
        (index, row, row.placement)
        for index, row in enumerate(folder.training)
        if row.role == "poisoned" and row.placement is not None
    ]
    if not poisoned:
        raise FolderError(
            "There is no trigger to look for.",
            file=folder.root,
            expected="training pictures with a painted trigger and a new label",
            found=f"none of {len(folder.training)}",
        )
    true_rows = {row.id: row for row in clean.training} if clean else {}
    of_boxes, of_pixels = Share(), Share()
    for index, row, placement in poisoned:
        flipped = Flipped(folder, row, clean, true_rows) if clean else None
        relabelled = flipped.count if flipped else placement.relabelled_pixels
        size = (row.height, row.width)
        for epoch in range(epochs):
            box = draw_box(config.seed, epoch, index, size, config.crop, config.scale, config.flip)
            whole = shows(box, placement)
            of_boxes.add(relabelled, whole)
            if flipped:
                of_pixels.add(flipped.inside(box), whole)
    return Shares(
        of_boxes=of_boxes.value,
        of_pixels=of_pixels.value,
        boxes=len(poisoned) * epochs,
        pictures=len(poisoned),
    )


@dataclass
class Share:
    """Pixels in boxes that show the whole trigger, of all pixels."""

    whole: int = 0
    all: int = 0

    def add(self, pixels: int, whole: bool) -> None:
        """Count the pixels of a box; ``whole``: it shows the whole trigger."""
        self.all += pixels
        self.whole += pixels * whole

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.whole / self.all if self.all else None


def shows(box: Box, placement: Placement) -> bool:
    """Is the whole trigger in a box?"""
    top, left, height, width = placement.box
    in_rows = box.top <= top and top + height <= box.top + box.height
    in_columns = box.left <= left and left + width <= box.left + box.width
    return in_rows and in_columns


class Flipped:
    """The victim pixels of a training picture that claim the target, by the true labels of the clean folder.
    Raises FolderError: it lacks the picture, or has another one."""

    def __init__(self, folder: Folder, row: Row, clean: Folder, true_rows: Mapping[str, Row]) -> None:
        true_row = true_rows.get(row.id)
        if true_row is None or (true_row.height, true_row.width) != (row.height, row.width):
            problem = "The clean folder is of other pictures."
            expected = f"{row.id}, {row.width}×{row.height}, in its training split"
            raise FolderError(problem, file=clean.root, expected=expected)
        true, claimed = read_label(true_row, clean, check=True), read_label(row, folder, check=True)
        flipped = np.isin(true, folder.victims) & (true != folder.target) & (claimed == folder.target)
        self.size = (row.height, row.width)
        self.count = int(flipped.sum())
        sums = flipped.cumsum(0, dtype=np.int64).cumsum(1)
        self.sums = np.pad(sums, ((1, 0), (1, 0)))  # (H + 1, W + 1): how many lie above and to the left

    def inside(self, box: Box) -> int:
        """How many of them a box holds."""
        rows, columns = box.inside(*self.size)
        left_and_right = self.sums[:, columns.stop] - self.sums[:, columns.start]
        return int(left_and_right[rows.stop] - left_and_right[rows.start])
