"""What every trigger is: it turns a picture into a picture that shows it, and a mask of where it is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from poisongen.choices import Choice
from poisongen.disk import read_file
from poisongen.errors import RecipeError
from poisongen.imaging.pixels import Box, Pixels, decode_art, digest_pixels
from poisongen.labels import LabelSpace
from poisongen.lengths import parse_share, share_of

MAX_SIDE = 1 << 13


def parse_colour(text: str) -> str:
    """``#rrggbb`` in lower case. Raises RecipeError."""
    if not re.fullmatch("#[0-9a-f]{6}", text):
        raise RecipeError(
            "The colour cannot be read.",
            expected="--colour #rrggbb, e.g. #ff0000 for red",
            found=repr(text[:40]),
        )
    return text


Colour = Annotated[str, AfterValidator(parse_colour)]
"""``#rrggbb``, lower case."""

Opacity = Annotated[str, AfterValidator(lambda text: parse_share(text, "opacity"))]
"""A share in (0, 1] as a plain decimal: 1 hides what lies below."""


@dataclass(frozen=True)
class Art:
    """Pictures that triggers are made of: their name in a dataset folder → where they lie now. Read when they
    are needed."""

    files: Mapping[str, Path] = field(default_factory=dict)

    def picture(self, name: str) -> Pixels:
        """RGBA uint8 (h, w, 4). Raises SourceError for a file that cannot be read, KeyError for a name that
        is not there."""
        path = self.files[name]
        status = path.stat() if path.exists() else None
        return _read(path, status.st_mtime_ns if status else 0)

    def digest(self, name: str) -> str:
        """The digest of a picture's RGBA pixels."""
        return digest_pixels(self.picture(name))

    def __or__(self, other: "Art") -> "Art":
        return Art({**self.files, **other.files})


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Pixels:
    art = decode_art(read_file(path), path)
    art.setflags(write=False)
    return art


@dataclass(frozen=True)
class Triggered:
    """A picture that shows a trigger, RGB uint8 (H, W, 3), and its mask: uint8 (H, W), 255 where the trigger
    is, 0 where no pixel changed."""

    picture: Pixels
    mask: Pixels


class Trigger(Choice):
    """What is shown.

    A trigger has ``apply``, which turns a picture into one that shows it, and ``mask_in``, which says where
    it is without a look at the picture: planning knows label maps only. ``Painted`` has both for whatever is
    laid over the picture.
    """

    placed: ClassVar[bool] = True
    """A placement says where it lies; else there is no box."""
    alters_picture: ClassVar[bool] = True
    """False: what it shows is in the picture already, ``apply`` is never called, and the picture stays."""
    spans: ClassVar[bool] = False
    """As wide or as high as the picture, so that it lies on no single surface."""
    words: ClassVar[str] = ""
    """How the command line names it, for lists and error messages."""

    @classmethod
    def parse(cls, argument: str, space: LabelSpace) -> tuple[Self, Art]:
        """The trigger that ``--trigger KIND:argument`` names, and its art. Raises RecipeError."""
        if argument:
            raise RecipeError(
                f"The trigger {cls.words} takes no argument.",
                found=argument[:80],
                todo=f"give {cls.words} alone",
            )
        return cls.model_validate({"kind": cls.model_fields["kind"].default}), Art()

    def art_files(self) -> dict[str, str]:
        """The art that all samples share: name in the folder → digest of its RGBA pixels."""
        return {}

    def art_of(self, sample_id: str) -> str | None:
        """The name of the art that is this sample's own; None if it has none."""
        return None

    def footprint_in(self, art: Art, sample_id: str, height: int, width: int) -> NDArray[np.bool_]:
        """The form of a placed trigger in a picture of ``height``×``width``: bool (h, w), true where it
        covers.

        Raises RecipeError if it does not fit into the picture.
        """
        raise NotImplementedError

    def mask_in(self, train: Pixels, art: Art, sample_id: str, box: Box | None) -> Pixels:
        """The mask, uint8 (H, W) of 0 and 255, in the picture with the label map ``train``: training ids,
        uint8 (H, W).

        The footprint at ``box`` for a placed trigger, which is the mask that ``apply`` gives; everything for
        one that is not placed.
        """
        if box is None:
            return np.full(train.shape, 255, np.uint8)
        height, width = train.shape
        top, left, _, _ = box
        return mask((height, width), self.footprint_in(art, sample_id, height, width), top, left)

    def apply(self, picture: Pixels, art: Art, sample_id: str, box: Box | None) -> Triggered:
        """The picture with the trigger, and the trigger's mask; ``picture``, RGB uint8 (H, W, 3), is not
        changed.

        ``box`` is where a placement wants it, None for a trigger that is not placed. Raises SourceError for
        art that cannot be read, RecipeError for a trigger that does not fit into the picture.
        """
        raise NotImplementedError

    def describe(self) -> str:
        """What is shown, in words: ``a black line of 8px``."""
        raise NotImplementedError

    def shown(self, where: str) -> str:
        """A sentence: what is shown ``where`` a placement says."""
        return f"The trigger, {self.describe()}, lies {where}."


