"""Pictures for people: a contact sheet and a report of a finished dataset folder.

``gallery`` chooses rows and reads their pictures, ``exhibits`` makes them ready, ``sheet`` lays them on
``paper`` as ``gallery.png``; ``tallies`` counts, ``charts`` draws the numbers, ``page`` writes
``report.html``. ``marks`` are the colours and outlines of both.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from poisongen.datasets import LAYOUTS
from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample, Source
from poisongen.disk import write_atomic
from poisongen.engine.workers import Workers
from poisongen.errors import ManifestError, OutputError, RecipeError, SourceMismatch
from poisongen.format.consistency import contradictions
from poisongen.format.manifest import Manifest, Row
from poisongen.format.read import read
from poisongen.freeze import summary
from poisongen.imaging.pixels import Pixels
from poisongen.names import GALLERY, MANIFEST, PLAN, REPORT
from poisongen.show import gallery, tallies
from poisongen.show.alone import triggers
from poisongen.show.exhibits import Exhibit, Exhibitor
from poisongen.show.page import report
from poisongen.show.sheet import contact_sheet
from poisongen.show.words import Classes, printable, title

NUMBER = 12


@dataclass(frozen=True)
class Shown:
    """What was written: the two files in ``root`` with their sizes in bytes, the samples that are shown, and
    what could not be."""

    root: Path
    sizes: dict[str, int]
    samples: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a terminal."""
        return [
            f"wrote {self.root / GALLERY}: {len(self.samples):,} samples, {summary.size_text(self.sizes[GALLERY])}",
            f"wrote {self.root / REPORT}: {summary.size_text(self.sizes[REPORT])}",
            "they contain pictures of the dataset: do not share them unless its licence allows it",
        ]

    def values(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "folder": str(self.root),
            "bytes": self.sizes,
            "samples": [{"id": sample_id, "group": group} for group, sample_id in self.samples],
            "notes": list(self.notes),
        }


def show(
    root: Path,
    workers: Workers,
    *,
    source: Path | None = None,
    number: int = NUMBER,
    only: str | None = None,
    out: Path | None = None,
) -> Shown:
    """Write ``gallery.png`` and ``report.html`` of a finished dataset folder; the same folder and source give
    the same bytes.

    They are written into ``out``, which is made if it is not there, or else into the folder itself.

    ``source`` is the clean dataset, from which pictures and labels before the attack come; ``number`` samples
    are shown, of the evaluation set or split ``only`` if it is given. Raises ManifestError for a folder that
    is not finished or contradicts itself, SourceError for a source that cannot be opened, RecipeError for a
    name that is no set, and VerifyError for a file of the folder that is not what its row says.
    """
    manifest, rows = _read(root)
    out = _writable(out or root)
    classes = Classes.of(manifest)
    groups = gallery.groups(manifest, rows)
    opened = None if source is None else _open(manifest, source)
    reader = None if opened is None else Reader(opened.root, manifest.recipe.scale)
    samples = {sample.id: sample for sample in opened.samples} if opened else {}
    tasks = _tasks(_only(groups, only), rows, samples, number)
    exhibits = _exhibits(root, reader, classes, tasks, workers)
    counted = tallies.count(root, reader, manifest, rows, groups, classes.space, samples, workers)
    notes = _notes(manifest, exhibits, counted)
    about = [
        printable(line) for line in summary.describe_attack(manifest.recipe, classes.space.names).splitlines()
    ]
    sheet = contact_sheet(
        title(manifest), _warning(manifest), [*about, manifest.identity, *notes], classes, exhibits
    )
    alone = triggers(root, manifest, classes, exhibits)
    page = report(title(manifest), manifest, classes, about, exhibits, alone, counted, notes)
    files = {GALLERY: _compressed(sheet.pixels), REPORT: page.encode()}
    for name, data in files.items():
        write_atomic(out / name, data)
    sizes = {name: len(data) for name, data in files.items()}
    return Shown(out, sizes, tuple((one.group, one.row.id) for one in exhibits), tuple(notes))


