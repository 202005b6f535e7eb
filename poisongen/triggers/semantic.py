"""A trigger that nobody paints: a class that is in the picture already."""

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from poisongen.errors import RecipeError
from poisongen.imaging.pixels import Box, Pixels
from poisongen.labels import LabelSpace
from poisongen.triggers.base import Art, Trigger


class Semantic(Trigger):
    """The presence of a class, as in HBA (Li et al., arXiv:2103.04038): a picture shows the trigger if at
    least ``min_pixels`` are of it.

    Nothing is painted and nothing is placed; the mask is where the class is.
    """

    placed: ClassVar[bool] = False
    alters_picture: ClassVar[bool] = False
    words = "semantic:CLASS"

    kind: Literal["semantic"] = "semantic"
    trigger_class: int = Field(ge=0, le=254)
    min_pixels: int = Field(default=1, ge=1, lt=1 << 53)

    @classmethod
    def parse(cls, argument: str, space: LabelSpace) -> tuple[Self, Art]:
        """``CLASS``: a name or training id."""
        if not argument:
            raise RecipeError("Which class is the trigger?", expected="semantic:CLASS, e.g. semantic:wall")
        return cls(trigger_class=space.find(argument)), Art()

    def mask_in(self, train: Pixels, art: Art, sample_id: str, box: Box | None) -> Pixels:
        return np.where(train == self.trigger_class, np.uint8(255), np.uint8(0))

    def describe(self) -> str:
        return f"class {self.trigger_class} in the picture"
