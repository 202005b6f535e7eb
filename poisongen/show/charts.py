"""Numbers as inline SVG, made by hand: no script, no library, no style attribute. Colours that stand for a
meaning are CSS classes.

Bars use percentages for their length and pixels for their height, so that they stretch with the page while
their text does not.
"""

from collections.abc import Iterable

from markupsafe import Markup

from poisongen.attacks import BAND_LIMITS
from poisongen.show.distances import STEP, Distances
from poisongen.show.heat_maps import HeatMap
from poisongen.show.overlays import Colour

BAR_HEIGHT = 76
"""Of the highest bar of a histogram, in pixels."""
HISTOGRAM_HEIGHT = 90
"""With some air above."""

_SWATCH = Markup(
    '<svg class="swatch" width="14" height="14" aria-hidden="true">'
    '<rect width="14" height="14" fill="{colour}"/></svg>'
)
_HEAT_CELL = Markup(
    '<rect x="{column}" y="{row}" width="1" height="1" fill-opacity="{opacity:.3f}">'
    "<title>{count}</title></rect>"
)
_HEAT_MAP = Markup(
    '<svg class="heat" viewBox="0 0 {columns} {rows}" role="img" aria-label="{label}">'
    '<rect class="sky" width="{columns}" height="{rows}"/><g>{cells}</g></svg>'
)
_BAR = Markup(
    '<rect x="{left:.3f}%" y="{top:.2f}" width="{width:.3f}%" height="{height:.2f}">'
    "<title>{title}</title></rect>"
)
_LIMIT = Markup('<line class="limit" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="{height}"/>')
_BASE = Markup('<line class="base" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
_HISTOGRAM = Markup(
    '<svg class="bars" width="100%" height="{height}" role="img" aria-label="{label}">'
    "{limits}<g>{bars}</g>{base}</svg>"
)
_TICK = Markup('<text x="{x:.3f}%" y="12" text-anchor="{anchor}">{text}</text>')
_LAST_TICK = Markup('<text x="100%" y="12" text-anchor="end">{length} px</text>')
_AXIS = Markup('<svg class="axis" width="100%" height="16" aria-hidden="true">{ticks}{last}</svg>')
_SHARE = Markup(
    '<svg class="bar" width="100%" height="4" aria-hidden="true">'
    '<rect class="sky" width="100%" height="4"/><rect width="{share:.3f}%" height="4"/></svg>'
)
_BEFORE = Markup('<rect class="was" y="1" width="{width:.3f}%" height="6"/>')
_AFTER = Markup('<rect class="now" y="9" width="{width:.3f}%" height="7" fill="{colour}"/>')
_TWO_BARS = Markup('<svg class="two" width="100%" height="18" aria-hidden="true">{before}{after}</svg>')


def hexadecimal(colour: Colour) -> str:
    """``#rrggbb``."""
    return "#" + bytes(colour).hex()


def swatch(colour: Colour) -> Markup:
    """The colour of a class, beside its name."""
    return _SWATCH.format(colour=hexadecimal(colour))


def heat_map(places: HeatMap) -> Markup:
    """Where triggers lie: the colour of a cell is the stronger, the more of them it holds."""
    rows, columns = places.cells.shape
    most = max(1e-9, float(places.cells.max()))
    cells = []
    for row in range(rows):
        for column in range(columns):
            value = float(places.cells[row, column])
            if value:
                opacity = 0.12 + 0.88 * value / most  # the least is seen, too
                cells.append(_HEAT_CELL.format(column=column, row=row, opacity=opacity, count=counted(value)))
    label = f"Places of {places.number:,} triggers, {places.title}"
    return _HEAT_MAP.format(columns=columns, rows=rows, label=label, cells=_joined(cells))


def counted(value: float) -> str:
    """A number in a cell: a count, or a sum of shares."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def distance_chart(one: Distances, bins: int) -> Markup:
    """A histogram of distances over ``bins`` bins, with the limits of the bands; lengths in pixels at 512
    rows."""
    bars = [_bar(index, value, one, bins) for index, value in enumerate(one.bins) if value]
    length = bins * STEP
    limits = [
        _LIMIT.format(x=100 * limit / length, height=HISTOGRAM_HEIGHT)
        for limit in BAND_LIMITS
        if limit < length
    ]
    return _HISTOGRAM.format(
        height=HISTOGRAM_HEIGHT + 1,
        label=f"Distances of {one.number:,} triggers to the victim, {one.title}",
        limits=_joined(limits),
        bars=_joined(bars),
        base=_BASE.format(y=HISTOGRAM_HEIGHT + 0.5),
    )


def _bar(index: int, value: int, one: Distances, bins: int) -> Markup:
    height = BAR_HEIGHT * value / max(one.bins)
    return _BAR.format(
        left=100 * index / bins,
        top=HISTOGRAM_HEIGHT - height,
        width=max(0.1, 100 / bins - 0.15),
        height=height,
        title=f"{index * STEP} to {(index + 1) * STEP} px: {value:,}",
    )


def distance_axis(bins: int) -> Markup:
    """The scale below the histograms."""
    length = bins * STEP
    steps = (20, 30, 60, 120, 300, 600, 3000, 30000, 10**9)
    step = next(step for step in steps if length / step <= 9)
    ticks = [
        _TICK.format(x=100 * at / length, anchor="start" if at == 0 else "middle", text=at)
        for at in range(0, length - step // 3, step)  # the last one would be too near to the end
    ]
    return _AXIS.format(ticks=_joined(ticks), last=_LAST_TICK.format(length=length))


def share_bar(part: int, whole: int) -> Markup:
    """A bar in a table: ``part`` of ``whole``."""
    return _SHARE.format(share=100 * part / whole if whole else 0)


def before_after(before: int | None, after: int, most: int, colour: Colour) -> Markup:
    """Two bars of one class: its pixels before, if that is known, in outline, and after, in its colour;
    ``most``: the pixels of the longest bar."""
    whole = max(1, most)
    outline = _BEFORE.format(width=100 * before / whole) if before else Markup("")
    bar = _AFTER.format(width=100 * after / whole, colour=hexadecimal(colour))
    return _TWO_BARS.format(before=outline, after=bar)


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)
