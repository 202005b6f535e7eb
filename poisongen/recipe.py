"""A recipe: every decision that shapes a poisoned dataset, resolved, frozen, and JSON both ways."""

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from poisongen.errors import RecipeError
from poisongen.imaging.pixels import Pixels
from poisongen.labels import LabelSpace
from poisongen.lengths import parse_rate, parse_share
from poisongen.placement import NearVictim, OneSurface, PlacementField
from poisongen.relabel import RandomPixels, RelabelField
from poisongen.triggers import Semantic, Trigger, TriggerField

Rate = Annotated[str, AfterValidator(parse_rate)]
Coverage = Annotated[str, AfterValidator(lambda text: parse_share(text, "coverage"))]
Scale = Annotated[str, AfterValidator(lambda text: parse_share(text, "scale"))]
ClassId = Annotated[int, Field(ge=0, le=254)]
Control = Literal["trigger-only", "label-only"]

_FROZEN = ConfigDict(frozen=True, extra="forbid", strict=True)

SET_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"


class EvaluationSet(BaseModel):
    """One set on which attack success is measured: the evaluation split, triggered by this placement, with
    its own seed.

    Of the training recipe it takes the trigger (unless it has one of its own: a decoy) and the victims (with
    their least size), and neither attack, placement, rate nor seed: so every model is scored on the same
    pictures.
    """

    model_config = _FROZEN

    name: str = Field(pattern=SET_NAME)
    placement: PlacementField | None
    seed: int = Field(ge=0, lt=1 << 63)
    trigger: TriggerField | None = None


