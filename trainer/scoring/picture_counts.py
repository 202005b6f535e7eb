"""What was counted in each picture, and the compressed table of it beside ``metrics.json``.

``metrics.json`` has the pooled figures; the table has what they are pooled from, so that the figures of any
part of the pictures need no other prediction. It is a CSV, a row for each picture of the clean evaluation
split and of each evaluation set, compressed with gzip: ``metrics.pictures.csv.gz`` beside ``metrics.json``. A
cell of overlaps reads ``class:hits/true/predicted``, with a blank between classes; classes without a pixel
are left out.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.folder import digest_bytes
from trainer.errors import RunError, printable
from trainer.run_folder import write_bytes
from trainer.scoring.metrics import BANDS
from trainer.scoring.scores import Scores

Table = NDArray[np.int64]

COLUMNS = (
    "model", "set", "id", "as_target", "victim_pixels",
    "as_target_outside_trigger", "victim_pixels_outside_trigger",
    "distance_band", "lacks_trigger_class", "overlaps", "others", "others_outside_trigger",
)  # fmt: skip
OWN, CLEAN_MODEL = "own", "clean"  # in the column "model": whose predictions were counted
OVERLAP = re.compile(r"([0-9]{1,3}):([0-9]{1,12})/([0-9]{1,12})/([0-9]{1,12})")
NUMBER = re.compile(r"[0-9]{1,12}")  # pixels of a picture; sums over pictures stay far from the end of int64
MAX_TEXT = 1 << 28
"""Bytes of a table before compression; 2,000 pictures of 150 classes in ten sets have a fifth of it."""

MAX_OVERLAPS = 1 << 25
"""Pictures times classes of one set; ADE20K has a hundredth of it."""


@dataclass(frozen=True)
class CleanCounts:
    """Of the clean evaluation split, N pictures of K classes.

    ``overlaps``: int64 (N, K, 3), ``metrics.overlap``; ``success``: int64 (N, 2), ``metrics.success`` without
    any trigger; ``lacking``: ids of the pictures without the class whose presence is the trigger, None where
    there is none.
    """

    ids: tuple[str, ...]
    overlaps: Table
    success: Table
    lacking: Set[str] | None = None

    def among(self, wanted: Set[str]) -> "CleanCounts":
        """Those of the ``wanted`` ids."""
        kept = _inside(self.ids, wanted)
        lacking = None if self.lacking is None else self.lacking & wanted
        return CleanCounts(_kept(self.ids, wanted), self.overlaps[kept], self.success[kept], lacking)


@dataclass(frozen=True)
class SuccessCounts:
    """``metrics.success`` of a model on N triggered pictures: int64 (N, 2)."""

    ids: tuple[str, ...]
    success: Table

    def among(self, wanted: Set[str]) -> "SuccessCounts":
        """Those of the ``wanted`` ids."""
        return SuccessCounts(_kept(self.ids, wanted), self.success[_inside(self.ids, wanted)])


@dataclass(frozen=True)
class SetCounts(SuccessCounts):
    """Of an evaluation set, N pictures of K classes.

    ``outside``: int64 (N, 2), the same with the pixels under the trigger left out. ``others``,
    ``others_outside``: int64 (N, K, 3), ``metrics.overlap`` with the victim pixels left out; None where PBA
    is not defined. ``bands``: of the distance from trigger to victim; None where no picture has one.
    """

    outside: Table = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    others: Table | None = None
    others_outside: Table | None = None
    bands: tuple[str | None, ...] | None = None

    def among(self, wanted: Set[str]) -> "SetCounts":
        """Those of the ``wanted`` ids."""
        kept = _inside(self.ids, wanted)
        bands = None
        if self.bands is not None:
            bands = tuple(band for band, inside in zip(self.bands, kept, strict=True) if inside)
        return SetCounts(
            ids=_kept(self.ids, wanted),
            success=self.success[kept],
            outside=self.outside[kept],
            others=None if self.others is None else self.others[kept],
            others_outside=None if self.others_outside is None else self.others_outside[kept],
            bands=bands if bands and any(bands) else None,
        )


@dataclass(frozen=True)
class PictureCounts:
    """All that was counted. ``clean_model``: of predictions of a clean model that another program made."""

    clean: CleanCounts
    sets: Mapping[str, SetCounts]
    clean_model: Mapping[str, SuccessCounts] = field(default_factory=dict)

    def among(self, wanted: Set[str]) -> "PictureCounts":
        """Those of the pictures with the ``wanted`` ids."""
        return PictureCounts(
            clean=self.clean.among(wanted),
            sets={name: counts.among(wanted) for name, counts in self.sets.items()},
            clean_model={name: counts.among(wanted) for name, counts in self.clean_model.items()},
        )


def _inside(ids: Sequence[str], wanted: Set[str]) -> NDArray[np.bool_]:
    return np.array([identifier in wanted for identifier in ids], np.bool_)


def _kept(ids: Sequence[str], wanted: Set[str]) -> tuple[str, ...]:
    return tuple(identifier for identifier in ids if identifier in wanted)


def table_beside(file: Path) -> Path:
    """Where the table of a file of scores lies: ``metrics.json`` → ``metrics.pictures.csv.gz``."""
    return file.with_name(f"{file.stem}.pictures.csv.gz")


def table_text(counts: PictureCounts) -> str:
    """The table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_clean_rows(counts.clean))
    for name, one in counts.sets.items():
        writer.writerows(_set_rows(name, one))
    for name, other in counts.clean_model.items():
        for identifier, pair in zip(other.ids, other.success, strict=True):
            writer.writerow({"model": CLEAN_MODEL, "set": name, "id": identifier} | _pair(pair))
    return text.getvalue()