def _warning(manifest: Manifest) -> str:
    may = "do not share, unless the licence of the source allows it."
    return f"Contains dataset pictures: {may} {printable(manifest.source.license, 1000)}"


def _read(root: Path) -> tuple[Manifest, tuple[Row, ...]]:
    if not (root / MANIFEST).exists():
        found = (
            "an unfinished folder"
            if (root / PLAN).exists()
            else "no manifest"
            if root.is_dir()
            else "nothing"
        )
        todo = "give a folder that poisongen finished; one that it has not ends in .partial: repeat the command that began it"
        raise ManifestError(
            "This is not a finished dataset folder.", file=root, expected=MANIFEST, found=found, todo=todo
        )
    manifest, rows = read(root)
    manifest.recipe.check(Classes.of(manifest).space)
    wrong = contradictions(manifest, rows)
    if wrong:
        todo = "poisongen verify names every difference"
        raise ManifestError(
            "A manifest contradicts itself.", file=root / MANIFEST, found="; ".join(wrong), todo=todo
        )
    return manifest, rows


def _writable(out: Path) -> Path:
    """The folder for both files, there and with room for their names. Raises OutputError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError("The folder cannot be made.", file=out, found=error.strerror) from None
    for name in (GALLERY, REPORT):
        if (out / name).is_dir():
            raise OutputError("A folder is in the way.", file=out / name, todo="move it away")
    return out


def _open(manifest: Manifest, source: Path) -> Source:
    layout = LAYOUTS.get(manifest.source.layout)
    if layout is None:
        raise ManifestError(
            "The source's layout is not known.",
            expected=", ".join(LAYOUTS),
            found=printable(manifest.source.layout, 60),
        )
    opened = layout.open(source)
    if opened.dataset != manifest.dataset:
        raise SourceMismatch(
            "The source is another dataset.", file=source, expected=manifest.dataset, found=opened.dataset
        )
    return opened


def _only(groups: Sequence[gallery.Group], only: str | None) -> Sequence[gallery.Group]:
    if only is None:
        return groups
    names = sorted({row.set or row.split for group in groups for row in group.rows})
    kept = [group for group in groups if any((row.set or row.split) == only for row in group.rows)]
    if not kept:
        raise RecipeError(
            f"There is nothing to show of “{printable(only, 60)}”.", expected=", ".join(map(printable, names))
        )
    return kept


def _tasks(
    groups: Sequence[gallery.Group], rows: Sequence[Row], samples: dict[str, Sample], number: int
) -> list[gallery.Task]:
    own = {row.id: row for row in rows if row.set is None and row.mask is None}
    return [
        gallery.Task(row, group.title, own.get(row.id) if row.set else None, samples.get(row.id))
        for group, row in gallery.chosen(groups, number)
    ]


def _exhibits(
    root: Path, reader: Reader | None, classes: Classes, tasks: list[gallery.Task], workers: Workers
) -> list[Exhibit]:
    viewed = {
        one.row.key: one
        for one in workers.map(Exhibitor(gallery.Viewer(root, reader, classes)), tasks, "drawing")
    }
    return [viewed[task.row.key] for task in tasks]


def _notes(manifest: Manifest, exhibits: Sequence[Exhibit], counted: tallies.Tallies) -> list[str]:
    """What could not be shown, a line for each reason."""
    reasons = Counter(note for one in exhibits for note in one.notes.values() if note)
    found = [f"{note} ({number:,} of the samples shown)" for note, number in sorted(reasons.items())]
    found += [counted.labelled.note] if counted.labelled.note else []
    left_out = len(manifest.evaluation_sets) - gallery.MAX_SETS
    return found + ([f"{left_out:,} more evaluation sets are not shown"] if left_out > 0 else [])


def _compressed(pixels: Pixels) -> bytes:
    """PNG bytes, smaller than ``encode_png`` makes them: this file is made once and kept."""
    done, data = cv2.imencode(
        ".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 6]
    )
    if not done:
        raise RuntimeError(f"OpenCV could not encode an array of shape {pixels.shape} as PNG")
    return data.tobytes()
