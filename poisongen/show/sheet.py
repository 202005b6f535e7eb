"""The contact sheet ``gallery.png``: a row of pictures for each sample, captions, and the colours of the
classes that occur."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poisongen.imaging.pixels import Pixels
from poisongen.show import marks
from poisongen.show.exhibits import CELL, Exhibit
from poisongen.show.paper import MARGIN, NOTE, Paper, Style, writable
from poisongen.show.words import Classes, caption, printable

HEADS = ("clean picture", "with trigger", "trigger mask", "label before", "label after")

TITLE, TEXT, WARNING = Style(28, bold=True), Style(16), Style(16, marks.RED, bold=True)
HEAD, NAME = Style(16, marks.QUIET, bold=True), Style(16, bold=True)

_GAP, _BETWEEN, _NARROWEST = 14, 26, 150


@dataclass(frozen=True)
class Sheet:
    """The sheet, RGB uint8, and where each cell has its top left pixel: (row, column) for each exhibit and
    head."""

    pixels: Pixels
    places: tuple[tuple[tuple[int, int], ...], ...]


def contact_sheet(
    title: str, warning: str, about: Sequence[str], classes: Classes, exhibits: Sequence[Exhibit]
) -> Sheet:
    """Draw the sheet: at most 2,400 pixels wide, as long as it needs to be."""
    sizes = [marks.fitting((one.row.height, one.row.width), CELL) for one in exhibits]
    column = max([_NARROWEST, *(size[1] for size in sizes)])
    lefts = [MARGIN + index * (column + _GAP) for index in range(len(HEADS))]
    paper, places = Paper(lefts[-1] + column + MARGIN), []
    for text, style in ((title, TITLE), (warning, WARNING), *((line, TEXT) for line in about)):
        paper.paragraph(text, style)
    paper.at += _BETWEEN // 2
    for head, left in zip(HEADS, lefts, strict=True):
        paper.write(head, HEAD, left, paper.at)
    paper.at += HEAD.line + 6
    for one, size in zip(exhibits, sizes, strict=True):
        paper.write(
            NAME.shortened(writable(printable(one.row.id, 512)), paper.width - 2 * MARGIN),
            NAME,
            MARGIN,
            paper.at,
        )
        paper.at += NAME.line
        paper.paragraph(caption(one.row, classes), NOTE)
        paper.at += 6
        _lay(paper, one, size, lefts, classes)
        places.append(tuple((paper.at, left) for left in lefts))
        paper.at += size[0] + _BETWEEN
    _legend(paper, classes, exhibits)
    return Sheet(paper.finished(), tuple(places))


def _lay(paper: Paper, one: Exhibit, size: tuple[int, int], lefts: Sequence[int], classes: Classes) -> None:
    for cell, left in zip(one.cells, lefts, strict=True):
        if cell.picture is None:
            paper.plate(cell.note, size, left, paper.at)
            continue
        paper.picture(cell.picture, left, paper.at, framed=cell.framed)
        if cell.outline is not None:
            bands = marks.RING if classes.present is None else marks.THIN
            marks.ring(
                paper.canvas(paper.at + size[0]), paper.at, left, cell.outline, bands, dashed=one.withheld
            )


def _legend(paper: Paper, classes: Classes, exhibits: Sequence[Exhibit]) -> None:
    left = MARGIN
    for name, colour, hollow in _entries(classes, exhibits):
        text = NOTE.shortened(writable(name), 300)
        needed = 26 + NOTE.length(text) + 24
        if left > MARGIN and left + needed > paper.width - MARGIN:
            left, paper.at = MARGIN, paper.at + NOTE.line + 6
        swatch = paper.canvas(paper.at + NOTE.line)[paper.at + 3 : paper.at + 17, left : left + 18]
        swatch[:] = colour if hollow else marks.QUIET
        rim = 3 if hollow else 1
        swatch[rim:-rim, rim:-rim] = marks.PAPER if hollow else colour
        paper.write(text, NOTE, left + 26, paper.at)
        left += needed
    paper.at += NOTE.line


def _entries(classes: Classes, exhibits: Sequence[Exhibit]) -> Iterator[tuple[str, marks.Colour, bool]]:
    """Name, colour, and whether it is an outline, of everything in the pictures that has a meaning."""
    for train in sorted({train for one in exhibits for train in one.present}):
        yield classes.name(train), classes.space.colours[train], False
    yield "ignored", (marks.IGNORED,) * 3, False
    if any(one.path for one in exhibits):
        yield (
            ("trigger, withheld" if all(one.withheld for one in exhibits if one.path) else "trigger"),
            marks.RED,
            True,
        )
    if any(one.shows_victim for one in exhibits):
        yield f"{classes.names(classes.victims)}, in the mask", marks.VICTIM, False
        if any(one.row.placement and one.row.placement.distance_sq is not None for one in exhibits):
            yield "shortest way to it", marks.REACH, False
