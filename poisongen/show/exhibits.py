"""A row made ready to be shown: cells of the contact sheet, and encoded pictures for the report. Runs in
worker processes."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from poisongen.format.manifest import Row
from poisongen.imaging.pixels import Pixels, encode_png
from poisongen.show import marks
from poisongen.show.gallery import Bools, Task, View, Viewer
from poisongen.show.words import Classes

CELL = (330, 440)
"""Rows and columns of the largest picture on the contact sheet."""
OVERVIEW = 800
"""The longer side of a picture in the report."""
DETAIL = 240
"""The longer side of a detail in the report, which is shown pixel by pixel or magnified by a whole number."""
FEW_PIXELS = 100_000
"""Pictures up to this size are kept exactly; larger overviews are compressed with loss."""

PICTURES = ("clean", "after", "mask", "before", "label", "detail clean", "detail after", "own art")
"""Names of the pictures that an exhibit may have."""

MAX_POINTS = 20_000
"""Of an outline; what is smaller than what needs them is not outlined."""

_LEAST = 36  # pixels of a detail's side
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
class Exhibit:
    """A row as it is shown.

    ``cells``: of the contact sheet, in the order of ``sheet.HEADS``. ``pictures``: of the report, by their
    names in ``PICTURES``. ``path``: the outline of the trigger as an SVG path in the pixels of the picture
    ``after``. ``present``: the classes in its labels.
    """

    row: Row
    group: str
    cells: tuple[Cell, ...]
    pictures: Mapping[str, Picture]
    notes: Mapping[str, str]
    path: str
    present: tuple[int, ...]
    shows_victim: bool

    @property
    def withheld(self) -> bool:
        """Is the outline where the trigger would have been?"""
        return self.row.role == "label-only"


@dataclass(frozen=True)
class Exhibitor:
    """Makes a row ready to be shown."""

    viewer: Viewer

    def __call__(self, task: Task) -> Exhibit:
        """Raises VerifyError, as ``Viewer``."""
        view, row, classes = self.viewer(task), task.row, self.viewer.classes
        victim = (
            np.isin(view.before, classes.victims) if view.before is not None and classes.victims else None
        )
        start = _reference(row)
        outline = view.mask
        if row.placement and outline is None:
            outline = marks.box_mask((row.height, row.width), row.placement.box)
        present = np.unique(
            view.label if view.before is None else np.concatenate([view.label, view.before], axis=None)
        )
        return Exhibit(
            row=row,
            group=task.group,
            cells=_cells(view, classes, outline, victim, start),
            pictures=_pictures(view, classes, outline, victim, start),
            notes={"clean": view.clean_note, "before": view.before_note},
            path="" if outline is None else _path(outline, marks.within((row.height, row.width), OVERVIEW)),
            present=tuple(int(train) for train in present if train < len(classes.space.names)),
            shows_victim=outline is not None and victim is not None,
        )


def _reference(row: Row) -> tuple[int, int] | None:
    """The reference point of a trigger with a distance, inside of the picture."""
    if row.placement is None or row.placement.distance_sq is None:
        return None
    top, left, rows, columns = row.placement.box
    return min(row.height - 1, top + rows // 2), min(row.width - 1, left + columns // 2)


def _cells(
    view: View, classes: Classes, outline: Bools | None, victim: Bools | None, start: tuple[int, int] | None
) -> tuple[Cell, ...]:
    shape = view.label.shape[0], view.label.shape[1]
    size = marks.fitting(shape, CELL)
    around = None if outline is None else marks.touched(outline, size)

    def label(train: Pixels | None, note: str) -> Cell:
        return (
            Cell(None, note)
            if train is None
            else Cell(marks.coloured(marks.nearest(train, size), classes.space))
        )

    return (
        Cell(None, view.clean_note) if view.clean is None else Cell(marks.at_size(view.clean, size)),
        Cell(None, "no trigger") if around is None else Cell(marks.at_size(view.after, size), outline=around),
        Cell(None, "no trigger")
        if around is None
        else Cell(marks.overview(view.mask, victim, size, start, shape), framed=True),
        label(view.before, view.before_note),
        label(view.label, "") if view.relabelled else Cell(None, "unchanged: the true label"),
    )


def _pictures(
    view: View, classes: Classes, outline: Bools | None, victim: Bools | None, start: tuple[int, int] | None
) -> dict[str, Picture]:
    shape = view.label.shape[0], view.label.shape[1]
    size = marks.within(shape, OVERVIEW)
    few = size[0] * size[1] <= FEW_PIXELS
    found = {"after": _encoded(marks.at_size(view.after, size), exact=few, whole=few and size == shape)}
    if view.clean is not None and view.painted:
        found["clean"] = _encoded(marks.at_size(view.clean, size), exact=few, whole=few and size == shape)
    if outline is not None:
        found["mask"] = _encoded(
            marks.overview(view.mask, victim, size, start, shape), exact=True, whole=size == shape
        )
    for name, train in (("before", view.before if view.relabelled else None), ("label", view.label)):
        if train is not None:
            colours = marks.coloured(marks.nearest(train, size), classes.space)
            found[name] = _encoded(colours, exact=True, whole=size == shape)
    if view.mask is not None and view.mask.any() and view.painted:
        part = _detail(view.mask)
        found["detail after"] = _encoded(view.after[part], exact=True, whole=True)
        if view.clean is not None:
            found["detail clean"] = _encoded(view.clean[part], exact=True, whole=True)
    if view.art is not None:
        art = marks.at_size(view.art, marks.within(view.art.shape, DETAIL))
        found["own art"] = Picture(
            data_uri("png", encode_png(art)), art.shape[0], art.shape[1], art is view.art
        )
    return found


def _detail(mask: Bools) -> tuple[slice, slice]:
    """The trigger with a rim of a quarter of its size, or a small one with more; of one larger than
    ``DETAIL``, its top left part."""
    parts = []
    for axis in (1, 0):
        there = np.flatnonzero(mask.any(axis=axis))
        first, stop = int(there[0]), int(there[-1]) + 1
        rim = max(8, (stop - first) // 4)
        first = max(0, first - rim)
        parts.append(slice(first, min(mask.shape[1 - axis], max(stop + rim, first + _LEAST), first + DETAIL)))
    return parts[0], parts[1]


def _encoded(picture: Pixels, *, exact: bool, whole: bool) -> Picture:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, _EXACT if exact else _LOSSY])
    if not done:
        raise RuntimeError(f"OpenCV could not encode an array of shape {picture.shape} as WebP")
    return Picture(data_uri("webp", data.tobytes()), picture.shape[0], picture.shape[1], whole)


def data_uri(kind: str, data: bytes) -> str:
    """A picture's bytes as a page holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _path(mask: Bools, size: tuple[int, int]) -> str:
    """The outline of a mask as an SVG path in pixels of ``size``: through the pixels just outside of it."""
    region = np.pad(marks.touched(mask, size).astype(np.uint8), 2)
    contours, _ = cv2.findContours(
        cv2.dilate(region, np.ones((3, 3), np.uint8)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    pieces, left = [], MAX_POINTS
    for contour in sorted(contours, key=lambda contour: -cv2.contourArea(contour)):
        left -= len(contour)
        if left < 0:
            break
        points = np.clip(contour[:, 0, :] - 1.5, 0, (size[1], size[0]))
        pieces.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points.tolist()) + "Z")
    return "".join(pieces)
