"""Which rows are shown, and their pictures: from the folder, and from the clean source where it is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample
from poisongen.disk import read_file
from poisongen.errors import PoisongenError, SourceError, VerifyError
from poisongen.format.manifest import CHANGED, Digests, Manifest, Row
from poisongen.imaging.jpeg import digest_coefficients
from poisongen.imaging.pixels import (
    Pixels,
    decode_art,
    decode_label,
    decode_picture,
    digest_bytes,
    digest_pixels,
)
from poisongen.show.words import ROLES, Classes, printable

Bools = NDArray[np.bool_]

MAX_SETS = 24
"""No honest dataset has more evaluation sets; a page of a stranger's thousands helps nobody."""

NO_SOURCE = "give --source"
_REMEDY = "poisongen verify names everything that differs; rebuild the folder from its manifest and the clean source"


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
    train, evaluation = manifest.splits.train, manifest.splits.evaluation
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        if row.set is None and row.role in (*CHANGED, "noised"):
            kinds.setdefault(f"{printable(row.split, 40)}, {ROLES[row.role]}", []).append(row)
    found = [
        Group(title, tuple(members))
        for title, members in sorted(kinds.items(), key=lambda kind: kind[1][0].role == "noised")
    ]
    for name in manifest.evaluation_sets[:MAX_SETS]:
        found.append(Group(f"triggered/{name}", tuple(row for row in rows if row.set == name)))
    if not found:
        for split in dict.fromkeys((train, evaluation)):
            found.append(
                Group(
                    printable(split, 40), tuple(row for row in rows if row.split == split and row.set is None)
                )
            )
    return tuple(group for group in found if group.rows)


def chosen(of: Sequence[Group], number: int) -> list[tuple[Group, Row]]:
    """``number`` rows, shared out over the groups in turn; within a group from the nearest to the farthest
    trigger.

    One row is the median, more begin with the nearest and end with the farthest, in even steps (an odd number
    has the median). Rows without a distance are ordered by their victim pixels.
    """
    shares = [0] * len(of)
    while sum(shares) < number and any(
        taken < len(group.rows) for taken, group in zip(shares, of, strict=True)
    ):
        for index, group in enumerate(of):
            shares[index] += sum(shares) < number and shares[index] < len(group.rows)
    return [
        (group, row)
        for group, taken in zip(of, shares, strict=True)
        for row in _spread(sorted(group.rows, key=_order), taken)
    ]


def _order(row: Row) -> tuple[bool, Fraction, str]:
    squared = row.placement.distance_sq if row.placement else None
    if squared is None:
        return True, Fraction(row.victim_pixels or 0), row.id
    return False, Fraction(squared, max(1, row.height) ** 2), row.id