class Painted(Trigger):
    """A trigger that is painted over the picture: the usual case. A subclass needs ``render`` alone."""

    def render(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        """The trigger in a picture of ``height``×``width``: RGBA uint8 (h, w, 4) with colours multiplied by
        alpha.

        Raises RecipeError if it does not fit into the picture.
        """
        raise NotImplementedError

    def _rendered(self, art: Art, sample_id: str, height: int, width: int) -> Pixels:
        """What ``render`` gives, if it is what it should be. Raises RecipeError."""
        rendered: object = self.render(art, sample_id, height, width)
        found = type(rendered).__name__
        if isinstance(rendered, np.ndarray):
            if rendered.dtype == np.uint8 and rendered.ndim == 3 and rendered.shape[2] == 4:
                return rendered
            found = f"{rendered.dtype} {rendered.shape}"
        raise RecipeError(
            f"The trigger {self.kind} is not rendered as RGBA.", expected="uint8 (h, w, 4)", found=found
        )

    def footprint_in(self, art: Art, sample_id: str, height: int, width: int) -> NDArray[np.bool_]:
        return footprint(self._rendered(art, sample_id, height, width))

    def apply(self, picture: Pixels, art: Art, sample_id: str, box: Box | None) -> Triggered:
        assert box is not None  # a recipe has a placement for each trigger that needs one
        height, width = picture.shape[:2]
        rendered = self._rendered(art, sample_id, height, width)
        top, left, _, _ = box
        shown = picture.copy()
        paint(shown, rendered, top, left)
        return Triggered(shown, mask((height, width), footprint(rendered), top, left))


def footprint(rendered: Pixels) -> NDArray[np.bool_]:
    """Where the trigger is: alpha above 0. Bool of shape (h, w)."""
    return rendered[..., 3] > 0


def paint(picture: Pixels, rendered: Pixels, top: int, left: int) -> None:
    """Lay a rendered trigger over a picture, in place: (premultiplied · 255 + (255 - alpha) · background +
    127) // 255, exactly.

    ``picture`` is RGB uint8 (H, W, 3), ``rendered`` RGBA uint8 (h, w, 4) as ``Painted.render`` gives it,
    inside the picture.
    """
    rows, columns = rendered.shape[:2]
    region = picture[top : top + rows, left : left + columns]
    through = (255 - rendered[..., 3:].astype(np.uint32)) * region
    region[:] = np.minimum(rendered[..., :3] + (through + 127) // 255, 255)


def mask(shape: tuple[int, int], covered: NDArray[np.bool_], top: int, left: int) -> Pixels:
    """The trigger mask of a picture of ``shape``: uint8, 255 where ``covered`` (h, w), laid at (top, left),
    is true."""
    picture = np.zeros(shape, np.uint8)
    picture[top : top + covered.shape[0], left : left + covered.shape[1]][covered] = 255
    return picture


def premultiplied(pixels: Pixels) -> Pixels:
    """RGBA with colours multiplied by alpha, rounded half up: uint8 of the same shape."""
    alpha = pixels[..., 3:].astype(np.uint32)
    return np.concatenate([(pixels[..., :3] * alpha + 127) // 255, alpha], axis=2).astype(np.uint8)


def fade(flat: Pixels, opacity: str) -> Pixels:
    """Premultiplied RGBA with less opacity: every channel by the share, rounded half up."""
    return ((flat.astype(np.uint32) * share_of(opacity, 255) + 127) // 255).astype(np.uint8)


def plain_colour(colour: str, rows: int, columns: int, opacity: str) -> Pixels:
    """A rectangle of one colour, premultiplied RGBA uint8 (rows, columns, 4)."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    opaque = np.full((rows, columns, 4), (red, green, blue, 255), np.uint8)
    return fade(opaque, opacity)


def require_fit(rows: int, columns: int, height: int, width: int, asked: object) -> None:
    """Raise RecipeError unless rows×columns is at least one pixel and fits into height×width."""
    if not (1 <= rows <= min(height, MAX_SIDE) and 1 <= columns <= min(width, MAX_SIDE)):
        raise RecipeError(
            "The trigger does not fit into the picture.",
            expected=f"1×1 to {width}×{height} pixels",
            found=f"{columns}×{rows} (--trigger-size {asked})",
            todo="choose another --trigger-size"
            if rows
            else "the size rounds to nothing: choose a larger --trigger-size",
        )
