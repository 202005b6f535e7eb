"""What is shown: the trigger and how it gets into a picture."""

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from poisongen.errors import RecipeError
from poisongen.lengths import LengthField
from poisongen.pixels import Pixels

MAX_SIDE = 1 << 13


class Patch(BaseModel):
    """A picture laid over the scene, as in IBA (Lan et al., arXiv:2303.12054: 55×55 px at 1024×512, 10.7 % of the height).

    ``size`` is the patch's height, in pixels or per cent of the picture's height; its width follows from the art's aspect.
    ``art_pixels`` is the digest of the RGBA art: a recipe names the exact picture, and the picture travels beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["patch"] = "patch"
    size: LengthField
    art_pixels: str

    def shape(self, art: Pixels, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the trigger in a picture of ``height``×``width``; RecipeError if it does not fit into it."""
        rows = self.size.pixels(height)
        columns = (rows * art.shape[1] * 2 + art.shape[0]) // (2 * art.shape[0])
        if not (1 <= rows <= min(height, MAX_SIDE) and 1 <= columns <= min(width, MAX_SIDE)):
            raise RecipeError(
                "The trigger does not fit into the picture.",
                expected=f"1×1 to {width}×{height} pixels",
                found=f"{columns}×{rows} (--trigger-size {self.size})",
                remedy="choose another --trigger-size" if rows else "the size rounds to nothing: choose a larger --trigger-size",
            )
        return rows, columns

    def render(self, art: Pixels, height: int, width: int) -> Pixels:
        """The trigger at its size in a picture of ``height``×``width``: RGBA uint8 with colours multiplied by alpha.

        Premultiplied, so that resizing does not bleed the colour of invisible pixels into the rim. OpenCV's uint8 area and
        linear resizes give the same pixels in every version tried.
        """
        rows, columns = self.shape(art, height, width)
        return _rendered(art.tobytes(), art.shape, rows, columns)


@lru_cache(maxsize=8)
def _rendered(data: bytes, shape: tuple[int, ...], rows: int, columns: int) -> Pixels:
    # Most datasets have one size: the art is rendered once in a process, not once a picture (1.5 ms). Read-only, as it is shared.
    art = np.frombuffer(data, np.uint8).reshape(shape)
    colour, alpha = art[..., :3].astype(np.uint16), art[..., 3:]
    flat: Pixels = np.concatenate([((colour * alpha + 127) // 255).astype(np.uint8), alpha], axis=2)
    if (rows, columns) != art.shape[:2]:
        shrinks = rows <= art.shape[0] and columns <= art.shape[1]
        flat = cv2.resize(flat, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)  # type: ignore[assignment]
    if not flat[..., 3].any():
        raise RecipeError(
            "The trigger art vanishes at its size.",
            expected="a pixel with alpha above 0",
            found=f"alpha 0 everywhere at {columns}×{rows} pixels",
            remedy="choose a larger --trigger-size, or art with more to see",
        )
    flat.setflags(write=False)
    return flat


def footprint(rendered: Pixels) -> NDArray[np.bool_]:
    """Where the trigger is: alpha above 0. Bool of shape (h, w)."""
    return rendered[..., 3] > 0


def paint(picture: Pixels, rendered: Pixels, top: int, left: int) -> None:
    """Lay a rendered trigger over a picture, in place: (premultiplied · 255 + (255 - alpha) · background + 127) // 255, exactly.

    ``picture`` is RGB uint8 (H, W, 3), ``rendered`` RGBA uint8 (h, w, 4) as ``Patch.render`` gives it, inside the picture.
    """
    rows, columns = rendered.shape[:2]
    region = picture[top : top + rows, left : left + columns]
    through = (255 - rendered[..., 3:].astype(np.uint32)) * region
    region[:] = np.minimum(rendered[..., :3] + (through + 127) // 255, 255)


def mask(shape: tuple[int, int], covered: NDArray[np.bool_], top: int, left: int) -> Pixels:
    """The trigger mask of a picture of ``shape``: uint8, 255 where ``covered`` (h, w), laid at (top, left), is true."""
    picture = np.zeros(shape, np.uint8)
    picture[top : top + covered.shape[0], left : left + covered.shape[1]][covered] = 255
    return picture
