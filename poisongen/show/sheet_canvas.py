"""A canvas that grows downwards, to write and lay pictures on: text in one typeface, lines that fit."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from poisongen.imaging.pixels import Pixels
from poisongen.show import overlays
from poisongen.show.overlays import Colour
from poisongen.show.resize import Size
from poisongen.show.text import escaped

MARGIN = 28
PLATE: Colour = (246, 248, 250)
RIM: Colour = (208, 215, 222)


@dataclass(frozen=True)
class Style:
    """Text of a size in pixels, in a colour."""

    size: int
    colour: Colour = overlays.INK
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
            beginning = text[: kept // 2]
            end = text[-(kept - kept // 2) :]
            short = f"{beginning}…{end}"
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


NOTE = Style(15, overlays.QUIET)


@lru_cache(maxsize=16)
def _face(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    # A part of DejaVu Sans lies beside this file, as Pillow's own font lacks umlauts and arrows.
    name = "sans-bold.ttf" if bold else "sans.ttf"
    data = (files("poisongen.show") / name).read_bytes()
    return ImageFont.truetype(BytesIO(data), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1 << 12)
def _has(character: str) -> bool:
    if character == " ":
        return True
    face = _face(32, False)
    no_such_character = face.getmask("\ue000")  # a box, as it is drawn for all that a typeface lacks
    return bytes(face.getmask(character)) != bytes(no_such_character)


def writable(text: str) -> str:
    """Text in the characters of the typeface; any other one as an escape."""
    return "".join(character if _has(character) else escaped(character) for character in text)


class SheetCanvas:
    """White, of a known width; ``at`` is the row where the next line goes."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.at = MARGIN
        self._pixels: Pixels = np.full((1024, width, 3), overlays.PAPER, np.uint8)

    def pixels(self, bottom: int) -> Pixels:
        """All of it, to draw on, with at least ``bottom`` rows and room for an outline."""
        while self._pixels.shape[0] < bottom + MARGIN:
            more = np.full_like(self._pixels, 255)
            self._pixels = np.concatenate([self._pixels, more])
        return self._pixels

    def finished(self) -> Pixels:
        """What was drawn on, with a margin below."""
        return self.pixels(self.at)[: self.at + MARGIN]

    def write(self, text: str, style: Style, left: int, top: int) -> None:
        """One line of text."""
        bottom = top + style.line
        right = left + style.length(text) + 2
        part = self.pixels(bottom)[top:bottom, left:right]
        image = Image.fromarray(part)
        face = _face(style.size, style.bold)
        ImageDraw.Draw(image).text((0, 0), text, font=face, fill=style.colour)
        part[:] = np.asarray(image)

    def paragraph(self, text: str, style: Style) -> None:
        """Lines over the whole width, below what is there."""
        for line in style.wrapped(text, self.width - 2 * MARGIN):
            self.write(line, style, MARGIN, self.at)
            self.at += style.line

    def plate(self, note: str, size: Size, left: int, top: int) -> None:
        """A grey plate of ``size`` that says why there is no picture."""
        bottom, right = top + size.height, left + size.width
        part = self.pixels(bottom)[top:bottom, left:right]
        part[:] = RIM
        part[1:-1, 1:-1] = PLATE
        most_lines = max(1, size.height // NOTE.line)
        lines = NOTE.wrapped(note, size.width - 16)[:most_lines]
        height_of_text = NOTE.line * len(lines)
        at = top + (size.height - height_of_text) // 2
        for line in lines:
            indent = (size.width - NOTE.length(line)) // 2
            self.write(line, NOTE, left + indent, at)
            at += NOTE.line

    def picture(self, pixels: Pixels, left: int, top: int, *, framed: bool) -> None:
        """A picture, pixel by pixel; a frame of a pixel around it sets a white one apart from the ground."""
        height, width = pixels.shape[:2]
        bottom, right = top + height, left + width
        canvas = self.pixels(bottom)
        if framed:
            canvas[top - 1 : bottom + 1, left - 1 : right + 1] = RIM
        canvas[top:bottom, left:right] = pixels
