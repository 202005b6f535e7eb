"""Where a trigger lies, by a row of ``samples.jsonl``: nothing that training sees, only what figures are
sorted by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.errors import FolderError


@dataclass(frozen=True)
class Placement:
    """Of a row with a painted trigger. ``box``: top, left, height, width in pixels.

    ``distance_sq``: squared Euclidean distance from the trigger's reference point to the nearest victim
    pixel; None where the place is the same in every picture. ``relabelled_pixels``: pixels that were changed
    to the target.
    """

    box: tuple[int, int, int, int]
    distance_sq: int | None
    relabelled_pixels: int


def parse_placement(values: Mapping[str, Any], where: str) -> Placement | None:
    """The placement in the values of a row; None of a row without one. ``where``: file and line, for errors.
    Raises FolderError."""
    if "placement" not in values:
        return None
    placement = values["placement"]
    if not isinstance(placement, dict):
        placement = {}
    box = placement.get("box")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_count(side) for side in box):
        problem, expected = "A placement has no box.", "[top, left, height, width]"
        raise FolderError(problem, file=where, expected=expected, found=repr(box)[:80])
    distance_sq, relabelled = placement.get("distance_sq"), values.get("relabelled_pixels", 0)
    if not (distance_sq is None or _is_count(distance_sq)) or not _is_count(relabelled):
        problem = "A row counts something else than pixels."
        found = f"“distance_sq”: {distance_sq!r:.40}, “relabelled_pixels”: {relabelled!r:.40}"
        raise FolderError(problem, file=where, expected="integers", found=found)
    top, left, height, width = box
    return Placement((top, left, height, width), distance_sq, relabelled)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62
