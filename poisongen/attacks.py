"""The named attacks: values built from the three choices, with the defaults of their papers. A new one is one
line of ``ATTACKS``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType

from poisongen.errors import RecipeError
from poisongen.lengths import Length
from poisongen.placement import Fixed, NearVictim, OneSurface, Placement
from poisongen.recipe import EvaluationSet
from poisongen.relabel import Everything, Relabel, VictimToTarget
from poisongen.triggers import Art, Patch, Trigger


@dataclass(frozen=True)
class Attack:
    """Three choices with their defaults: what is shown, where it goes, what the label then claims.

    ``trigger``: as ``--trigger`` names it, or a Trigger; ``art``: the pictures that a Trigger is made of, if
    there are any. ``relabel`` None: nothing is poisoned. ``paper``: where the attack comes from.
    """

    summary: str
    paper: str = ""
    trigger: str | Trigger = "default"
    placement: Placement | None = None
    relabel: Relabel | None = None
    art: Art = field(default_factory=Art)

    @property
    def trigger_words(self) -> str:
        """The trigger as ``--trigger`` names it, or in words."""
        return self.trigger if isinstance(self.trigger, str) else self.trigger.describe()


_HBA = "Hidden Backdoor Attack, Li et al. 2021, arXiv:2103.04038"
_IBA = "Influencer Backdoor Attack, Lan et al., ICLR 2024, arXiv:2303.12054"

ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        "benign": Attack("the clean source, frozen by the same pipeline: the baseline"),
        "badnets": Attack(
            "every pixel of a triggered picture becomes the target", _HBA, "line", Fixed(), Everything()
        ),
        "fine-grained": Attack(
            "victim pixels of a triggered picture become the target", _HBA, "line", Fixed(), VictimToTarget()
        ),
        "iba": Attack(
            "as fine-grained, the trigger anywhere on one surface",
            _IBA,
            "default",
            OneSurface(),
            VictimToTarget(),
        ),
        "nni": Attack(
            "as iba, the trigger as near to the victim as it fits",
            f"{_IBA}, nearest-neighbour injection",
            "default",
            NearVictim(),
            VictimToTarget(),
        ),
    }
)


BAND_LIMITS, BAND_ROWS = (60, 90, 120, 150), 512
"""Upper bounds of the papers' distance bands, in pixels of a picture with 512 rows."""


def _band(lower: int, upper: int) -> NearVictim:
    """Uniform between two distances in pixels of a picture with ``BAND_ROWS`` rows, as exact shares."""
    return NearVictim(rule="band", lower=_share_of_height(lower), upper=_share_of_height(upper))


def _share_of_height(pixels: int) -> Length:
    return Length(Decimal(100 * pixels) / BAND_ROWS, "%")


SURFACE_SETS: Mapping[str, Placement] = MappingProxyType({"iba": OneSurface(), "nni": NearVictim()})
"""Where the trigger lies when the success of a trigger on one surface is measured: a model trained with
either is measured with both."""

BANDS: Mapping[str, Placement] = MappingProxyType(
    {f"band-{lower}-{upper}": _band(lower, upper) for lower, upper in pairwise((0, *BAND_LIMITS))}
)
"""The trigger in each of the papers' distance bands."""

_AUTHORS = Length.parse("39%")

MARGIN_SETS: Mapping[str, Placement] = MappingProxyType(
    {"iba-margin": OneSurface(edge_margin=_AUTHORS), "nni-margin": NearVictim(edge_margin=_AUTHORS)}
)
"""The same with the edge margin of the authors' code, in which triggers lie nearer to victims."""

MORE_SETS = ("bands", "margin", "decoy")
"""What ``--eval`` adds: the distance bands; the authors' edge margin; another sticker at the very places of
the trigger."""


def evaluation_sets(
    trigger: Trigger,
    placement: Placement | None,
    seed: int,
    more: Sequence[str] = (),
    decoy: Patch | None = None,
) -> tuple[EvaluationSet, ...]:
    """The sets on which an attack is measured. They depend on the trigger and on the kind of its placement
    only.

    Raises RecipeError for further sets that this placement cannot have.
    """
    if not isinstance(placement, OneSurface):
        if more:
            raise RecipeError(
                "--eval has no meaning for a trigger that is always at the same place.",
                found=", ".join(more),
                todo="leave it out, or choose --attack iba or nni",
            )
        return (EvaluationSet(name=trigger.kind, placement=placement, seed=seed),)
    placements = {
        **SURFACE_SETS,
        **(BANDS if "bands" in more else {}),
        **(MARGIN_SETS if "margin" in more else {}),
    }
    sets = [EvaluationSet(name=name, placement=rule, seed=seed) for name, rule in placements.items()]
    if decoy is not None:
        sets += [
            EvaluationSet(name=f"{name}-decoy", placement=rule, seed=seed, trigger=decoy)
            for name, rule in SURFACE_SETS.items()
        ]
    return tuple(sets)
