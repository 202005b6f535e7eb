"""Numbers as inline SVG, made by hand: no script, no library, no style attribute. Colours that stand for a
meaning are CSS classes.

Bars use percentages for their length and pixels for their height, so that they stretch with the page while
their text does not.
"""

from markupsafe import Markup

from poisongen.attacks import BAND_LIMITS
from poisongen.show.marks import Colour
from poisongen.show.tallies import STEP, Distances, Places


def hexadecimal(colour: Colour) -> str:
    """``#rrggbb``."""
    return "#" + bytes(colour).hex()


def swatch(colour: Colour) -> Markup:
    """The colour of a class, beside its name."""
    return Markup(
        '<svg class="swatch" width="14" height="14" aria-hidden="true"><rect width="14" height="14" fill="{}"/></svg>'
    ).format(hexadecimal(colour))


def heat_map(places: Places) -> Markup:
    """Where triggers lie: a cell is the darker, the more of them it holds."""
    rows, columns = places.cells.shape
    most = max(1e-9, float(places.cells.max()))
    cells = []
    for row in range(rows):
        for column in range(columns):
            value = float(places.cells[row, column])
            if value:
                cells.append(
                    Markup(
                        '<rect x="{}" y="{}" width="1" height="1" fill-opacity="{:.3f}"><title>{}</title></rect>'
                    ).format(column, row, 0.12 + 0.88 * value / most, counted(value))
                )
    return Markup(
        '<svg class="heat" viewBox="0 0 {c} {r}" role="img" aria-label="{label}">'
        '<rect class="sky" width="{c}" height="{r}"/><g>{cells}</g></svg>'
    ).format(
        c=columns,
        r=rows,
        label=f"Places of {places.number:,} triggers, {places.title}",
        cells=Markup("").join(cells),
    )


def counted(value: float) -> str:
    """A number in a cell: a count, or a sum of shares."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def distance_chart(one: Distances, bins: int) -> Markup:
    """A histogram of distances over ``bins`` bins, with the limits of the bands; lengths in pixels at 512
    rows."""
    height, most = 90, max(one.bins)
    bars = Markup("").join(
        Markup(
            '<rect x="{:.3f}%" y="{:.2f}" width="{:.3f}%" height="{:.2f}"><title>{}</title></rect>'
        ).format(
            100 * index / bins,
            height - (height - 14) * value / most,
            max(0.1, 100 / bins - 0.15),
            (height - 14) * value / most,
            f"{index * STEP} to {(index + 1) * STEP} px: {value:,}",
        )
        for index, value in enumerate(one.bins)
        if value
    )
    limits = Markup("").join(
        Markup('<line class="limit" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="{h}"/>').format(
            x=100 * bound / (bins * STEP), h=height
        )
        for bound in BAND_LIMITS
        if bound < bins * STEP
    )
    label = f"Distances of {one.number:,} triggers to the victim, {one.title}"
    return Markup(
        '<svg class="bars" width="100%" height="{h}" role="img" aria-label="{label}">{limits}<g>{bars}</g>{base}</svg>'
    ).format(
        h=height + 1,
        label=label,
        limits=limits,
        bars=bars,
        base=Markup('<line class="base" x1="0" x2="100%" y1="{y}" y2="{y}"/>').format(y=height + 0.5),
    )


def distance_axis(bins: int) -> Markup:
    """The scale below the histograms."""
    last = bins * STEP
    step = next(step for step in (20, 30, 60, 120, 300, 600, 3000, 30000, 10**9) if last / step <= 9)
    marks = [
        Markup('<text x="{:.3f}%" y="12" text-anchor="{}">{}</text>').format(
            100 * at / last, "start" if at == 0 else "middle", at
        )
        for at in range(0, last - step // 3, step)
    ]
    end = Markup('<text x="100%" y="12" text-anchor="end">{} px</text>').format(last)
    return Markup('<svg class="axis" width="100%" height="16" aria-hidden="true">{}{}</svg>').format(
        Markup("").join(marks), end
    )


def share_bar(part: int, whole: int) -> Markup:
    """A bar in a table: ``part`` of ``whole``."""
    return Markup(
        '<svg class="bar" width="100%" height="4" aria-hidden="true">'
        '<rect class="sky" width="100%" height="4"/><rect width="{:.3f}%" height="4"/></svg>'
    ).format(100 * part / whole if whole else 0)


def before_after(before: int | None, after: int, most: int, colour: Colour) -> Markup:
    """Two bars of one class: its pixels before, if that is known, in outline, and after, in its colour."""
    bars = (
        [Markup('<rect class="was" y="1" width="{:.3f}%" height="6"/>').format(100 * before / max(1, most))]
        if before
        else []
    )
    bars.append(
        Markup('<rect class="now" y="9" width="{:.3f}%" height="7" fill="{}"/>').format(
            100 * after / max(1, most), hexadecimal(colour)
        )
    )
    return Markup('<svg class="two" width="100%" height="18" aria-hidden="true">{}</svg>').format(
        Markup("").join(bars)
    )
