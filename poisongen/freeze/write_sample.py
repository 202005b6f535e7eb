"""The files of one sample: picture, mask and label maps, written below the folder. Runs in worker
processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample
from poisongen.disk import LinkMode, place_clean, read_file, unreadable, write_atomic
from poisongen.errors import SourceError
from poisongen.format.manifest import Digests, Row, canonical
from poisongen.freeze.rows import (
    Entry,
    PlannedRow,
    ShownTrigger,
    WrittenImage,
    WrittenLabel,
    plan_row,
    written_row,
)
from poisongen.imaging import jpeg
from poisongen.imaging.headers import check_picture
from poisongen.imaging.pixels import Box, Pixels, digest_bytes, digest_pixels, encode_label, encode_png
from poisongen.labels import LabelSpace
from poisongen.randomness import Stream
from poisongen.recipe import Recipe
from poisongen.relabel import changed_pixels
from poisongen.surfaces import is_any
from poisongen.triggers import Art, Trigger

_AGAIN = "run the command again, with --restart if it was interrupted"


class FileState(NamedTuple):
    """A file of the source as the system describes it: another state means that it must be looked at
    again."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """Raises SourceError for a file that is not there."""
        try:
            status = path.stat()
        except OSError as error:
            raise unreadable(path, error) from None
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Done:
    """What was written for one entry: its row, the digest of each file's bytes, the state of the source's
    files, bytes copied."""

    row: Row
    sums: Mapping[str, str]
    states: Mapping[str, FileState]
    copied: int = 0

    def journal_entry(self) -> dict[str, Any]:
        """As one line of the journal."""
        return {"row": self.row.model_dump(exclude_none=True), "sums": self.sums, "stats": self.states}

    @classmethod
    def from_journal(cls, entry: Mapping[str, Any]) -> "Done | None":
        """Back from a line of the journal; None for a line that says nothing, which is then done again."""
        try:
            row = Row.model_validate_json(canonical(entry["row"]))
            states = {path: FileState(*state) for path, state in dict(entry["stats"]).items()}
            return cls(row, dict(entry["sums"]), states)
        except (KeyError, TypeError, ValueError):
            return None


@dataclass
class _Files:
    """The files of one entry as they are written below ``root``."""

    root: Path
    link: LinkMode
    sums: dict[str, str] = field(default_factory=dict)
    copied: int = 0

    def write(self, path: str, data: bytes) -> None:
        """What was encoded anew."""
        write_atomic(self.root / path, data)
        self.sums[path] = digest_bytes(data)

    def write_png(self, path: str, pixels: Pixels) -> str:
        """Encode and write; returns the digest of the pixels."""
        self.write(path, encode_png(pixels))
        return digest_pixels(pixels)

    def place(self, path: str, source: Path, data: bytes) -> str:
        """Copy or link a file of the source; returns the digest of its bytes."""
        self.copied += place_clean(source, self.root / path, data, self.link)
        self.sums[path] = digest_bytes(data)
        return self.sums[path]


@dataclass
class _Opened:
    """A sample's files, read; the label map is decoded when somebody needs it."""

    reader: Reader
    space: LabelSpace
    sample: Sample
    image: bytes
    label: bytes

    @property
    def image_path(self) -> Path:
        return self.reader.root / self.sample.image

    @property
    def label_path(self) -> Path:
        return self.reader.root / self.sample.label

    @cached_property
    def raw(self) -> Pixels:
        """The label map, raw ids, uint8 (H, W)."""
        return self.reader.label(self.sample, self.label)[0]

    @cached_property
    def train(self) -> Pixels:
        """The label map, training ids, uint8 (H, W)."""
        return self.space.to_train(self.raw)


