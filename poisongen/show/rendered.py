"""A row made ready to be shown: cells of the contact sheet, and encoded pictures for the report. Runs in
worker processes."""

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from poisongen.format.manifest import Row
from poisongen.imaging.pixels import Pixels, encode_png
from poisongen.show import overlays
from poisongen.show.classes import Classes
from poisongen.show.resize import Bools, Size, at_size, fitting, nearest, touched, within
from poisongen.show.views import PixelsOrNote, Task, View, Viewer

CELL = Size(330, 440)
"""The largest picture on the contact sheet."""
OVERVIEW = 800
"""The longer side of a picture in the report."""
DETAIL = 240
"""The longer side of a detail in the report, which is shown pixel by pixel or magnified by a whole number."""
FEW_PIXELS = 100_000
"""Pictures up to this size are kept exactly; larger overviews are compressed with loss."""
MAX_POINTS = 20_000
"""Of an outline; what is smaller than what needs them is not outlined."""

_SMALLEST_DETAIL = 36  # pixels of its side
_LOSSY, _EXACT = 90, 101  # OpenCV's WebP qualities: above 100 is lossless


@dataclass(frozen=True)
class Cell:
    """One picture of the contact sheet, RGB uint8, or why there is none.

    ``outline`` (h, w) is what to draw around; ``framed``: the picture may be white.
    """

    picture: Pixels | None
    note: str = ""
    outline: Bools | None = None
    framed: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture of the report: its data URI, its size in pixels there, and whether it is ``whole``: every
    pixel as in the folder."""

    uri: str
    height: int
    width: int
    whole: bool


@dataclass(frozen=True)
class ReportPictures:
    """The pictures of the report; None for those that a row has not."""

    after: Picture
    label: Picture
    clean: Picture | None = None
    before: Picture | None = None
    mask: Picture | None = None
    detail_clean: Picture | None = None
    detail_after: Picture | None = None
    own_art: Picture | None = None


@dataclass(frozen=True)
class RenderedRow:
    """A row as it is shown.

    ``cells``: of the contact sheet, in the order of ``contact_sheet.HEADS``. ``clean_note``, ``before_note``:
    why the clean picture or the label before is not shown. ``path``: the outline of the trigger as an SVG
    path in the pixels of the picture ``after``. ``present``: the classes in its labels.
    """

    row: Row
    group: str
    cells: tuple[Cell, ...]
    pictures: ReportPictures
    clean_note: str
    before_note: str
    path: str
    present: tuple[int, ...]
    shows_victim: bool

    @property
    def withheld(self) -> bool:
        """Is the outline where the trigger would have been?"""
        return self.row.role == "label-only"


@dataclass(frozen=True)
class Marked:
    """A view, and what is drawn over it: the outline of the trigger, or of where it would have been, the
    victim, and the trigger's reference point (row, column)."""

    view: View
    outline: Bools | None
    victim: Bools | None
    reference: tuple[int, int] | None

    @property
    def size(self) -> Size:
        """Of the row's pictures."""
        return Size.of(self.view.label)

    def overview(self, size: Size) -> Pixels:
        """Trigger mask and victim as a picture, RGB uint8."""
        return overlays.overview(self.view.mask, self.victim, self.reference, size)


@dataclass(frozen=True)
class RowRenderer:
    """Makes a row ready to be shown."""

    viewer: Viewer

    def __call__(self, task: Task) -> RenderedRow:
        """Raises VerifyError, as ``Viewer``."""
        classes, row = self.viewer.classes, task.row
        view = self.viewer(task)
        marked = mark(view, row, classes)
        return RenderedRow(
            row=row,
            group=task.group,
            cells=_cells(marked, classes),
            pictures=_pictures(marked, classes),
            clean_note=view.clean.note,
            before_note=view.before.note,
            path=_path(marked),
            present=_present(view, classes),
            shows_victim=marked.outline is not None and marked.victim is not None,
        )


def mark(view: View, row: Row, classes: Classes) -> Marked:
    """What is drawn over the pictures of a row."""
    outline, victim = view.mask, None
    if outline is None and row.placement:
        outline = overlays.box_mask(Size(row.height, row.width), row.placement.box)
    if view.before.pixels is not None and classes.victims:
        victim = np.isin(view.before.pixels, classes.victims)
    return Marked(view, outline, victim, _reference(row))


def _reference(row: Row) -> tuple[int, int] | None:
    """The reference point of a trigger with a distance, inside of the picture."""
    if row.placement is None or row.placement.distance_sq is None:
        return None
    top, left, rows, columns = row.placement.box
    middle_row, middle_column = top + rows // 2, left + columns // 2
    return min(row.height - 1, middle_row), min(row.width - 1, middle_column)


def _present(view: View, classes: Classes) -> tuple[int, ...]:
    """The classes in the labels, before and after."""
    found = set(np.unique(view.label).tolist())
    if view.before.pixels is not None:
        found |= set(np.unique(view.before.pixels).tolist())
    return tuple(train for train in sorted(found) if train < len(classes.space.names))


