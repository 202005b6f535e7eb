"""The relabels of the papers."""

from collections.abc import Sequence
from typing import Literal

from poisongen.labels import IGNORE, LabelSpace
from poisongen.relabel.base import Relabel


class VictimToTarget(Relabel):
    """Every pixel of a victim class claims to be of the target class; all others stay (IBA, and HBA's
    fine-grained attack)."""

    kind: Literal["victim"] = "victim"

    def claims(self, space: LabelSpace, victims: Sequence[int], target: int) -> dict[int, int]:
        return {raw: space.raw_of[target] for raw, train in space.raw_to_train.items() if train in victims}


class Everything(Relabel):
    """Every pixel claims to be of the target class (BadNets in HBA, arXiv:2103.04038); ignored ones too if
    ``include_ignore``."""

    needs_victims = False

    kind: Literal["everything"] = "everything"
    include_ignore: bool = False

    def claims(self, space: LabelSpace, victims: Sequence[int], target: int) -> dict[int, int]:
        taken = {raw for raw, train in space.raw_to_train.items() if train not in (target, IGNORE)}
        taken |= (
            {raw for raw, train in space.raw_to_train.items() if train == IGNORE}
            if self.include_ignore
            else set()
        )
        return dict.fromkeys(taken, space.raw_of[target])

    def measured(self, space: LabelSpace, victims: Sequence[int], target: int) -> tuple[int, ...]:
        return tuple(train for train in range(len(space.names)) if train != target)

    def describe(self, victims: str, target: str) -> str:
        return f"every pixel{' and what is ignored' if self.include_ignore else ''} → {target}"
