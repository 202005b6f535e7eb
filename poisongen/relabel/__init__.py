"""What a label claims after the attack. A new relabel is one file with a class, and one line of
``RELABELS``."""

from typing import Annotated

from poisongen.choices import OneOf
from poisongen.relabel.base import Relabel, changed_pixels
from poisongen.relabel.claims import Everything, VictimToTarget
from poisongen.relabel.random_pixels import RandomPixels

RELABELS: dict[str, type[Relabel]] = {
    "victim": VictimToTarget,
    "everything": Everything,
}

RelabelField = Annotated[Relabel, OneOf("relabel", RELABELS)]

__all__ = [
    "RELABELS",
    "Everything",
    "RandomPixels",
    "Relabel",
    "RelabelField",
    "VictimToTarget",
    "changed_pixels",
]