def _spread(rows: Sequence[Row], taken: int) -> list[Row]:
    last = len(rows) - 1
    if taken < 2:
        return [rows[len(rows) // 2]] * taken
    return [rows[(2 * step * last + taken - 1) // (2 * (taken - 1))] for step in range(taken)]


@dataclass(frozen=True)
class Task:
    """A row to look at. ``own``: the sample's own row, whose picture is the clean one of a triggered row;
    ``sample``: where the clean source has it, None if it has not; ``group``: the title that it is shown
    under.
    """

    row: Row
    group: str
    own: Row | None = None
    sample: Sample | None = None


@dataclass(frozen=True)
class View:
    """A row's pictures as they are: RGB (H, W, 3), training ids (H, W), trigger mask (H, W); None with a note
    that says why.

    ``art``: this sample's own trigger art, RGBA (h, w, 4), if it has one.
    """

    after: Pixels
    clean: Pixels | None
    clean_note: str
    mask: Bools | None
    label: Pixels
    before: Pixels | None
    before_note: str
    art: Pixels | None = None

    @property
    def painted(self) -> bool:
        """Is the picture another one than the clean one?"""
        return self.clean is not self.after

    @property
    def relabelled(self) -> bool:
        """May the label be another one than before?"""
        return self.before is not self.label


@dataclass(frozen=True)
class Viewer:
    """Reads the pictures of a row. Runs in worker processes. ``source``: reads the clean dataset, None if it
    was not given."""

    root: Path
    source: Reader | None
    classes: Classes

    def __call__(self, task: Task) -> View:
        """Raises VerifyError for a file of the folder that is missing, damaged, or not what its row says."""
        row = task.row
        after = self._picture(row)
        raw = read_label(self.root, row)
        label = self.classes.space.to_train(raw)
        clean, clean_note = self._clean(task, after)
        before, before_note = self._before(task, label)
        mask = read_mask(self.root, row) if row.mask else None
        if any(
            one is not None and one.shape[:2] != (row.height, row.width)
            for one in (after, raw, clean, before, mask)
        ):
            raise VerifyError(
                "The pictures of a row differ in size.",
                file=self.root / row.image,
                expected=f"{row.width}×{row.height}",
                todo=_REMEDY,
            )
        art = (
            read_pixels(self.root, row.own_art, Digests(pixels=row.art_pixels), decode_art)
            if row.own_art
            else None
        )
        return View(after, clean, clean_note, mask, label, before, before_note, art)

    def _picture(self, row: Row) -> Pixels:
        return _read(self.root, row.image, row, decode_picture)

    def _clean(self, task: Task, after: Pixels) -> tuple[Pixels | None, str]:
        row = task.row
        if row.mask is None or row.placement is None:  # nothing was painted
            return after, ""
        if task.own is not None:
            return self._picture(task.own), ""
        if self.source is None or task.sample is None:
            return None, missing("clean picture", self.source)
        data, note = _source_file(self.source.root / task.sample.image, row.source_image_bytes, "picture")
        return (None, note) if data is None else (self.source.picture(task.sample, data), "")

    def _before(self, task: Task, label: Pixels) -> tuple[Pixels | None, str]:
        if not changes_label(task.row):
            return label, ""
        if self.source is None or task.sample is None:
            return None, missing("label before", self.source)
        raw, note = source_label(self.source, task.sample, task.row)
        return (None, note) if raw is None else (self.classes.space.to_train(raw), "")


def changes_label(row: Row) -> bool:
    """May the label be another one than the source's?"""
    return row.role in ("poisoned", "label-only", "noised")


def missing(what: str, source: Reader | None) -> str:
    """Why something of the source is not shown."""
    return f"{what}: {NO_SOURCE if source is None else 'the source lacks this sample'}"


def source_label(source: Reader, sample: Sample, row: Row) -> tuple[Pixels | None, str]:
    """The clean label map's raw ids (H, W), resized as the recipe says, or why there is none."""
    data, note = _source_file(source.root / sample.label, row.source_label_bytes, "label map")
    return (None, note) if data is None else (source.label(sample, data)[0], "")


def _source_file(path: Path, digest: str | None, what: str) -> tuple[bytes | None, str]:
    try:
        data = read_file(path)
    except SourceError:
        return None, f"the source lacks this {what}"
    return (
        (data, "") if digest_bytes(data) == digest else (None, f"the source has another {what} of this name")
    )


def read_label(root: Path, row: Row) -> Pixels:
    """The raw ids of a row's label map, uint8 (H, W), held against the row. Raises VerifyError."""
    return _read(root, row.label, row, decode_label)


def read_mask(root: Path, row: Row) -> Bools:
    """Where a row's trigger is: bool (H, W), held against the row, which must have one. Raises
    VerifyError."""
    assert row.mask is not None
    return np.asarray(_read(root, row.mask, row, decode_label) > 0, np.bool_)


def _read(root: Path, path: str, row: Row, decode: Callable[[bytes, Path], Pixels]) -> Pixels:
    return read_pixels(root, path, row.files()[path], decode)


def read_pixels(root: Path, path: str, known: Digests, decode: Callable[[bytes, Path], Pixels]) -> Pixels:
    """Decode a file of the folder and hold it against its digest. Raises VerifyError; no link leads out of
    the folder's folders."""
    data = read_inside(root, path)
    try:
        pixels = decode(data, root / path)
    except PoisongenError as error:
        raise VerifyError(
            "A file of the folder cannot be shown.",
            file=root / path,
            found=error.found or error.problem,
            todo=_REMEDY,
        ) from None
    found = {
        known.bytes: digest_bytes(data) if known.bytes else None,
        known.pixels: digest_pixels(pixels) if known.pixels else None,
        known.coefficients: digest_coefficients(data, root / path) if known.coefficients else None,
    }
    for expected, digest in found.items():
        if expected != digest:
            raise VerifyError(
                "A file of the folder is not what its row says.",
                file=root / path,
                expected=expected,
                found=digest,
                todo=_REMEDY,
            )
    return pixels


def read_inside(root: Path, path: str) -> bytes:
    """The bytes of a file of the folder. Raises VerifyError if it cannot be read, or if its folder is a link
    out of ``root``."""
    if not (root / path).parent.resolve().is_relative_to(root.resolve()):
        raise VerifyError("A folder is a link out of the dataset.", file=(root / path).parent, todo=_REMEDY)
    try:
        return (root / path).read_bytes()
    except OSError as error:
        raise VerifyError(
            "A file of the folder cannot be read.", file=root / path, found=error.strerror, todo=_REMEDY
        ) from None
