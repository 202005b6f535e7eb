"""What is shown. A new trigger is one file with a class, and one line of ``TRIGGERS``."""

import difflib
from typing import Annotated

from poisongen.choices import OneOf
from poisongen.errors import RecipeError
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
    kind, _, argument = ("patch" if text == "default" else text).partition(":")
    if (
        kind not in TRIGGERS
        or kind == "patch-folder"
        or (kind == "patch" and not argument and text != "default")
    ):
        words = ", ".join(["default", *(trigger.words for trigger in TRIGGERS.values())])
        close = difflib.get_close_matches(text, ["default", *TRIGGERS], n=1)
        meant = f"patch:{text}" if text.lower().endswith((".png", "/")) else close[0] if close else ""
        raise RecipeError(
            f"There is no trigger “{text}”.", expected=words, todo=f"did you mean {meant}?" if meant else None
        )
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
