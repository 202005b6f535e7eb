"""Writing ``gallery.png`` and ``report.html`` of a finished dataset folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from poisongen.show import gallery, statistics
from poisongen.show.captions import title
from poisongen.show.classes import Classes
from poisongen.show.contact_sheet import contact_sheet
from poisongen.show.page import Contents, report
from poisongen.show.rendered import RenderedRow, RowRenderer
from poisongen.show.text import printable
from poisongen.show.trigger_art import trigger_arts
from poisongen.show.views import Task, Viewer

NUMBER = 12
"""Of samples that are shown, unless the user says how many."""


class ShownSample(NamedTuple):
    """A sample that is shown, and the title of its group."""

    group: str
    id: str


@dataclass(frozen=True)
class Shown:
    """What was written: the two files in ``root`` with their sizes in bytes, the samples that are shown, and
    what could not be."""

    root: Path
    sizes: dict[str, int]
    samples: tuple[ShownSample, ...]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a terminal."""
        gallery_size, report_size = (summary.size_text(self.sizes[name]) for name in (GALLERY, REPORT))
        return [
            f"wrote {self.root / GALLERY}: {len(self.samples):,} samples, {gallery_size}",
            f"wrote {self.root / REPORT}: {report_size}",
            "they contain pictures of the dataset: do not share them unless its licence allows it",
        ]

    def values(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "folder": str(self.root),
            "bytes": self.sizes,
            "samples": [{"id": sample.id, "group": sample.group} for sample in self.samples],
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
    clean = None if source is None else _open(manifest, source)
    reader = None if clean is None else Reader(clean.root, manifest.recipe.scale)
    samples = {} if clean is None else {sample.id: sample for sample in clean.samples}
    groups = gallery.groups(manifest, rows)
    tasks = _tasks(gallery.chosen(_only(groups, only), number), rows, samples)
    rendered = _rendered(Viewer(root, reader, classes), tasks, workers)
    folder_reader = statistics.FolderReader(root, reader, samples, classes.space)
    counted = statistics.count(folder_reader, manifest, rows, groups, workers)
    about = summary.describe_attack(manifest.recipe, classes.space.names).splitlines()
    contents = Contents(
        title=title(manifest),
        about=[printable(line) for line in about],
        notes=_notes(manifest, rendered, counted),
        rows=rendered,
        triggers=trigger_arts(root, manifest, classes, rendered),
        statistics=counted,
    )
    lines = [*contents.about, manifest.identity, *contents.notes]
    sheet = contact_sheet(contents.title, _warning(manifest), lines, classes, rendered)
    page = report(manifest, classes, contents)
    files = {GALLERY: _compressed(sheet), REPORT: page.encode()}
    for name, data in files.items():
        write_atomic(out / name, data)
    return Shown(
        root=out,
        sizes={name: len(data) for name, data in files.items()},
        samples=tuple(ShownSample(one.group, one.row.id) for one in rendered),
        notes=tuple(contents.notes),
    )


def _warning(manifest: Manifest) -> str:
    licence = printable(manifest.source.license, 1000)
    return "Contains dataset pictures: do not share, unless the licence of the source allows it. " + licence


def _read(root: Path) -> tuple[Manifest, tuple[Row, ...]]:
    if not (root / MANIFEST).exists():
        raise ManifestError(
            "This is not a finished dataset folder.",
            file=root,
            expected=MANIFEST,
            found=_found_instead(root),
            todo="give a folder that poisongen finished; one that it has not ends in .partial: "
            "repeat the command that began it",
        )
    manifest, rows = read(root)
    manifest.recipe.check(Classes.of(manifest).space)
    wrong = contradictions(manifest, rows)
    if wrong:
        raise ManifestError(
            "A manifest contradicts itself.",
            file=root / MANIFEST,
            found="; ".join(wrong),
            todo="poisongen verify names every difference",
        )
    return manifest, rows


def _found_instead(root: Path) -> str:
    if (root / PLAN).exists():
        return "an unfinished folder"
    return "no manifest" if root.is_dir() else "nothing"


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
    """The groups of one evaluation set or split. Raises RecipeError if there are none."""
    if only is None:
        return groups
    kept = [group for group in groups if only in _names(group)]
    if not kept:
        names = {name for group in groups for name in _names(group)}
        raise RecipeError(
            f"There is nothing to show of “{printable(only, 60)}”.",
            expected=", ".join(printable(name) for name in sorted(names)),
        )
    return kept


def _names(group: gallery.Group) -> set[str]:
    """The evaluation set or the splits of a group's rows."""
    return {row.set or row.split for row in group.rows}


def _tasks(
    chosen: Sequence[gallery.Chosen], rows: Sequence[Row], samples: Mapping[str, Sample]
) -> list[Task]:
    own_rows = {row.id: row for row in rows if row.set is None and row.mask is None}
    tasks = []
    for group, row in chosen:
        own = own_rows.get(row.id) if row.set else None
        tasks.append(Task(row, group.title, own, samples.get(row.id)))
    return tasks


def _rendered(viewer: Viewer, tasks: Sequence[Task], workers: Workers) -> list[RenderedRow]:
    """In the order of the tasks; the workers' order is any."""
    by_key = {one.row.key: one for one in workers.map(RowRenderer(viewer), tasks, "drawing")}
    return [by_key[task.row.key] for task in tasks]


def _notes(manifest: Manifest, rendered: Sequence[RenderedRow], counted: statistics.Statistics) -> list[str]:
    """What could not be shown, a line for each reason."""
    reasons = Counter(note for one in rendered for note in (one.clean_note, one.before_note) if note)
    notes = [f"{note} ({number:,} of the samples shown)" for note, number in sorted(reasons.items())]
    if counted.labels.note:
        notes.append(counted.labels.note)
    left_out = len(manifest.evaluation_sets) - gallery.MAX_SETS
    if left_out > 0:
        notes.append(f"{left_out:,} more evaluation sets are not shown")
    return notes


def _compressed(pixels: Pixels) -> bytes:
    """PNG bytes, smaller than ``encode_png`` makes them: this file is made once and kept."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise RuntimeError(f"OpenCV could not encode an array of shape {pixels.shape} as PNG")
    return data.tobytes()