@dataclass(frozen=True)
class Writer:
    """Writes the files of one entry below ``out``; depends on its entry and the source only."""

    reader: Reader
    out: Path
    space: LabelSpace
    recipe: Recipe
    art: Art
    link: LinkMode

    def __call__(self, entry: Entry) -> Done:
        """Raises SourceError for a file that changed since it was planned on, or is damaged."""
        root, sample = self.reader.root, entry.sample
        states = {path: FileState.of(root / path) for path in (sample.image, sample.label)}
        image, label = read_file(root / sample.image), read_file(root / sample.label)
        source = _Opened(self.reader, self.space, sample, image, label)
        if digest_bytes(label) != entry.examined.label_bytes:
            raise SourceError(
                "A label map changed while the dataset was built.", file=source.label_path, todo=_AGAIN
            )
        planned = plan_row(entry, self.recipe)
        files = _Files(self.out, self.link)
        written_image = self._write_image(planned, source, files)
        written_label = self._write_label(planned, source, files)
        row = written_row(planned, written_image, written_label)
        return Done(row, files.sums, states, files.copied)

    def _write_image(self, planned: PlannedRow, source: _Opened, files: _Files) -> WrittenImage:
        """Write the picture, and the mask of the trigger that it shows."""
        shown = planned.shown
        if shown is None:
            return self._write_unaltered(planned, source, files)
        if shown.trigger.alters_picture:
            return self._write_triggered(planned, shown, source, files)
        mask_pixels = files.write_png(shown.mask, self._mask(shown.trigger, shown.box, source))
        return replace(self._write_unaltered(planned, source, files), mask_pixels=mask_pixels)

    def _write_unaltered(self, planned: PlannedRow, source: _Opened, files: _Files) -> WrittenImage:
        """The source's own picture: as it is, or resized."""
        if not planned.new_image:
            check_picture(source.image, source.image_path)
            copied = files.place(planned.image, source.image_path, source.image)
            return WrittenImage(Digests(bytes=copied))
        pixels = files.write_png(planned.image, self._picture(planned, source))
        return WrittenImage(Digests(pixels=pixels), source_bytes=digest_bytes(source.image))

    def _write_triggered(
        self, planned: PlannedRow, shown: ShownTrigger, source: _Opened, files: _Files
    ) -> WrittenImage:
        """The picture with the trigger, and its mask."""
        picture = self._picture(planned, source)
        triggered = shown.trigger.apply(picture, self.art, source.sample.id, shown.box)
        written = WrittenImage(
            Digests(),
            source_bytes=digest_bytes(source.image),
            mask_pixels=files.write_png(shown.mask, triggered.mask),
            trigger_pixels=int(np.count_nonzero(triggered.mask)),
        )
        if planned.image.lower().endswith(".png"):
            return replace(written, digests=Digests(pixels=files.write_png(planned.image, triggered.picture)))
        spliced = jpeg.splice(source.image, triggered.picture, triggered.mask > 0, source.image_path)
        files.write(planned.image, spliced.data)
        return replace(
            written,
            digests=Digests(coefficients=spliced.coefficients),
            victim_pixels_in_blocks=self._victims_in(source, spliced.reencoded),
        )

    def _picture(self, planned: PlannedRow, source: _Opened) -> Pixels:
        """The source's picture, RGB uint8 (H, W, 3), resized where the recipe says so."""
        picture = self.reader.picture(source.sample, source.image)
        if picture.shape[:2] != planned.size:
            raise SourceError(
                "A picture changed while the dataset was built.", file=source.image_path, todo=_AGAIN
            )
        return picture

    def _victims_in(self, source: _Opened, area: jpeg.Bools) -> int | None:
        """How many victim pixels lie in an area, bool (H, W); None for an attack without victims."""
        poison = self.recipe.poison
        if poison is None or not poison.relabel.needs_victims:
            return None
        victims = is_any(source.train, self.recipe.measured(self.space))
        return int(np.count_nonzero(victims & area))

    def _mask(self, trigger: Trigger, box: Box | None, source: _Opened) -> Pixels:
        """Where the trigger is, uint8 (H, W) of 0 and 255, as the source's label map has it."""
        return trigger.mask_in(source.train, self.art, source.sample.id, box)

    def _write_label(self, planned: PlannedRow, source: _Opened, files: _Files) -> WrittenLabel:
        """Write the label maps. Random labels come first, then the relabel."""
        if not planned.new_label:
            digests = Digests(bytes=files.place(planned.label, source.label_path, source.label))
            if planned.label_train is None:
                return WrittenLabel(digests)
            return WrittenLabel(digests, files.write_png(planned.label_train, source.train))
        noised = self._noised(planned, source)
        claimed = self._relabelled(planned, noised, source)
        files.write(planned.label, encode_label(claimed, source.label))
        train_pixels = None
        if planned.label_train is not None:
            train_pixels = files.write_png(planned.label_train, self.space.to_train(claimed))
        return WrittenLabel(
            Digests(pixels=digest_pixels(claimed)),
            train_pixels,
            randomised_pixels=changed_pixels(source.raw, noised) if planned.random_pixels else None,
            relabelled_pixels=changed_pixels(noised, claimed) if planned.relabel else None,
        )

    def _noised(self, planned: PlannedRow, source: _Opened) -> Pixels:
        if planned.random_pixels is None:
            return source.raw
        stream = Stream(self.recipe.seed, "random labels", source.sample.id)
        return planned.random_pixels.apply(source.raw, self.space, stream)

    def _relabelled(self, planned: PlannedRow, noised: Pixels, source: _Opened) -> Pixels:
        """The map with the attack's claims; where they depend on the trigger, it lies as in the source's
        map."""
        if planned.relabel is None:
            return noised
        trigger, location = planned.relabel.trigger, planned.entry.location
        mask = partial(self._mask, trigger, location.box if location else None, source)
        return planned.relabel.relabelled(noised, self.space, mask)


@dataclass(frozen=True)
class ResumeCheck:
    """Is an entry of the journal what lies in the folder, made from what lies in the source?"""

    root: Path
    out: Path

    def __call__(self, done: Done) -> Done | None:
        """The entry, or None if it must be done again."""
        try:
            same = self._same_source(done) and self._same_files(done)
        except (OSError, SourceError):
            return None
        return done if same else None

    def _same_source(self, done: Done) -> bool:
        return all(FileState.of(self.root / path) == state for path, state in done.states.items())

    def _same_files(self, done: Done) -> bool:
        return all(
            digest_bytes((self.out / path).read_bytes()) == digest for path, digest in done.sums.items()
        )