def _cells(marked: Marked, classes: Classes) -> tuple[Cell, ...]:
    view = marked.view
    size = fitting(marked.size, CELL)
    clean = _picture_cell(view.clean, size)
    before = _label_cell(view.before, size, classes)
    if view.relabelled:
        after_label = _label_cell(PixelsOrNote(view.label), size, classes)
    else:
        after_label = Cell(None, "unchanged: the true label")
    if marked.outline is None:
        with_trigger = mask = Cell(None, "no trigger")
    else:
        around = touched(marked.outline, size)
        with_trigger = Cell(at_size(view.after, size), outline=around)
        mask = Cell(marked.overview(size), framed=True)
    return clean, with_trigger, mask, before, after_label


def _picture_cell(picture: PixelsOrNote, size: Size) -> Cell:
    if picture.pixels is None:
        return Cell(None, picture.note)
    return Cell(at_size(picture.pixels, size))


def _label_cell(train: PixelsOrNote, size: Size, classes: Classes) -> Cell:
    if train.pixels is None:
        return Cell(None, train.note)
    return Cell(overlays.coloured(nearest(train.pixels, size), classes.space))


def _pictures(marked: Marked, classes: Classes) -> ReportPictures:
    view = marked.view
    size = within(marked.size, OVERVIEW)
    every_pixel = size == marked.size
    few = size.height * size.width <= FEW_PIXELS

    def photo(picture: Pixels) -> Picture:
        return _encoded(at_size(picture, size), exact=few, whole=few and every_pixel)

    def label_map(train: Pixels) -> Picture:
        colours = overlays.coloured(nearest(train, size), classes.space)
        return _encoded(colours, exact=True, whole=every_pixel)

    clean = before = mask = None
    if view.clean.pixels is not None and view.painted:
        clean = photo(view.clean.pixels)
    if view.before.pixels is not None and view.relabelled:
        before = label_map(view.before.pixels)
    if marked.outline is not None:
        mask = _encoded(marked.overview(size), exact=True, whole=every_pixel)
    detail_clean, detail_after = _details(view)
    return ReportPictures(
        after=photo(view.after),
        label=label_map(view.label),
        clean=clean,
        before=before,
        mask=mask,
        detail_clean=detail_clean,
        detail_after=detail_after,
        own_art=None if view.art is None else _art(view.art),
    )


def _details(view: View) -> tuple[Picture | None, Picture | None]:
    """The trigger's surroundings, clean and with it, pixel by pixel; none where nothing is painted."""
    if view.mask is None or not view.mask.any() or not view.painted:
        return None, None
    part = _surroundings(view.mask)
    after = _encoded(view.after[part], exact=True, whole=True)
    if view.clean.pixels is None:
        return None, after
    return _encoded(view.clean.pixels[part], exact=True, whole=True), after


def _art(art: Pixels) -> Picture:
    size = within(Size.of(art), DETAIL)
    shown = at_size(art, size)
    return Picture(data_uri("png", encode_png(shown)), size.height, size.width, whole=shown is art)


def _surroundings(mask: Bools) -> tuple[slice, slice]:
    """The trigger with a rim of a quarter of its size, or a small one with more; of one larger than
    ``DETAIL``, its top left part."""
    rows, columns = np.logical_or.reduce(mask, axis=1), np.logical_or.reduce(mask, axis=0)
    return _stretch(rows), _stretch(columns)


def _stretch(covered: Bools) -> slice:
    """Of one side: from the first to the last pixel that is covered, with a rim."""
    there = np.flatnonzero(covered)
    first, stop = int(there[0]), int(there[-1]) + 1
    rim = max(8, (stop - first) // 4)
    begin = max(0, first - rim)
    end = max(stop + rim, begin + _SMALLEST_DETAIL)
    return slice(begin, min(covered.size, end, begin + DETAIL))


def _encoded(picture: Pixels, *, exact: bool, whole: bool) -> Picture:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    quality = _EXACT if exact else _LOSSY
    done, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise RuntimeError(f"OpenCV could not encode an array of shape {picture.shape} as WebP")
    height, width = picture.shape[:2]
    return Picture(data_uri("webp", data.tobytes()), height, width, whole)


def data_uri(kind: str, data: bytes) -> str:
    """A picture's bytes as a page holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _path(marked: Marked) -> str:
    """The outline of the trigger as an SVG path: through the pixels just outside of it, the largest parts
    first."""
    if marked.outline is None:
        return ""
    size = within(marked.size, OVERVIEW)
    region = np.pad(touched(marked.outline, size).astype(np.uint8), 2)
    grown = cv2.dilate(region, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(grown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    pieces, points_left = [], MAX_POINTS
    for contour in sorted(contours, key=lambda contour: -cv2.contourArea(contour)):
        points_left -= len(contour)
        if points_left < 0:
            break
        padding = 1.5  # 2, less half a pixel: through the middle of the pixels
        points = np.clip(contour[:, 0, :] - padding, 0, (size.width, size.height))
        corners = "L".join(f"{x:g} {y:g}" for x, y in points.tolist())
        pieces.append(f"M{corners}Z")
    return "".join(pieces)