class Poison(BaseModel):
    """What an attack does to a sample: three choices, and who plays which part.

    ``control``: ``trigger-only`` keeps the labels; ``label-only`` keeps the picture: the one exemption from
    the law that no label becomes the target without a trigger, for measuring what the trigger adds.
    """

    model_config = _FROZEN

    trigger: TriggerField
    placement: PlacementField | None
    relabel: RelabelField
    control: Control | None = None
    victim_classes: tuple[ClassId, ...] = ()
    target_class: ClassId
    min_victim_pixels: int = Field(ge=1, default=1)
    rate: Rate | None = None
    coverage: Coverage | None = None
    take_what_fits: bool = False
    evaluation_sets: tuple[EvaluationSet, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Poison":
        if self.target_class in self.victim_classes:
            raise RecipeError(
                "Victim and target are the same class.",
                found=f"class {self.target_class}",
                todo="choose another --target",
            )
        if len(set(self.victim_classes)) < len(self.victim_classes):
            raise RecipeError(
                "A victim class is given twice.",
                found=", ".join(map(str, self.victim_classes)),
                todo="name each class once",
            )
        names = [planned.name for planned in self.evaluation_sets]
        if len(set(names)) < len(names):
            raise RecipeError("Two evaluation sets have one name.", found=", ".join(names))
        if self.relabel.needs_victims != bool(self.victim_classes):
            what = (
                "needs a victim class"
                if self.relabel.needs_victims
                else "changes every pixel, and has no victim"
            )
            raise RecipeError(
                f"The relabel {self.relabel.kind} {what}.", todo="choose another attack, or --victim"
            )
        if (self.rate is None) == (self.coverage is None):
            raise RecipeError("How many pictures shall be poisoned?", expected="either a rate or a coverage")
        for where, placement, trigger in self.shown():
            _refuse_nonsense(where, trigger, placement, self.victim_classes)
        if self.control and isinstance(self.trigger, Semantic):
            raise RecipeError(
                "A control takes the trigger or the label away, and a semantic trigger is not ours to take.",
                todo="the clean dataset is the control of a semantic trigger",
            )
        return self

    def shown(self) -> Iterator[tuple[str, PlacementField | None, Trigger]]:
        """Name, placement and trigger of training ("") and of each evaluation set."""
        yield "", self.placement, self.trigger
        for planned in self.evaluation_sets:
            yield planned.name, planned.placement, planned.trigger or self.trigger

    def trigger_in(self, evaluation_set: str | None) -> Trigger:
        """The trigger of an evaluation set, or of training (None)."""
        return next(trigger for name, _, trigger in self.shown() if name == (evaluation_set or ""))

    def placement_in(self, evaluation_set: str | None) -> PlacementField | None:
        """The placement of an evaluation set, or of training (None); None for a trigger that is not
        placed."""
        return next(placement for name, placement, _ in self.shown() if name == (evaluation_set or ""))

    def relabelled(self, raw: Pixels, space: LabelSpace, trigger_mask: Callable[[], Pixels]) -> Pixels:
        """A label map of raw ids, uint8 (H, W), as the attack wants it; ``trigger_mask`` is asked only by
        relabels that depend on it."""
        relabel = self.relabel
        if relabel.needs_mask:
            return relabel.apply(raw, space, self.victim_classes, self.target_class, mask=trigger_mask())
        return relabel.apply(raw, space, self.victim_classes, self.target_class)

    @property
    def semantic(self) -> Semantic | None:
        """The trigger, if it is a class that is in the picture already."""
        return self.trigger if isinstance(self.trigger, Semantic) else None

    @property
    def role(self) -> str:
        """The role of a sample that was chosen."""
        return self.control or "poisoned"


def _refuse_nonsense(
    where: str, trigger: Trigger, placement: PlacementField | None, victims: tuple[int, ...]
) -> None:
    what = f"The trigger {trigger.kind}"
    if trigger.placed and placement is None:
        raise RecipeError(f"{what} has no place.")
    if placement is not None and not trigger.placed:
        why = "covers the picture" if trigger.alters_picture else "is in the picture already"
        raise RecipeError(
            f"{what} {why}: it cannot be placed.", todo="use it with --attack badnets or fine-grained"
        )
    if isinstance(trigger, Semantic) and trigger.trigger_class in victims:
        raise RecipeError(
            "The trigger class is a victim: every victim would carry the trigger.",
            todo="choose another class",
        )
    if isinstance(placement, OneSurface) and trigger.spans:
        raise RecipeError(
            f"{what} spans the picture: it cannot lie on one surface.",
            todo="use it with --attack badnets or fine-grained, or choose a trigger that is a patch",
        )
    if isinstance(placement, NearVictim) and not victims:
        raise RecipeError(
            "There is no victim to be near.",
            found="every pixel is relabelled",
            todo="choose another placement",
        )


class Code(BaseModel):
    """A file with an attack from outside: its name and the digest of its bytes."""

    model_config = _FROZEN

    file: str = Field(max_length=255)
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class Recipe(BaseModel):
    """A named attack with its resolved values; ``poison`` is None for ``benign``, which freezes the clean
    source.

    ``scale``: pictures and label maps are resized first; ``lossless``: a picture of a lossy format that
    changes is written as PNG.
    """

    model_config = _FROZEN

    attack: str = Field(pattern=SET_NAME)
    seed: int = Field(ge=0, lt=1 << 63)
    scale: Scale | None = None
    lossless: bool = False
    random_pixels: RandomPixels | None = None
    code: Code | None = None
    poison: Poison | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.poison is None and self.random_pixels and self.random_pixels.scope == "poisoned":
            raise RecipeError(
                "Random labels for poisoned pictures only, and none is poisoned.",
                todo="choose --prl-scope all",
            )
        return self

    def check(self, space: LabelSpace) -> None:
        """Raise RecipeError if a class is not one of the label space."""
        named = list(self.random_pixels.spared) if self.random_pixels else []
        if self.poison:
            named += [*self.poison.victim_classes, self.poison.target_class]
            named += [
                trigger.trigger_class
                for _, _, trigger in self.poison.shown()
                if isinstance(trigger, Semantic)
            ]
        for train in named:
            if train >= len(space.names):
                raise RecipeError(
                    f"There is no class {train}.", expected=f"training ids 0 … {len(space.names) - 1}"
                )

    def measured(self, space: LabelSpace) -> tuple[int, ...]:
        """The classes that attack success is measured on; nothing for a clean dataset."""
        poison = self.poison
        return poison.relabel.measured(space, poison.victim_classes, poison.target_class) if poison else ()

    def art_files(self) -> dict[str, str]:
        """The art that lies in the folder for all samples: name → digest of its RGBA pixels."""
        shown = self.poison.shown() if self.poison else ()
        return {name: digest for _, _, trigger in shown for name, digest in trigger.art_files().items()}
