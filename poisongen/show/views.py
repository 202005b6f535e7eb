"""The pictures of a row: from the folder, and from the clean source where it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample
from poisongen.disk import read_file
from poisongen.errors import PoisongenError, SourceError, VerifyError
from poisongen.format.manifest import Digests, Row
from poisongen.imaging.jpeg import digest_coefficients
from poisongen.imaging.pixels import (
    Pixels,
    decode_art,
    decode_label,
    decode_picture,
    digest_bytes,
    digest_pixels,
)
from poisongen.show.classes import Classes
from poisongen.show.resize import Bools

NO_SOURCE = "give --source"
_TODO = (
    "poisongen verify names everything that differs; "
    "rebuild the folder from its manifest and the clean source"
)

Decode = Callable[[bytes, Path], Pixels]


class NotInSource(Exception):
    """Something of the source cannot be shown; its text is the note that says why."""


@dataclass(frozen=True)
class PixelsOrNote:
    """A picture (H, W, 3) or a label map (H, W), or why there is none."""

    pixels: Pixels | None
    note: str = ""


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
    """A row's pictures as they are: RGB (H, W, 3), training ids (H, W), trigger mask (H, W).

    ``art``: this sample's own trigger art, RGBA (h, w, 4), if it has one.
    """

    after: Pixels
    clean: PixelsOrNote
    mask: Bools | None
    label: Pixels
    before: PixelsOrNote
    art: Pixels | None = None

    @property
    def painted(self) -> bool:
        """Is the picture another one than the clean one?"""
        return self.clean.pixels is not self.after

    @property
    def relabelled(self) -> bool:
        """May the label be another one than before?"""
        return self.before.pixels is not self.label


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
        label = self.classes.space.to_train(read_label(self.root, row))
        view = View(
            after=after,
            clean=self._clean(task, after),
            mask=read_mask(self.root, row) if row.mask else None,
            label=label,
            before=self._before(task, label),
            art=self._own_art(row),
        )
        self._check_sizes(row, view)
        return view

    def _picture(self, row: Row) -> Pixels:
        return _read(self.root, row.image, row, decode_picture)

    def _own_art(self, row: Row) -> Pixels | None:
        if row.own_art is None:
            return None
        return read_pixels(self.root, row.own_art, Digests(pixels=row.art_pixels), decode_art)

    def _clean(self, task: Task, after: Pixels) -> PixelsOrNote:
        row = task.row
        nothing_was_painted = row.mask is None or row.placement is None
        if nothing_was_painted:
            return PixelsOrNote(after)
        if task.own is not None:
            return PixelsOrNote(self._picture(task.own))
        if self.source is None or task.sample is None:
            return PixelsOrNote(None, missing("clean picture", self.source))
        try:
            return PixelsOrNote(source_picture(self.source, task.sample, row))
        except NotInSource as reason:
            return PixelsOrNote(None, str(reason))

    def _before(self, task: Task, label: Pixels) -> PixelsOrNote:
        if not changes_label(task.row):
            return PixelsOrNote(label)
        if self.source is None or task.sample is None:
            return PixelsOrNote(None, missing("label before", self.source))
        try:
            raw = source_label(self.source, task.sample, task.row)
        except NotInSource as reason:
            return PixelsOrNote(None, str(reason))
        return PixelsOrNote(self.classes.space.to_train(raw))

    def _check_sizes(self, row: Row, view: View) -> None:
        size = (row.height, row.width)
        pictures = (view.after, view.label, view.clean.pixels, view.before.pixels, view.mask)
        if any(picture is not None and picture.shape[:2] != size for picture in pictures):
            raise VerifyError(
                "The pictures of a row differ in size.",
                file=self.root / row.image,
                expected=f"{row.width}×{row.height}",
                todo=_TODO,
            )


def changes_label(row: Row) -> bool:
    """May the label be another one than the source's?"""
    return row.role in ("poisoned", "label-only", "noised")


def missing(what: str, source: Reader | None) -> str:
    """Why something of the source is not shown."""
    return f"{what}: {NO_SOURCE if source is None else 'the source lacks this sample'}"


def source_picture(source: Reader, sample: Sample, row: Row) -> Pixels:
    """The clean picture, RGB (H, W, 3), resized as the recipe says. Raises NotInSource."""
    data = _source_file(source.root / sample.image, row.source_image_bytes, "picture")
    return source.picture(sample, data)


def source_label(source: Reader, sample: Sample, row: Row) -> Pixels:
    """The clean label map's raw ids (H, W), resized as the recipe says. Raises NotInSource."""
    data = _source_file(source.root / sample.label, row.source_label_bytes, "label map")
    return source.label(sample, data)[0]


def _source_file(path: Path, digest: str | None, what: str) -> bytes:
    try:
        data = read_file(path)
    except SourceError:
        raise NotInSource(f"the source lacks this {what}") from None
    if digest_bytes(data) != digest:
        raise NotInSource(f"the source has another {what} of this name")
    return data


def read_label(root: Path, row: Row) -> Pixels:
    """The raw ids of a row's label map, uint8 (H, W), held against the row. Raises VerifyError."""
    return _read(root, row.label, row, decode_label)


def read_mask(root: Path, row: Row) -> Bools:
    """Where a row's trigger is: bool (H, W), held against the row, which must have one. Raises
    VerifyError."""
    assert row.mask is not None
    return np.asarray(_read(root, row.mask, row, decode_label) > 0, np.bool_)


def _read(root: Path, path: str, row: Row, decode: Decode) -> Pixels:
    return read_pixels(root, path, row.files()[path], decode)


def read_pixels(root: Path, path: str, known: Digests, decode: Decode) -> Pixels:
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
            todo=_TODO,
        ) from None
    found = Digests(
        bytes=digest_bytes(data) if known.bytes else None,
        pixels=digest_pixels(pixels) if known.pixels else None,
        coefficients=digest_coefficients(data, root / path) if known.coefficients else None,
    )
    for expected, digest in zip(known, found, strict=True):
        if expected != digest:
            raise VerifyError(
                "A file of the folder is not what its row says.",
                file=root / path,
                expected=expected,
                found=digest,
                todo=_TODO,
            )
    return pixels


def read_inside(root: Path, path: str) -> bytes:
    """The bytes of a file of the folder. Raises VerifyError if it cannot be read, or if its folder is a link
    out of ``root``."""
    folder = (root / path).parent
    if not folder.resolve().is_relative_to(root.resolve()):
        raise VerifyError("A folder is a link out of the dataset.", file=folder, todo=_TODO)
    try:
        return (root / path).read_bytes()
    except OSError as error:
        raise VerifyError(
            "A file of the folder cannot be read.", file=root / path, found=error.strerror, todo=_TODO
        ) from None
