"""The cells of tables. A figure stays a number until it is printed, here.

A figure in the text of a cell is in percent with two decimals. Markdown and LaTeX have one text a cell,
``printed``; a CSV has a column for each number.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from trainer.typed_json import Figure

NO_VALUE = "–"
UNLIKE = "†"  # a clean model differs from the run in more than the poison


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    ``value``: text, a count, or a figure as a fraction in [0, 1] (of a difference in [-1, 1]), which is a
    ``float``; None where there is none. ``low``, ``high``: the ends of its interval. ``deviation``: standard
    deviation over seeds, of a mean. ``less_clean``: the figure less that of the clean model. ``note``: what
    is printed behind all of these.
    """

    value: str | int | float | None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    less_clean: "Cell | None" = None
    note: str = ""


Row = Mapping[str, Cell]
"""A row of a table: column → cell; a column that is not there does not apply."""


def figure_cell(figure: Figure | float | None, note: str = "") -> Cell:
    """A figure, with its interval where it has one.

    An interval without an extent comes from a single block of pictures and says nothing; but for 0 and 1,
    where all pictures may agree.
    """
    if not isinstance(figure, Figure):
        return Cell(figure, note=note)
    if figure.low == figure.high and figure.low not in (0, 1):
        return Cell(figure.value, note=note)
    return Cell(figure.value, figure.low, figure.high, note=note)


def spread_cell(fractions: Sequence[float | None], note: str = "") -> Cell:
    """Mean and standard deviation (of a sample, n - 1) over seeds; no value if a figure is missing, the
    figure itself if it is alone."""
    if len(fractions) == 1:
        return Cell(fractions[0], note=note)
    values = [value for value in fractions if value is not None]
    if len(values) < max(2, len(fractions)):
        return Cell(None, note=note)
    return Cell(fmean(values), deviation=stdev(values), note=note)


def percent(fraction: float) -> str:
    """A fraction in percent, two decimals."""
    return f"{100 * fraction:.2f}"


def value_text(value: str | int | float | None) -> str:
    """The value of a cell as text."""
    if value is None:
        return NO_VALUE
    return percent(value) if isinstance(value, float) else str(value)


def printed(cell: Cell | None, intervals: bool) -> str:
    """All that a cell says, in one text: ``88.69 [86.1, 91.0]``, ``50.00 ± 1.20``, ``50.00 (+37.50 †)``."""
    if cell is None:
        return NO_VALUE
    text = value_text(cell.value)
    if cell.deviation is not None:
        text += f" ± {percent(cell.deviation)}"
    if intervals and cell.low is not None and cell.high is not None:
        text += f" {_outward(cell.low, cell.high)}"
    if cell.less_clean is not None and isinstance(cell.less_clean.value, float):
        text += f" ({_signed(cell.less_clean.value, cell.less_clean.note)})"
    return f"{text} {cell.note}" if cell.note else text


def _signed(difference: float, note: str) -> str:
    signed = f"{100 * difference:+.2f}"
    return f"{signed} {note}" if note else signed


def _outward(low: float, high: float) -> str:
    """The ends of an interval with one decimal, away from each other, so that the figure stays between them.

    They are rounded to the decimals of the figure first: an end that is printed as 86.10 elsewhere is 86.1.
    """
    lower = math.floor(_tenths(low)) / 10
    upper = math.ceil(_tenths(high)) / 10
    return f"[{lower:.1f}, {upper:.1f}]"


def _tenths(fraction: float) -> float:
    """Tenths of a percent; what rounding to two decimals leaves behind the sixth is no part of the number."""
    return round(10 * round(100 * fraction, 2), 6)
