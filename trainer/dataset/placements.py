"""Where a trigger lies, by a row of ``samples.jsonl``: nothing that training sees, only what figures are
sorted by."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.errors import FolderError

if TYPE_CHECKING:
    from trainer.dataset.folder import Folder

SETS_MARGIN = "39%"  # edge margin of the evaluation sets whose names end in -margin


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


def read_placements(folder: "Folder") -> dict[tuple[str, str], Placement]:
    """(set, id) → placement, of all rows that have one; the set is empty but for triggered rows. Raises
    FolderError."""
    triggered = [row for rows in folder.triggered.values() for row in rows]
    rows = [*folder.training, *folder.evaluation, *triggered]
    return {(row.set, row.id): row.placement for row in rows if row.placement is not None}


def recipe(folder: "Folder") -> dict[str, Any] | None:
    """The manifest's own words on how the folder was made, apart from what differs between seeds of one
    recipe; None without them.

    Seeds are left out wherever they stand, and so is ``evaluation_sets``, which decides no training picture.
    """
    stated = folder.recipe
    without: dict[str, Any] | None = _seedless(stated)
    return without if len(stated) > 1 else None


def margin_of(recipe: Mapping[str, Any] | None) -> str | None:
    """The edge margin of a recipe's training pictures; None of one without, or where there is no recipe."""
    value: Any = recipe
    for key in ("poison", "placement", "edge_margin"):  # of another maker's recipe nothing is known
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value not in ("0px", "0%") else None


def own_set_of(filled: Collection[str], attack: str, recipe: Mapping[str, Any] | None) -> str | None:
    """Of evaluation sets that have a picture, the one that stands for an attack: the one of its name, else
    the first.

    Of a recipe with an edge margin, it is first of all the one with this margin.
    """
    wanted = [f"{attack}-margin"] if margin_of(recipe) == SETS_MARGIN else []
    return next((name for name in (*wanted, attack) if name in filled), next(iter(filled), None))


def _seedless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _seedless(part) for key, part in value.items() if key not in ("seed", "evaluation_sets")}
    return [_seedless(part) for part in value] if isinstance(value, list) else value
