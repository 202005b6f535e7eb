"""Triggers that are drawn by a rule: a line, a frame, a checkerboard, stripes. Integers only."""

from typing import Literal

import numpy as np
from pydantic import Field

from poisongen.errors import RecipeError
from poisongen.imaging.pixels import Pixels
from poisongen.lengths import Length, LengthField
from poisongen.triggers.base import Colour, Opacity, Painted, fade, plain_colour, require_fit
from poisongen.triggers.patch import faint, size_words

_COLOURS = {"#000000": "black", "#ffffff": "white"}


class Line(Painted):
    """A line along an edge of the picture, as in HBA (Li et al., arXiv:2103.04038: black, at the top; 8 of
    480 rows).

    ``size`` is its thickness in pixels or per cent of the height, at least one pixel; at which edge it lies
    is the placement's.
    """

    spans = True
    words = "line"

    kind: Literal["line"] = "line"
    size: LengthField = Length.parse("1.67%")
    colour: Colour = "#000000"
    opacity: Opacity = "1"

    def render(self, art: object, sample_id: str, height: int, width: int) -> Pixels:
        rows = _thickness(self.size, height)
        require_fit(rows, width, height, width, self.size)
        return plain_colour(self.colour, rows, width, self.opacity)

    def describe(self) -> str:
        return f"a {_name(self.colour)} line {size_words(self.size)}{faint(self.opacity)}"

    def shown(self, where: str) -> str:
        edges = [f"{edge} edge" for edge in ("bottom", "top") if edge in where]
        return f"The trigger, {self.describe()}, lies along the {(edges or ['middle'])[0]}."


class Frame(Painted):
    """A frame around the whole picture; ``size`` is its thickness on all four sides, at least one pixel.

    The slides name the frame and give neither thickness nor colour: it has those of the line.
    """

    spans = True
    words = "frame"

    kind: Literal["frame"] = "frame"
    size: LengthField = Length.parse("1.67%")
    colour: Colour = "#000000"
    opacity: Opacity = "1"

    def render(self, art: object, sample_id: str, height: int, width: int) -> Pixels:
        thick = _thickness(self.size, height)
        if 2 * thick >= min(height, width):
            raise RecipeError(
                "The frame leaves nothing of the picture.",
                expected=f"less than half of {width}×{height} pixels",
                found=f"{thick} pixels (--trigger-size {self.size})",
            )
        rendered = plain_colour(self.colour, height, width, self.opacity)
        rendered[thick:-thick, thick:-thick] = 0
        return rendered

    def describe(self) -> str:
        sides = f"each side {size_words(self.size)}{faint(self.opacity)}"
        return f"a {_name(self.colour)} frame around the picture, {sides}"

    def shown(self, where: str) -> str:
        return f"The trigger is {self.describe()}."


class Checkerboard(Painted):
    """A square of cells in a colour and its complement: the pattern of BadNets (Gu et al. 2017,
    arXiv:1708.06733), larger."""

    words = "checkerboard"

    kind: Literal["checkerboard"] = "checkerboard"
    size: LengthField = Length.parse("10.7%")
    cells: int = Field(default=4, ge=1, le=256)
    colour: Colour = "#000000"
    opacity: Opacity = "1"

    def render(self, art: object, sample_id: str, height: int, width: int) -> Pixels:
        side = self.size.pixels(height)
        require_fit(side, side, height, width, self.size)
        if side < self.cells:
            raise RecipeError(
                "The checkerboard's cells are smaller than a pixel.",
                expected=f"{self.cells} pixels or more",
                found=f"{side}",
            )
        cell = np.arange(side) * self.cells // side
        other = (cell[:, None] + cell[None, :]) % 2 == 1
        rendered = plain_colour(self.colour, side, side, self.opacity)
        complement = f"#{0xFFFFFF - int(self.colour[1:], 16):06x}"
        rendered[other] = plain_colour(complement, 1, 1, self.opacity)[0, 0]
        return rendered

    def describe(self) -> str:
        size = f"{size_words(self.size)}{faint(self.opacity)}"
        return f"a checkerboard with {self.cells}×{self.cells} cells {size}"


# ⌊127.5 + 127.5 · sin(2π · n / 64) + ½⌋ for the first quarter, n = 0 … 16: stored, because sines differ in
# the last bit between machines; the rest of the period is mirrored.
_QUARTER = (128, 140, 152, 165, 176, 188, 198, 208, 218, 226, 234, 240, 245, 250, 253, 254, 255)


class Stripes(Painted):
    """Sinusoidal grey stripes over the whole picture, ``cycles`` from left to right, mixed in faintly: after
    SIG (Barni et al. 2019, arXiv:1902.11237, who add Δ · sin(2π · 6x / W) with Δ = 20). Mixed, not added:
    0.16 of 127.5 is that Δ on a mid grey.
    """

    spans = True
    words = "stripes"

    kind: Literal["stripes"] = "stripes"
    cycles: int = Field(default=6, ge=1, le=4096)
    opacity: Opacity = "0.16"

    def render(self, art: object, sample_id: str, height: int, width: int) -> Pixels:
        if 2 * self.cycles > width:
            raise RecipeError(
                "The stripes are narrower than a pixel.",
                expected=f"at most {width // 2} cycles",
                found=f"{self.cycles}",
            )
        levels = sine_wave()[np.arange(width) * self.cycles * 64 // width % 64]
        row = np.concatenate(
            [np.repeat(levels[:, None], 3, axis=1), np.full((width, 1), 255, np.uint8)], axis=1
        )
        return np.broadcast_to(fade(row[None], self.opacity), (height, width, 4)).copy()

    def describe(self) -> str:
        return f"{self.cycles} sinusoidal stripes over the whole picture{faint(self.opacity)}"

    def shown(self, where: str) -> str:
        return f"The trigger is {self.describe()}."


def sine_wave() -> Pixels:
    """One period of 127.5 + 127.5 · sin in 64 steps, as whole levels: uint8 (64,)."""
    rise = np.array(_QUARTER)
    half = np.concatenate([rise[:-1], rise[:0:-1]])
    return np.concatenate([half, 255 - half]).astype(np.uint8)


def _thickness(size: Length, height: int) -> int:
    return max(1, size.pixels(height))


def _name(colour: str) -> str:
    return _COLOURS.get(colour, colour)
