"""What every relabel is: which raw ids become which in a poisoned picture."""

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np

from poisongen.choices import Choice
from poisongen.imaging.pixels import Pixels
from poisongen.labels import LabelSpace


class Relabel(Choice):
    """Which pixels of a poisoned picture claim to be of the target class. ``needs_victims``: those of the
    victims, which a recipe names."""

    needs_victims: ClassVar[bool] = True

    def claims(self, space: LabelSpace, victims: Sequence[int], target: int) -> dict[int, int]:
        """The raw ids that become another one."""
        raise NotImplementedError

    def measured(self, space: LabelSpace, victims: Sequence[int], target: int) -> tuple[int, ...]:
        """The classes (training ids) whose pixels attack success is measured on."""
        return tuple(victims)

    def apply(self, raw: Pixels, space: LabelSpace, victims: Sequence[int], target: int) -> Pixels:
        """The label map with new claims: uint8 raw ids of the same shape; the input is not changed."""
        table = np.arange(256, dtype=np.uint8)
        for old, new in self.claims(space, victims, target).items():
            table[old] = new
        return cv2.LUT(raw, table)  # type: ignore[return-value]

    def describe(self, victims: str, target: str) -> str:
        """``car → road``."""
        return f"{victims} → {target}"
