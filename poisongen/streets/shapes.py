"""Outlines in integers, from which things are cut: all reach about ``RADIUS`` from their middle."""

from collections.abc import Sequence

from poisongen.streets.canvas import Point

RADIUS = 1024

CIRCLE: tuple[Point, ...] = (
    (1024, 0), (946, 392), (724, 724), (392, 946),
    (0, 1024), (-392, 946), (-724, 724), (-946, 392),
    (-1024, 0), (-946, -392), (-724, -724), (-392, -946),
    (0, -1024), (392, -946), (724, -724), (946, -392),
)  # fmt: skip
"""Sixteen points, counter-clockwise from the right."""
OCTAGON = CIRCLE[::2]
"""A circle, where it is small."""
UPPER_HALF = OCTAGON[:5]
TRIANGLE: tuple[Point, ...] = ((-1024, -700), (1024, -700), (0, 1024))
SQUARE: tuple[Point, ...] = ((-850, -850), (850, -850), (850, 850), (-850, 850))
DIAMOND: tuple[Point, ...] = ((-1100, 0), (0, -1100), (1100, 0), (0, 1100))
BAR: tuple[Point, ...] = ((-650, -160), (650, -160), (650, 160), (-650, 160))


def scaled(outline: Sequence[Point], middle: Point, radius: int, radius_up: int | None = None) -> list[Point]:
    """The outline around ``middle``, ``radius`` wide and ``radius_up``, or else the same, high."""
    across, up = middle
    if radius_up is None:
        radius_up = radius
    return [(across + radius * a // RADIUS, up + radius_up * b // RADIUS) for a, b in outline]


def mirrored(outline: Sequence[Point], side: int) -> list[Point]:
    """The outline as it is (1), or its mirror image (-1)."""
    return [(side * across, up) for across, up in outline]


def box(left: int, right: int, bottom: int, top: int) -> list[Point]:
    """An upright rectangle."""
    return [(left, bottom), (right, bottom), (right, top), (left, top)]