def _clean_rows(counts: CleanCounts) -> Iterator[dict[str, object]]:
    for number, identifier in enumerate(counts.ids):
        row: dict[str, object] = {"model": OWN, "set": "", "id": identifier}
        row |= _pair(counts.success[number]) | {"overlaps": _packed(counts.overlaps[number])}
        if counts.lacking is not None:
            row["lacks_trigger_class"] = int(identifier in counts.lacking)
        yield row


def _set_rows(name: str, counts: SetCounts) -> Iterator[dict[str, object]]:
    for number, identifier in enumerate(counts.ids):
        row: dict[str, object] = {"model": OWN, "set": name, "id": identifier}
        row |= _pair(counts.success[number]) | _pair(counts.outside[number], "_outside_trigger")
        if counts.others is not None and counts.others_outside is not None:
            row["others"] = _packed(counts.others[number])
            row["others_outside_trigger"] = _packed(counts.others_outside[number])
        if counts.bands is not None:
            row["distance_band"] = counts.bands[number] or ""
        yield row


def _pair(success: Table, end: str = "") -> dict[str, object]:
    return {f"as_target{end}": int(success[0]), f"victim_pixels{end}": int(success[1])}


def _packed(overlap: Table) -> str:
    """(K, 3) as text: the classes that are true or predicted."""
    present = np.flatnonzero(overlap[:, 1:].any(axis=1))
    return " ".join(
        f"{c}:{hits}/{true}/{predicted}"
        for c, (hits, true, predicted) in zip(present, overlap[present], strict=True)
    )


def table_digest(text: str) -> str:
    """The digest of a table that its scores name."""
    return digest_bytes(text.encode())


def write_table(file: Path, text: str) -> None:
    """Write a table, compressed, whole or not at all. Raises RunError."""
    write_bytes(file, gzip.compress(text.encode(), mtime=0))


def read_table(file: Path, scores: Scores) -> PictureCounts:
    """Read and check the table of single pictures that belongs to ``scores``. Raises RunError."""
    todo = "score again: python -m trainer eval RUN"
    try:
        with gzip.open(file) as opened:
            data = opened.read(MAX_TEXT + 1)
    except (OSError, EOFError, zlib.error) as error:
        problem, expected = "The table of single pictures cannot be read.", "a CSV, compressed with gzip"
        found = getattr(error, "strerror", None) or error
        raise RunError(problem, file=file, expected=expected, found=found, todo=todo) from None
    if len(data) > MAX_TEXT or digest_bytes(data) != scores.picture_counts:
        problem = "The table of single pictures is not that of the scores."
        raise RunError(problem, file=file, expected=scores.picture_counts, found="other bytes", todo=todo)
    try:
        return _counts(csv.DictReader(io.StringIO(data.decode("utf-8")), strict=True), scores)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        problem, expected = "The table of single pictures is damaged.", "a row for each picture of the scores"
        found = printable(str(error)[:200])
        raise RunError(problem, file=file, expected=expected, found=found, todo=todo) from None


