"""Tables as Markdown, CSV and LaTeX.

What a cell says comes from files of unknown origin. Control characters and line breaks are printed as visible
escapes in every format, and each format escapes its own signs.
"""

import csv
import io
from collections.abc import Sequence

from trainer.errors import printable
from trainer.tables import columns
from trainer.tables.cells import UNLIKE, Cell, Row, percent, printed, value_text

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "±": r"$\pm$",
    "†": r"\dag{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
"""Signs that LaTeX does not print as they are."""


def shown_columns(body: Sequence[Row], wanted: Sequence[str]) -> list[str]:
    """The columns of a table: those that are always there, and others if one of the rows has them."""
    present = {name for row in body for name in row}
    return [name for name in wanted if name not in columns.WHERE_THEY_EXIST or name in present]


def table_text(body: Sequence[Row], wanted: Sequence[str], intervals: bool) -> list[list[str]]:
    """The head and the rows, a text for each cell. ``intervals``: figures are followed by the ends of their
    intervals."""
    shown = shown_columns(body, wanted)
    lines = [shown]
    for row in body:
        lines.append([printed(row.get(name), intervals) for name in shown])
    return lines


def markdown(body: Sequence[Row], wanted: Sequence[str] = columns.MAIN_TABLE, intervals: bool = False) -> str:
    """A table that is aligned as text, too."""
    shown = shown_columns(body, wanted)
    lines = table_text(body, wanted, intervals)
    aligned = []
    for number, name in enumerate(shown):
        cells = [_markdown(line[number]) for line in lines]
        aligned.append(_aligned(cells, left=name in columns.TEXT))
    return "".join(f"| {' | '.join(line)} |\n" for line in zip(*aligned, strict=True))


def _aligned(column: Sequence[str], left: bool) -> list[str]:
    """The cells of a column at one width, with the rule below its head."""
    width = max(2, *map(len, column))  # a rule needs two signs
    cells = [cell.ljust(width) if left else cell.rjust(width) for cell in column]
    rule = "-" * width if left else "-" * (width - 1) + ":"
    return [cells[0], rule, *cells[1:]]


def _markdown(text: str) -> str:
    return printable(text).replace("|", "\\|")


def comma_separated(
    body: Sequence[Row], wanted: Sequence[str] = columns.MAIN_TABLE, intervals: bool = False
) -> str:
    """The same as CSV: a number in each column, an empty cell where there is none.

    ``intervals``: two more columns for each that has some. What is a † in other tables is a column of its
    own, ``COLUMN †``, where a row has one.
    """
    shown = shown_columns(body, wanted)
    with_ends = {name for row in body for name, cell in row.items() if intervals and cell.low is not None}
    with_dagger = {name for row in body for name, cell in row.items() if cell.note == UNLIKE}
    ends = [name for name in wanted if name in with_ends]
    daggers = [name for name in wanted if name in with_dagger]
    head = [*shown]
    for name in ends:
        head += [f"{name} low", f"{name} high"]
    head += [f"{name} {UNLIKE}" for name in daggers]
    lines = [head]
    for row in body:
        line = [_plain(row.get(name)) for name in shown]
        for name in ends:
            line += _ends(row.get(name))
        line += [_yes_if_unlike(row.get(name)) for name in daggers]
        lines.append(line)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for line in lines:
        writer.writerow(map(printable, line))
    return text.getvalue()


def _yes_if_unlike(cell: Cell | None) -> str:
    return "yes" if cell is not None and cell.note == UNLIKE else ""


def _plain(cell: Cell | None) -> str:
    """A cell without its interval and its note."""
    if cell is None or cell.value is None:
        return ""
    text = value_text(cell.value)
    return text if cell.deviation is None else f"{text} ± {percent(cell.deviation)}"


def _ends(cell: Cell | None) -> list[str]:
    if cell is None or cell.low is None or cell.high is None:
        return ["", ""]
    return [percent(cell.low), percent(cell.high)]


def latex(body: Sequence[Row], wanted: Sequence[str], intervals: bool = False) -> str:
    """A table as LaTeX, with rules of the package booktabs."""
    rows = []
    for line in table_text(body, wanted, intervals):
        rows.append(" & ".join(map(latex_text, line)) + r" \\")
    head, *lines = rows
    kinds = "".join("l" if name in columns.TEXT else "r" for name in shown_columns(body, wanted))
    parts = [
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        head,
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "".join(f"{part}\n" for part in parts)


def latex_text(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(LATEX.get(char, char) for char in printable(text))


def latex_comments(lines: Sequence[str]) -> str:
    """Comments for LaTeX, each on a line of its own whatever is in them."""
    return "".join(f"% {printable(line)}\n" for line in lines)
