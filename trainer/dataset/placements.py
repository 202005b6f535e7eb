"""Where triggers lie, by the rows of ``samples.jsonl``: nothing that training sees, only what figures are
sorted by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.dataset.folder import Folder, digest_bytes, read_bytes
from trainer.errors import FolderError

Placements = Mapping[tuple[str, str], "Placement"]
"""(set, id) → where the trigger lies; the set is empty for training rows."""


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


def read_placements(folder: Folder) -> Placements:
    """(set, id) → place, of all rows that have one; the set is empty for training rows. Raises
    FolderError."""
    file = folder.root / "samples.jsonl"
    data = read_bytes(file)
    if (found := digest_bytes(data)) != folder.identity:
        raise FolderError(
            "The rows have changed meanwhile.", file=file, expected=folder.identity, found=found
        )
    rows = [(json.loads(line), f"{file}, line {number}") for number, line in enumerate(data.splitlines(), 1)]
    return {(row.get("set", ""), row["id"]): _place(row, where) for row, where in rows if "placement" in row}


def _place(row: dict[str, Any], where: str) -> Placement:
    placement = row["placement"]
    box, distance_sq = (
        (placement.get(key) for key in ("box", "distance_sq"))
        if isinstance(placement, dict)
        else (None, None)
    )
    relabelled = row.get("relabelled_pixels", 0)
    if not isinstance(box, list) or len(box) != 4 or not all(_count(side) for side in box):
        raise FolderError(
            "A placement has no box.", file=where, expected="[top, left, height, width]", found=repr(box)[:80]
        )
    if not (distance_sq is None or _count(distance_sq)) or not _count(relabelled):
        found = f"“distance_sq”: {distance_sq!r:.40}, “relabelled_pixels”: {relabelled!r:.40}"
        raise FolderError(
            "A row counts something else than pixels.", file=where, expected="integers", found=found
        )
    top, left, height, width = box
    return Placement((top, left, height, width), distance_sq, relabelled)


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62
