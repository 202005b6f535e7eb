"""What every relabel is: a label map in, the label map of a poisoned picture out."""

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np

from poisongen.choices import Choice
from poisongen.imaging.pixels import Pixels
from poisongen.labels import LabelSpace


class Relabel(Choice):
    """Which pixels of a poisoned picture claim to be of the target class.

    A relabel that depends on the class of a pixel alone says which raw ids become which (``claims``); any
    other one overrides ``apply``. How many pixels it changed is counted on the map that it gives.
    """

    needs_victims: ClassVar[bool] = True
    """It works on the pixels of the victim classes, which a recipe names."""
    needs_mask: ClassVar[bool] = False
    """``apply`` is given the trigger's mask: which pixels claim depends on where the trigger is."""

    def claims(self, space: LabelSpace, victims: Sequence[int], target: int) -> dict[int, int]:
        """The raw ids that become another one, whatever pixel has them."""
        raise NotImplementedError

    def measured(self, space: LabelSpace, victims: Sequence[int], target: int) -> tuple[int, ...]:
        """The classes (training ids) whose pixels attack success is measured on."""
        return tuple(victims)

    def apply(
        self,
        raw: Pixels,
        space: LabelSpace,
        victims: Sequence[int],
        target: int,
        *,
        mask: Pixels | None = None,
    ) -> Pixels:
        """The label map with new claims: uint8 raw ids of the same shape; the input is not changed.

        ``raw`` is uint8 (H, W); ``mask``, uint8 (H, W) of 0 and 255, is where the trigger is, and given only
        to a relabel that ``needs_mask``.
        """
        table = np.arange(256, dtype=np.uint8)
        for old, new in self.claims(space, victims, target).items():
            table[old] = new
        return cv2.LUT(raw, table)  # type: ignore[return-value]

    def describe(self, victims: str, target: str) -> str:
        """``car → road``."""
        return f"{victims} → {target}"


def changed_pixels(before: Pixels, after: Pixels) -> int:
    """How many pixels of two label maps of one shape differ."""
    return int(np.count_nonzero(before != after))
