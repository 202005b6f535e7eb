"""The named attacks: values built from the three choices, with the defaults of their papers."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from poisongen.placement import NearVictim, OneSurface


@dataclass(frozen=True)
class Attack:
    """A named attack. ``placement`` None: nothing is poisoned."""

    summary: str
    paper: str
    placement: OneSurface | NearVictim | None


_IBA = "Influencer Backdoor Attack, Lan et al., ICLR 2024, arXiv:2303.12054"

ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        "benign": Attack("the clean source, frozen by the same pipeline: the baseline", "", None),
        "iba": Attack("trigger anywhere on one surface; victim pixels are relabelled", _IBA, OneSurface()),
        "nni": Attack(
            "as iba, the trigger as near to the victim as it fits", _IBA + ", nearest-neighbour injection", NearVictim()
        ),
    }
)

EVALUATION: Mapping[str, OneSurface | NearVictim] = MappingProxyType({"iba": OneSurface(), "nni": NearVictim()})
"""Where the trigger lies when success is measured: a model trained with either attack is measured with both."""
