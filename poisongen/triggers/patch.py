"""Triggers that are pictures: one for all samples, one for each, or one laid faintly over the whole
picture."""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

import cv2
import numpy as np
from pydantic import Field

from poisongen.errors import RecipeError, SourceError
from poisongen.imaging.pixels import Pixels
from poisongen.labels import LabelSpace
from poisongen.lengths import Length, LengthField
from poisongen.names import OWN_ART, TRIGGER_ART, own_art
from poisongen.triggers.base import Art, Opacity, Painted, fade, premultiplied, require_fit

Size = Annotated[Literal["own"] | LengthField, Field(union_mode="left_to_right")]
ArtName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}\.png$")]


class Patch(Painted):
    """A picture laid over the scene, as in IBA (Lan et al., arXiv:2303.12054: 55×55 px at 1024×512, 10.7 % of
    the height).

    ``size`` is the patch's height, in pixels or per cent of the picture's height, or ``own``: as many pixels
    as the art has; the width follows from the art's aspect. ``art_pixels`` is the digest of the RGBA art: a
    recipe names the exact picture, and the picture travels beside it as the file ``art``.
    """

    words = "patch:FILE"

    kind: Literal["patch"] = "patch"
    size: Size = Length.parse("10.7%")
    opacity: Opacity = "1"
    art: ArtName = TRIGGER_ART
    art_pixels: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")

    @classmethod
    def parse(cls, argument: str, space: LabelSpace) -> tuple[Painted, Art]:  # type: ignore[override]
        """``FILE``: a PNG, alpha is blended. ``DIR``: one for each sample id, see ``PatchFolder``; nothing:
        the drawn default."""
        if argument and Path(argument).is_dir():
            return PatchFolder.parse(argument, space)
        art = Art({TRIGGER_ART: Path(argument) if argument else drawn(TRIGGER_ART)})
        return cls(art_pixels=art.digest(TRIGGER_ART)), art

    def art_files(self) -> dict[str, str]:
        return {self.art: self.art_pixels}

    def render(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        """Premultiplied, so that resizing does not bleed the colour of invisible pixels into the rim."""
        return rendered_art(art.picture(self.art), self.size, self.opacity, height, width)

    def describe(self) -> str:
        return f"a sticker {size_words(self.size)}{faint(self.opacity)}"


class PatchFolder(Painted):
    """One picture for each sample, for triggers that were optimised elsewhere: ``DIR/<sample id>.png``; who
    has none is not eligible.

    A row names its picture's digest, and the dataset folder holds it as ``triggers/<sample id>.png``.
    """

    words = "patch:DIR"

    kind: Literal["patch-folder"] = "patch-folder"
    size: Size = "own"
    opacity: Opacity = "1"

    @classmethod
    def parse(cls, argument: str, space: LabelSpace) -> tuple[Self, Art]:
        """Every PNG below ``DIR``; its path without the suffix is the sample id."""
        root = Path(argument)
        found = {
            f"{OWN_ART}/{path.relative_to(root).as_posix()}": path for path in sorted(root.rglob("*.png"))
        }
        if not found:
            raise RecipeError(
                "The folder of triggers is empty.",
                found=argument,
                expected="a PNG for each sample: DIR/<sample id>.png",
            )
        return cls(), Art(found)

    def art_of(self, sample_id: str) -> str | None:
        return own_art(sample_id)

    def render(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        name = own_art(sample_id)
        if name not in art.files:
            raise SourceError("There is no trigger picture for this sample.", file=name)
        return rendered_art(art.picture(name), self.size, self.opacity, height, width)

    def describe(self) -> str:
        return f"each sample's own sticker {size_words(self.size)}{faint(self.opacity)}"


class Blend(Painted):
    """A picture stretched over the whole scene, faintly: the blended attack (Chen et al. 2017,
    arXiv:1712.05526, who mix in 0.1 to 0.2)."""

    spans = True
    words = "blend[:FILE]"

    kind: Literal["blend"] = "blend"
    opacity: Opacity = "0.1"
    art: ArtName = TRIGGER_ART
    art_pixels: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")

    @classmethod
    def parse(cls, argument: str, space: LabelSpace) -> tuple[Self, Art]:
        """``FILE``: a PNG; nothing: the drawn default."""
        art = Art({TRIGGER_ART: Path(argument) if argument else drawn(TRIGGER_ART)})
        return cls(art_pixels=art.digest(TRIGGER_ART)), art

    def art_files(self) -> dict[str, str]:
        return {self.art: self.art_pixels}

    def render(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        picture = art.picture(self.art)
        return _rendered(picture.tobytes(), picture.shape, height, width, self.opacity)

    def describe(self) -> str:
        return f"another picture over the whole scene{faint(self.opacity)}"

    def shown(self, where: str) -> str:
        return f"The trigger is {self.describe()}."


def drawn(name: str) -> Path:
    """The project's own art: the trigger, or the decoy that is measured in its place."""
    return Path(str(files("poisongen.art") / name))


def rendered_art(art: Pixels, size: Length | str, opacity: str, height: int, width: int) -> Pixels:
    """Art at its size in a picture of ``height``×``width``: premultiplied RGBA uint8. Raises RecipeError if
    it does not fit."""
    rows = size.pixels(height) if isinstance(size, Length) else art.shape[0]
    columns = (rows * art.shape[1] * 2 + art.shape[0]) // (2 * art.shape[0])
    require_fit(rows, columns, height, width, size)
    return _rendered(art.tobytes(), art.shape, rows, columns, opacity)


@lru_cache(maxsize=8)
def _rendered(data: bytes, shape: tuple[int, ...], rows: int, columns: int, opacity: str) -> Pixels:
    # Most datasets have one size: the art is rendered once in a process, not once a picture (1.5 ms).
    # Read-only, as it is shared.
    art = np.frombuffer(data, np.uint8).reshape(shape)
    flat = premultiplied(art)
    if (rows, columns) != art.shape[:2]:
        shrinks = rows <= art.shape[0] and columns <= art.shape[1]
        # OpenCV's uint8 area and linear resizes give the same pixels in every version tried.
        flat = cv2.resize(
            flat, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )  # type: ignore[assignment]
    if opacity != "1":
        flat = fade(flat, opacity)
    if not flat[..., 3].any():
        raise RecipeError(
            "The trigger art vanishes at its size.",
            expected="a pixel with alpha above 0",
            found=f"alpha 0 everywhere at {columns}×{rows} pixels, opacity {opacity}",
            todo="choose a larger --trigger-size or --opacity, or art with more to see",
        )
    flat.setflags(write=False)
    return flat


def size_words(size: Length | str) -> str:
    """``of 10.7% of the picture's height``."""
    if not isinstance(size, Length):
        return "of its own size"
    return f"of {size} of the picture's height" if size.unit == "%" else f"of {size}"


def faint(opacity: str) -> str:
    """How an opacity below 1 is told."""
    return "" if opacity == "1" else f", opacity {opacity}"