def _counts(reader: "csv.DictReader[str]", scores: Scores) -> PictureCounts:
    """Raises ValueError, KeyError, TypeError, csv.Error for what cannot be read."""
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"other columns: {', '.join(reader.fieldnames or ())[:80]}")
    classes = len(scores.dataset.classes)
    other_model = scores.clean_model.evaluation_sets if scores.clean_model else {}
    clean: list[dict[str, str]] = []
    sets: dict[str, list[dict[str, str]]] = {
        name: [] for name in scores.evaluation_sets
    }  # one may have no picture
    clean_model: dict[str, list[dict[str, str]]] = {name: [] for name in other_model}
    for row in reader:
        if len(row) != len(COLUMNS) or None in row.values():
            raise ValueError(f"line {reader.line_num} has more or fewer cells than the head")
        if row["model"] == CLEAN_MODEL:
            clean_model[row["set"]].append(row)
        elif row["set"]:
            sets[row["set"]].append(row)
        else:
            clean.append(row)
    _check_length(clean, "the clean evaluation split", scores.dataset.evaluation_pictures, classes)
    for name, values in scores.evaluation_sets.items():
        _check_length(sets[name], name, values.pictures, classes)
    return PictureCounts(
        clean=_clean_counts(clean, classes),
        sets={name: _set_counts(rows, classes) for name, rows in sets.items()},
        clean_model={name: SuccessCounts(_ids(rows), _pairs(rows)) for name, rows in clean_model.items()},
    )


def _check_length(rows: Sequence[dict[str, str]], name: str, pictures: int, classes: int) -> None:
    """Raise ValueError unless there is a row for each picture, and room for the counts of all."""
    if len(rows) != pictures:
        raise ValueError(f"{len(rows)} rows of {name}, which has {pictures} pictures")
    if len(rows) * classes > MAX_OVERLAPS:
        raise ValueError(f"{len(rows)} rows of {name}, of {classes} classes each, are too many")


def _clean_counts(rows: Sequence[dict[str, str]], classes: int) -> CleanCounts:
    lacking = None
    if any(row["lacks_trigger_class"] for row in rows):
        lacking = frozenset(row["id"] for row in rows if row["lacks_trigger_class"] == "1")
    return CleanCounts(_ids(rows), _overlaps(rows, "overlaps", classes), _pairs(rows), lacking)


def _set_counts(rows: Sequence[dict[str, str]], classes: int) -> SetCounts:
    defined = any(row["others"] for row in rows)
    bands = tuple(_band(row["distance_band"]) for row in rows)
    return SetCounts(
        ids=_ids(rows),
        success=_pairs(rows),
        outside=_pairs(rows, "_outside_trigger"),
        others=_overlaps(rows, "others", classes) if defined else None,
        others_outside=_overlaps(rows, "others_outside_trigger", classes) if defined else None,
        bands=bands if any(bands) else None,
    )


def _band(text: str) -> str | None:
    if text and text not in BANDS:
        raise ValueError(f"{text[:40]!r} is no distance band")
    return text or None


def _ids(rows: Iterable[dict[str, str]]) -> tuple[str, ...]:
    ids = tuple(row["id"] for row in rows)
    if len(set(ids)) < len(ids):
        raise ValueError("a picture has two rows in one set")
    return ids


def _pairs(rows: Sequence[dict[str, str]], end: str = "") -> Table:
    pairs = [(_number(row[f"as_target{end}"]), _number(row[f"victim_pixels{end}"])) for row in rows]
    counts = np.array(pairs, np.int64).reshape(-1, 2)
    if (counts[:, 0] > counts[:, 1]).any():
        raise ValueError(f"more pixels in as_target{end} than in victim_pixels{end}")
    return counts


def _overlaps(rows: Sequence[dict[str, str]], column: str, classes: int) -> Table:
    overlaps = np.zeros((len(rows), classes, 3), np.int64)
    for one, row in zip(overlaps, rows, strict=True):
        for part in row[column].split():
            match = OVERLAP.fullmatch(part)
            if not match or int(match[1]) >= classes:
                raise ValueError(f"{part[:40]!r} is not class:hits/true/predicted of {classes} classes")
            one[int(match[1])] = int(match[2]), int(match[3]), int(match[4])
    if (overlaps[:, :, :1] > overlaps[:, :, 1:]).any():
        raise ValueError(f"more hits in {column} than true or predicted pixels")
    return overlaps


def _number(text: str) -> int:
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no count")
    return int(text)
