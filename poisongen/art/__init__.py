"""Trigger art: the project's own drawn default, or anybody's picture.

The default was rendered once and is shipped as a picture, so that it is the same everywhere.
"""

from importlib.resources import files
from pathlib import Path

from poisongen.errors import RecipeError
from poisongen.pixels import Pixels, decode_art
from poisongen.plan import read_file


def default() -> Pixels:
    """The project's own art: RGBA uint8 (h, w, 4), opaque."""
    return decode_art((files("poisongen.art") / "trigger.png").read_bytes(), "the drawn default")


def load(text: str) -> Pixels:
    """The art that ``--trigger`` names: ``default``, or ``patch:FILE``.

    Raises RecipeError for any other word, SourceError for a file that cannot be read as a PNG picture.
    """
    if text == "default":
        return default()
    kind, colon, name = text.partition(":")
    if kind == "patch" and colon and name:
        return decode_art(read_file(Path(name)), name)
    raise RecipeError(f"There is no trigger “{text}”.", expected="default, or patch:FILE with a PNG picture")
