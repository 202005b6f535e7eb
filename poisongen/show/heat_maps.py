"""Where triggers lie in the picture, as grids of cells. Rows and masks in, counts out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from poisongen.format.manifest import Row
from poisongen.show.gallery import Group
from poisongen.show.resize import Bools
from poisongen.show.views import read_mask
from poisongen.surfaces import Location

COLUMNS = 32
"""Cells of a heat map over the picture's width."""

Cells = NDArray[np.float64]
RowKey = tuple[str, str]


class GridSize(NamedTuple):
    """Cells of a heat map."""

    rows: int
    columns: int


@dataclass(frozen=True)
class HeatMap:
    """Where the triggers of a group lie in the picture. ``cells`` (rows, columns) sum to ``number``;
    ``spread``: over masks, not points."""

    title: str
    number: int
    withheld: bool
    spread: bool
    cells: Cells


def grid_size(rows: Iterable[Row]) -> GridSize:
    """Of heat maps whose cells are about square in the median picture."""
    aspects = [row.height / row.width for row in rows if row.width]
    if not aspects:
        return GridSize(16, COLUMNS)
    square_rows = round(COLUMNS * median(aspects))
    return GridSize(min(48, max(6, square_rows)), COLUMNS)


def lies_on_point(row: Row) -> bool:
    """Was a place looked for? Then its reference point says where; a trigger that is always at one place, or
    everywhere, has a mask."""
    return row.placement is not None and (row.placement.surface_class is not None or row.mask is None)


def heat_maps(groups: Sequence[Group], size: GridSize, spreads: Mapping[RowKey, Cells]) -> list[HeatMap]:
    """A heat map for each group with triggers, or with places of withheld ones. ``spreads``: what masks were
    read, by the row's key.

    A trigger counts 1 in the cell of its reference point, or its mask's pixels count equally and sum to 1.
    """
    found = []
    for group in groups:
        cells = np.zeros(size)
        on_points = [row for row in group.rows if lies_on_point(row)]
        on_masks = [row for row in group.rows if not lies_on_point(row) and row.key in spreads]
        for row in on_points:
            assert row.placement is not None
            cells[_cell_of(row, row.placement, size)] += 1
        for row in on_masks:
            cells += spreads[row.key]
        number = len(on_points) + len(on_masks)
        if number:
            found.append(HeatMap(group.title, number, group.withheld, bool(on_masks), cells))
    return found


def _cell_of(row: Row, location: Location, size: GridSize) -> tuple[int, int]:
    """The cell of a trigger's reference point."""
    top, left, rows, columns = location.box
    middle_y, middle_x = top + rows // 2, left + columns // 2
    cell_row = middle_y * size.rows // max(1, row.height)
    cell_column = middle_x * size.columns // max(1, row.width)
    return min(size.rows - 1, cell_row), min(size.columns - 1, cell_column)


@dataclass(frozen=True)
class MaskReader:
    """Reads where a trigger lies. Runs in worker processes."""

    root: Path
    size: GridSize

    def __call__(self, row: Row) -> tuple[RowKey, Cells]:
        """The row's key, and how its mask's pixels spread over the cells of a heat map; they sum to 1. Raises
        VerifyError."""
        return row.key, spread(read_mask(self.root, row), self.size)


def spread(mask: Bools, size: GridSize) -> Cells:
    """The share of a mask's pixels in each cell of a heat map."""
    height, width = mask.shape
    cell_row = np.arange(height) * size.rows // height
    cell_column = np.arange(width) * size.columns // width
    down = np.zeros((size.rows, width), np.int64)
    np.add.at(down, cell_row, mask)
    cells = np.zeros(size, np.int64)
    np.add.at(cells.T, cell_column, down.T)
    return cells / max(1, int(cells.sum()))
