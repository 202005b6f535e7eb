"""Which rows are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from poisongen.format.manifest import CHANGED, Manifest, Row
from poisongen.show.captions import ROLES
from poisongen.show.text import printable

MAX_SETS = 24
"""No honest dataset has more evaluation sets; a page of a stranger's thousands helps nobody."""


@dataclass(frozen=True)
class Group:
    """Rows that are shown and counted together: those of one role in a split, or one evaluation set."""

    title: str
    rows: tuple[Row, ...]

    @property
    def with_trigger(self) -> tuple[Row, ...]:
        """The rows with a trigger in the picture."""
        return tuple(row for row in self.rows if row.mask is not None)

    @property
    def withheld(self) -> bool:
        """Is this a control, in whose pictures the trigger is not?"""
        return any(row.role == "label-only" for row in self.rows)


def groups(manifest: Manifest, rows: Sequence[Row]) -> tuple[Group, ...]:
    """What the attack changed: the training rows by role, then the evaluation sets. Of a clean dataset: its
    two splits."""
    found = _groups_by_role(rows)
    for name in manifest.evaluation_sets[:MAX_SETS]:
        triggered = tuple(row for row in rows if row.set == name)
        found.append(Group(f"triggered/{name}", triggered))
    if not found:
        splits = dict.fromkeys((manifest.splits.train, manifest.splits.evaluation))
        found = [_group_of_split(split, rows) for split in splits]
    return tuple(group for group in found if group.rows)


def _groups_by_role(rows: Sequence[Row]) -> list[Group]:
    """Rows of no evaluation set that were changed, then those with random labels only."""
    changed: dict[str, list[Row]] = {}
    noised: dict[str, list[Row]] = {}
    for row in rows:
        title = f"{printable(row.split, 40)}, {ROLES[row.role]}"
        if row.set is None and row.role in CHANGED:
            changed.setdefault(title, []).append(row)
        elif row.role == "noised":
            noised.setdefault(title, []).append(row)
    return [Group(title, tuple(members)) for title, members in (changed | noised).items()]


def _group_of_split(split: str, rows: Sequence[Row]) -> Group:
    own = tuple(row for row in rows if row.split == split and row.set is None)
    return Group(printable(split, 40), own)


class Chosen(NamedTuple):
    """A row that is shown, and its group."""

    group: Group
    row: Row


def chosen(of: Sequence[Group], number: int) -> list[Chosen]:
    """``number`` rows, shared out over the groups in turn; within a group from the nearest to the farthest
    trigger.

    One row is the median, more begin with the nearest and end with the farthest, in even steps (an odd number
    has the median). Rows without a distance are ordered by their victim pixels.
    """
    found = []
    for group, share in zip(of, _shares(of, number), strict=True):
        from_near_to_far = sorted(group.rows, key=_order)
        found += [Chosen(group, row) for row in _spread(from_near_to_far, share)]
    return found


def _shares(of: Sequence[Group], number: int) -> list[int]:
    """How many rows each group shows: dealt out one by one, to those that have more."""
    shares = [0] * len(of)
    left = min(number, sum(len(group.rows) for group in of))
    while left > 0:
        for index, group in enumerate(of):
            if left > 0 and shares[index] < len(group.rows):
                shares[index] += 1
                left -= 1
    return shares


class _Order(NamedTuple):
    """Rows with a distance come first."""

    no_distance: bool
    size: Fraction
    row_id: str


def _order(row: Row) -> _Order:
    squared = row.placement.distance_sq if row.placement else None
    if squared is None:
        return _Order(True, Fraction(row.victim_pixels or 0), row.id)
    # Of the picture's height, so that pictures of several sizes compare; squared and exact.
    return _Order(False, Fraction(squared, max(1, row.height) ** 2), row.id)


def _spread(rows: Sequence[Row], number: int) -> list[Row]:
    """``number`` of the rows in even steps from the first to the last; of one, the middle."""
    if number == 0:
        return []
    if number == 1:
        return [rows[len(rows) // 2]]
    last, steps = len(rows) - 1, number - 1
    indices = [(2 * step * last + steps) // (2 * steps) for step in range(number)]  # to the nearest
    return [rows[index] for index in indices]
