"""The contact sheet ``gallery.png``: a row of pictures for each sample, captions, and the colours of the
classes that occur."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poisongen.imaging.pixels import Pixels
from poisongen.show import overlays
from poisongen.show.captions import caption
from poisongen.show.classes import Classes
from poisongen.show.overlays import Colour
from poisongen.show.rendered import CELL, RenderedRow
from poisongen.show.resize import Size, fitting
from poisongen.show.sheet_canvas import MARGIN, NOTE, SheetCanvas, Style, writable
from poisongen.show.text import printable

HEADS = ("clean picture", "with trigger", "trigger mask", "label before", "label after")

TITLE = Style(28, bold=True)
TEXT = Style(16)
WARNING = Style(16, overlays.RED, bold=True)
HEAD = Style(16, overlays.QUIET, bold=True)
NAME = Style(16, bold=True)

_GAP = 14
"""Between two pictures beside each other, in pixels, as all that follows."""
_BETWEEN = 26
"""Between two samples."""
_NARROWEST = 150
"""A column of pictures: its head must fit."""
_BEFORE_PICTURES = 6
_SWATCH = Size(14, 18)
_SWATCH_TO_NAME = 26
_AFTER_NAME = 24


@dataclass(frozen=True)
class Entry:
    """Of the legend: a colour and what it means; ``hollow``: it is an outline."""

    name: str
    colour: Colour
    hollow: bool = False


def contact_sheet(
    title: str, warning: str, about: Sequence[str], classes: Classes, rows: Sequence[RenderedRow]
) -> Pixels:
    """Draw the sheet, RGB uint8: at most 2,400 pixels wide, as long as it needs to be."""
    sizes = [fitting(Size(one.row.height, one.row.width), CELL) for one in rows]
    column = max([_NARROWEST, *(size.width for size in sizes)])
    lefts = [MARGIN + index * (column + _GAP) for index in range(len(HEADS))]
    canvas = SheetCanvas(lefts[-1] + column + MARGIN)
    canvas.paragraph(title, TITLE)
    canvas.paragraph(warning, WARNING)
    for line in about:
        canvas.paragraph(line, TEXT)
    canvas.at += _BETWEEN // 2
    for head, left in zip(HEADS, lefts, strict=True):
        canvas.write(head, HEAD, left, canvas.at)
    canvas.at += HEAD.line + _BEFORE_PICTURES
    for one, size in zip(rows, sizes, strict=True):
        _lay_row(canvas, one, size, lefts, classes)
    _lay_legend(canvas, _entries(classes, rows))
    return canvas.finished()


def _lay_row(
    canvas: SheetCanvas, one: RenderedRow, size: Size, lefts: Sequence[int], classes: Classes
) -> None:
    """A sample's name, its caption, and its pictures beside each other."""
    name = writable(printable(one.row.id, 512))
    canvas.write(NAME.shortened(name, canvas.width - 2 * MARGIN), NAME, MARGIN, canvas.at)
    canvas.at += NAME.line
    canvas.paragraph(caption(one.row, classes), NOTE)
    canvas.at += _BEFORE_PICTURES
    bands = overlays.RING if classes.present is None else overlays.THIN
    for cell, left in zip(one.cells, lefts, strict=True):
        if cell.picture is None:
            canvas.plate(cell.note, size, left, canvas.at)
            continue
        canvas.picture(cell.picture, left, canvas.at, framed=cell.framed)
        if cell.outline is not None:
            pixels = canvas.pixels(canvas.at + size.height)
            overlays.ring(pixels, canvas.at, left, cell.outline, bands, dashed=one.withheld)
    canvas.at += size.height + _BETWEEN


def _lay_legend(canvas: SheetCanvas, entries: Iterator[Entry]) -> None:
    """Colours and names, beside each other as long as they fit."""
    left = MARGIN
    for entry in entries:
        text = NOTE.shortened(writable(entry.name), 300)
        needed = _SWATCH_TO_NAME + NOTE.length(text) + _AFTER_NAME
        fits = left + needed <= canvas.width - MARGIN
        if left > MARGIN and not fits:
            left = MARGIN
            canvas.at += NOTE.line + 6
        _lay_swatch(canvas, entry, left)
        canvas.write(text, NOTE, left + _SWATCH_TO_NAME, canvas.at)
        left += needed
    canvas.at += NOTE.line


def _lay_swatch(canvas: SheetCanvas, entry: Entry, left: int) -> None:
    """A rectangle of the colour with a thin rim, or an outline in it."""
    top = canvas.at + 3
    bottom, right = top + _SWATCH.height, left + _SWATCH.width
    swatch = canvas.pixels(canvas.at + NOTE.line)[top:bottom, left:right]
    if entry.hollow:
        swatch[:] = entry.colour
        swatch[3:-3, 3:-3] = overlays.PAPER
    else:
        swatch[:] = overlays.QUIET
        swatch[1:-1, 1:-1] = entry.colour


def _entries(classes: Classes, rows: Sequence[RenderedRow]) -> Iterator[Entry]:
    """Everything in the pictures that has a meaning."""
    present = {train for one in rows for train in one.present}
    for train in sorted(present):
        yield Entry(classes.name(train), classes.space.colours[train])
    yield Entry("ignored", overlays.IGNORED)
    outlined = [one for one in rows if one.path]
    if outlined:
        all_withheld = all(one.withheld for one in outlined)
        yield Entry("trigger, withheld" if all_withheld else "trigger", overlays.RED, hollow=True)
    if any(one.shows_victim for one in rows):
        yield Entry(f"{classes.names(classes.victims)}, in the mask", overlays.VICTIM)
        placements = [one.row.placement for one in rows if one.row.placement]
        if any(placement.distance_sq is not None for placement in placements):
            yield Entry("shortest way to it", overlays.REACH)
