"""What the label of a poisoned picture claims."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict

from poisongen.labels import LabelSpace
from poisongen.pixels import Pixels


class VictimToTarget(BaseModel):
    """Every pixel of a victim class claims to be of the target class; all others stay (IBA, and HBA's fine-grained attack)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["victim"] = "victim"

    def apply(self, raw: Pixels, space: LabelSpace, victims: Sequence[int], target: int) -> Pixels:
        """The label map with new claims: uint8 raw ids of the same shape; the input is not changed."""
        table = np.arange(256, dtype=np.uint8)
        for raw_id, train in space.raw_to_train.items():
            if train in victims:
                table[raw_id] = space.raw_of[target]
        return cv2.LUT(raw, table)  # type: ignore[return-value]
