"""What is shown. A new trigger is one file with a class, and one line of ``TRIGGERS``."""

from typing import Annotated

from poisongen.choices import OneOf
from poisongen.errors import RecipeError, did_you_mean
from poisongen.labels import LabelSpace
from poisongen.triggers.base import Art, Painted, Trigger, Triggered, footprint, mask, paint
from poisongen.triggers.patch import Blend, Patch, PatchFolder
from poisongen.triggers.semantic import Semantic
from poisongen.triggers.shapes import Checkerboard, Frame, Line, Stripes

TRIGGERS: dict[str, type[Trigger]] = {
    "patch": Patch,
    "patch-folder": PatchFolder,
    "line": Line,
    "frame": Frame,
    "checkerboard": Checkerboard,
    "blend": Blend,
    "stripes": Stripes,
    "semantic": Semantic,
}

TriggerField = Annotated[Trigger, OneOf("trigger", TRIGGERS)]


def parse_trigger(text: str, space: LabelSpace) -> tuple[Trigger, Art]:
    """The trigger that ``--trigger`` names (``default``: the drawn picture), and its art.

    Raises RecipeError for any other word, SourceError for art that cannot be read as a PNG picture.
    """
    if text == "default":
        return TRIGGERS["patch"].parse("", space)
    kind, _, argument = text.partition(":")
    without_file = kind == "patch" and not argument
    if kind not in TRIGGERS or kind == "patch-folder" or without_file:
        words = ", ".join(["default", *(trigger.words for trigger in TRIGGERS.values())])
        is_path = text.lower().endswith((".png", "/"))
        meant = f"did you mean patch:{text}?" if is_path else did_you_mean(text, ["default", *TRIGGERS])
        raise RecipeError(f"There is no trigger “{text}”.", expected=words, todo=meant)
    return TRIGGERS[kind].parse(argument, space)


__all__ = [
    "TRIGGERS",
    "Art",
    "Blend",
    "Checkerboard",
    "Frame",
    "Line",
    "Painted",
    "Patch",
    "PatchFolder",
    "Semantic",
    "Stripes",
    "Trigger",
    "TriggerField",
    "Triggered",
    "footprint",
    "mask",
    "paint",
    "parse_trigger",
]
