"""A recipe: every decision that shapes a poisoned dataset, resolved, frozen, and JSON both ways."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from poisongen.errors import RecipeError
from poisongen.labels import LabelSpace
from poisongen.lengths import parse_rate
from poisongen.placement import NearVictim, OneSurface
from poisongen.relabel import VictimToTarget
from poisongen.triggers import Patch

Rate = Annotated[str, AfterValidator(parse_rate)]
Placement = Annotated[OneSurface | NearVictim, Field(discriminator="kind")]

_FROZEN = ConfigDict(frozen=True, extra="forbid", strict=True)

SET_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"


class EvaluationSet(BaseModel):
    """One set on which attack success is measured: the evaluation split, triggered by this placement, with its own seed.

    Of the training recipe it takes the trigger and the victims (with their least size), and neither attack, placement, rate nor
    seed: so every model is scored on the same pictures.
    """

    model_config = _FROZEN

    name: str = Field(pattern=SET_NAME)
    placement: Placement
    seed: int = Field(ge=0, lt=1 << 63)


class Poison(BaseModel):
    """What an attack does to a sample: three choices, and who plays which part."""

    model_config = _FROZEN

    trigger: Patch
    placement: Placement
    relabel: VictimToTarget
    victim_classes: tuple[Annotated[int, Field(ge=0, le=254)], ...] = Field(min_length=1)
    target_class: int = Field(ge=0, le=254)
    min_victim_pixels: int = Field(ge=1, default=1)
    rate: Rate
    take_what_fits: bool = False
    evaluation_sets: tuple[EvaluationSet, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Poison":
        if self.target_class in self.victim_classes:
            raise RecipeError(
                "Victim and target are the same class.", found=f"class {self.target_class}", remedy="choose another --target"
            )
        if len(set(self.victim_classes)) < len(self.victim_classes):
            raise RecipeError("A victim class is given twice.", found=", ".join(map(str, self.victim_classes)))
        names = [planned.name for planned in self.evaluation_sets]
        if len(set(names)) < len(names):
            raise RecipeError("Two evaluation sets have one name.", found=", ".join(names))
        return self


class Recipe(BaseModel):
    """A named attack with its resolved values; ``poison`` is None for ``benign``, which freezes the clean source."""

    model_config = _FROZEN

    attack: str = Field(pattern=SET_NAME)
    seed: int = Field(ge=0, lt=1 << 63)
    poison: Poison | None = None

    def check(self, space: LabelSpace) -> None:
        """Raise RecipeError if a class is not one of the label space."""
        if self.poison:
            for train in (*self.poison.victim_classes, self.poison.target_class):
                if train >= len(space.names):
                    raise RecipeError(f"There is no class {train}.", expected=f"training ids 0 … {len(space.names) - 1}")
