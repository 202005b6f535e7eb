"""A sheet of paper to write and lay pictures on: text in one typeface, lines that fit."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from poisongen.imaging.pixels import Pixels
from poisongen.show import marks

MARGIN = 28
_PLATE, _RIM = (246, 248, 250), (208, 215, 222)


@dataclass(frozen=True)
class Style:
    """Text of a size in pixels, in a colour."""

    size: int
    colour: marks.Colour = marks.INK
    bold: bool = False

    @property
    def line(self) -> int:
        """The height of a line."""
        return self.size * 7 // 5

    def length(self, text: str) -> int:
        """How many pixels wide a text is."""
        return int(_face(self.size, self.bold).getlength(text)) + 1

    def shortened(self, text: str, width: int) -> str:
        """The text, or its beginning and its end, in at most ``width`` pixels."""
        kept, short = len(text), text
        while kept > 2 and self.length(short) > width:
            kept -= 1
            short = f"{text[: kept // 2]}…{text[-(kept - kept // 2) :]}"
        return short

    def wrapped(self, text: str, width: int) -> list[str]:
        """The text in lines of at most ``width`` pixels."""
        lines = [""]
        for word in writable(text).split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.length(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return [self.shortened(line, width) for line in lines]


NOTE = Style(15, marks.QUIET)


@lru_cache(maxsize=16)
def _face(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    # A part of DejaVu Sans lies beside this file, as Pillow's own font lacks umlauts and arrows.
    data = (files("poisongen.show") / f"sans{'-bold' if bold else ''}.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(data), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1 << 12)
def _has(character: str) -> bool:
    face = _face(32, False)
    return character == " " or bytes(face.getmask(character)) != bytes(face.getmask("\ue000"))


def writable(text: str) -> str:
    """Text in the letters of the typeface; any other letter as an escape."""
    return "".join(one if _has(one) else one.encode("unicode_escape").decode() for one in text)


class Paper:
    """A white canvas of a known width that grows downwards; ``at`` is the row where the next line goes."""

    def __init__(self, width: int) -> None:
        self.width, self.at = width, MARGIN
        self._pixels: Pixels = np.full((1024, width, 3), marks.PAPER, np.uint8)

    def canvas(self, bottom: int) -> Pixels:
        """All of it, to draw on, with at least ``bottom`` rows and room for an outline."""
        while self._pixels.shape[0] < bottom + MARGIN:
            self._pixels = np.concatenate([self._pixels, np.full_like(self._pixels, 255)])
        return self._pixels

    def finished(self) -> Pixels:
        """What was drawn on, with a margin below."""
        return self.canvas(self.at)[: self.at + MARGIN]

    def write(self, text: str, style: Style, left: int, top: int) -> None:
        """One line of text."""
        part = self.canvas(top + style.line)[top : top + style.line, left : left + style.length(text) + 2]
        image = Image.fromarray(part)
        ImageDraw.Draw(image).text((0, 0), text, font=_face(style.size, style.bold), fill=style.colour)
        part[:] = np.asarray(image)

    def paragraph(self, text: str, style: Style) -> None:
        """Lines over the whole width, below what is there."""
        for line in style.wrapped(text, self.width - 2 * MARGIN):
            self.write(line, style, MARGIN, self.at)
            self.at += style.line

    def plate(self, note: str, size: tuple[int, int], left: int, top: int) -> None:
        """A grey plate of ``size`` that says why there is no picture."""
        part = self.canvas(top + size[0])[top : top + size[0], left : left + size[1]]
        part[:] = _RIM
        part[1:-1, 1:-1] = _PLATE
        lines = NOTE.wrapped(note, size[1] - 16)[: max(1, size[0] // NOTE.line)]
        for index, line in enumerate(lines):
            start = left + (size[1] - NOTE.length(line)) // 2
            self.write(line, NOTE, start, top + (size[0] - NOTE.line * len(lines)) // 2 + index * NOTE.line)

    def picture(self, pixels: Pixels, left: int, top: int, *, framed: bool) -> None:
        """A picture, pixel by pixel; a frame of a pixel around it sets a white one apart from the paper."""
        rows, columns = pixels.shape[:2]
        canvas = self.canvas(top + rows)
        if framed:
            canvas[top - 1 : top + rows + 1, left - 1 : left + columns + 1] = _RIM
        canvas[top : top + rows, left : left + columns] = pixels
