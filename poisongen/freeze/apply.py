"""Plan and source in, dataset folder out: the pixel work, sample by sample, in parallel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Source
from poisongen.disk import LinkMode, check_apart, place_clean, read_file, unreadable, write_atomic
from poisongen.engine.workers import Workers
from poisongen.errors import ManifestError, SourceError
from poisongen.format.manifest import (
    Labels,
    Manifest,
    Rejected,
    Row,
    SourceFacts,
    Splits,
    canonical,
    environment,
    fingerprint,
    identity,
    measure_of,
    rows_text,
)
from poisongen.format.sums import sums_text
from poisongen.freeze.card import data_card
from poisongen.freeze.partial_folder import PartialFolder
from poisongen.freeze.plan import Entry, Plan, planned_row
from poisongen.freeze.summary import short_name
from poisongen.imaging import jpeg as dct
from poisongen.imaging.headers import check_picture
from poisongen.imaging.pixels import Pixels, digest_bytes, digest_pixels, encode_label, encode_png
from poisongen.labels import LabelSpace
from poisongen.names import CARD, MANIFEST, SAMPLES, SUMS, prefix
from poisongen.randomness import Stream
from poisongen.recipe import Recipe
from poisongen.relabel import changed_pixels
from poisongen.surfaces import is_any
from poisongen.triggers import Art
from poisongen.version import __version__


@dataclass(frozen=True)
class Done:
    """What was written for one entry: its row, the digest of each file's bytes, the state of the source's
    files, bytes copied."""

    row: Row
    sums: dict[str, str]
    stats: dict[str, list[int]]
    copied: int = 0

    def journal_entry(self) -> dict[str, Any]:
        """As one line of the journal."""
        return {"row": self.row.model_dump(exclude_none=True), "sums": self.sums, "stats": self.stats}

    @classmethod
    def from_journal(cls, entry: Mapping[str, Any]) -> "Done | None":
        """Back from a line of the journal; None for a line that says nothing, which is then done again."""
        try:
            return cls(
                Row.model_validate_json(canonical(entry["row"])), dict(entry["sums"]), dict(entry["stats"])
            )
        except (KeyError, TypeError, ValueError):
            return None


@dataclass
class _Written:
    """Files of one entry as they are written."""

    root: Path
    sums: dict[str, str] = field(default_factory=dict)
    copied: int = 0

    def file(self, path: str, data: bytes) -> None:
        """Write what was encoded anew."""
        write_atomic(self.root / path, data)
        self.sums[path] = digest_bytes(data)

    def png(self, path: str, pixels: Pixels) -> str:
        """Encode and write; returns the digest of the pixels."""
        self.file(path, encode_png(pixels))
        return digest_pixels(pixels)

    def clean(self, path: str, source: Path, data: bytes, mode: LinkMode) -> str:
        """Copy or link; returns the digest of the bytes."""
        self.copied += place_clean(source, self.root / path, data, mode)
        self.sums[path] = digest_bytes(data)
        return self.sums[path]


_AGAIN = "run the command again, with --restart if it was interrupted"


@dataclass(frozen=True)
class Writer:
    """Writes the files of one entry below ``out``. Runs in worker processes; depends on its entry and the
    source only."""

    reader: Reader
    out: Path
    space: LabelSpace
    recipe: Recipe
    art: Art
    link: LinkMode

    def __call__(self, entry: Entry) -> Done:
        """Raises SourceError for a file that changed since it was planned on, or is damaged."""
        sample, root = entry.examined.sample, self.reader.root
        stats = {path: _state(root / path) for path in (sample.image, sample.label)}
        image_data, label_data = read_file(root / sample.image), read_file(root / sample.label)
        if digest_bytes(label_data) != entry.examined.label_bytes:
            raise SourceError(
                "A label map changed while the dataset was built.", file=root / sample.label, todo=_AGAIN
            )
        written, row = _Written(self.out), planned_row(entry, self.recipe)
        needs_label = "source_label_bytes" in row or sample.label_train or row["mask"]
        raw = self.reader.label(sample, label_data)[0] if needs_label else None
        row |= self._picture(entry, written, row, image_data, raw)
        row |= self._label(entry, written, row, label_data, raw)
        return Done(
            Row(**{key: value for key, value in row.items() if value is not None}),
            written.sums,
            stats,
            written.copied,
        )

    def _picture(
        self, entry: Entry, written: _Written, row: dict[str, Any], data: bytes, raw: Pixels | None
    ) -> dict[str, Any]:
        """Write picture and mask; returns what the row says of them."""
        sample, poison = entry.examined.sample, self.recipe.poison
        source = self.reader.root / sample.image
        trigger = poison.trigger_in(entry.set) if poison and entry.shows_trigger else None
        altered = trigger is not None and trigger.alters_picture
        facts: dict[str, Any] = {}
        if trigger is not None and not altered:
            assert raw is not None
            facts["mask_pixels"] = written.png(row["mask"], self._mask(entry, raw))
        if not altered and not self.recipe.scale:
            check_picture(data, source)
            return facts | {"image_bytes": written.clean(row["image"], source, data, self.link)}
        picture = self.reader.picture(sample, data)
        if picture.shape[:2] != (row["height"], row["width"]):
            raise SourceError("A picture changed while the dataset was built.", file=source, todo=_AGAIN)
        covered = np.zeros(picture.shape[:2], np.uint8)
        if trigger is not None and altered:
            box = entry.location.box if entry.location else None
            triggered = trigger.apply(picture, self.art, sample.id, box)
            picture, covered = triggered.picture, triggered.mask
            facts["trigger_pixels"] = int(np.count_nonzero(covered))
            facts["mask_pixels"] = written.png(row["mask"], covered)
        facts["source_image_bytes"] = digest_bytes(data)
        if row["image"].lower().endswith(".png"):
            return facts | {"image_pixels": written.png(row["image"], picture)}
        spliced = dct.splice(data, picture, covered > 0, source)
        written.file(row["image"], spliced.data)
        victims = self.recipe.measured(self.space) if poison and poison.relabel.needs_victims else ()
        assert raw is not None
        reached = int(np.count_nonzero(is_any(self.space.to_train(raw), victims) & spliced.reencoded))
        return facts | {
            "image_coefficients": spliced.coefficients,
            "victim_pixels_in_blocks": reached if victims else None,
        }

    def _mask(self, entry: Entry, raw: Pixels) -> Pixels:
        """Where the trigger of an entry is, uint8 (H, W); ``raw`` is the source's label map."""
        assert self.recipe.poison is not None
        trigger = self.recipe.poison.trigger_in(entry.set)
        box = entry.location.box if entry.location else None
        return trigger.mask_in(self.space.to_train(raw), self.art, entry.examined.sample.id, box)

    def _label(
        self, entry: Entry, written: _Written, row: dict[str, Any], data: bytes, raw: Pixels | None
    ) -> dict[str, Any]:
        """Write the label maps; returns what the row says of them. Random labels come first, then the
        relabel."""
        sample, recipe = entry.examined.sample, self.recipe
        facts: dict[str, Any] = {}
        if "label_bytes" in row:
            written.clean(row["label"], self.reader.root / sample.label, data, self.link)
        else:
            assert raw is not None
            noised = claimed = raw
            if row["randomised_pixels"]:
                assert recipe.random_pixels is not None
                stream = Stream(recipe.seed, "random labels", sample.id)
                noised = claimed = recipe.random_pixels.apply(raw, self.space, stream)
                facts["randomised_pixels"] = changed_pixels(raw, noised)
            if entry.relabelled:
                assert recipe.poison is not None
                source_map = raw
                claimed = recipe.poison.relabelled(
                    noised, self.space, trigger_mask=lambda: self._mask(entry, source_map)
                )
                facts["relabelled_pixels"] = changed_pixels(noised, claimed)
            raw = claimed
            written.file(row["label"], encode_label(raw, data))
            facts["label_pixels"] = digest_pixels(raw)
        if sample.label_train:
            assert raw is not None
            facts["label_train_pixels"] = written.png(row["label_train"], self.space.to_train(raw))
        return facts


def _state(path: Path) -> list[int]:
    """Size and time of change: another state means that the file must be looked at again."""
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    return [status.st_size, status.st_mtime_ns]


@dataclass(frozen=True)
class ResumeCheck:
    """Is an entry of the journal what lies in the folder, made from what lies in the source?"""

    root: Path
    out: Path

    def __call__(self, done: Done) -> Done | None:
        """The entry, or None if it must be done again."""
        try:
            same_source = all(_state(self.root / path) == state for path, state in done.stats.items())
            same_files = all(
                digest_bytes((self.out / path).read_bytes()) == digest for path, digest in done.sums.items()
            )
        except (OSError, SourceError):
            return None
        return done if same_source and same_files else None


@dataclass(frozen=True)
class Built:
    """A finished folder."""

    out: Path
    manifest: Manifest
    files: int
    bytes: int
    copied: int
    resumed: int


def build(
    plan: Plan,
    source: Source,
    art: Art,
    out: Path,
    workers: Workers,
    *,
    link: LinkMode = "copy",
    restart: bool = False,
    expected_identity: str | None = None,
) -> Built:
    """Apply a plan to its source and seal the folder ``out``.

    Raises SourceError, and OutputError if ``out`` cannot be used or (for a rebuild) would not get
    ``expected_identity``. Interrupted in any way, it leaves ``OUT.partial``, from which the same call goes
    on.
    """
    for part in {
        path.partition("/")[0] for sample in source.samples for path in (sample.image, sample.label)
    }:
        check_apart(out, source.root / part)
    with PartialFolder(out, restart=restart) as place:
        facts = plan.facts() | {"link": link, "version": __version__}
        journalled = [entry for entry in map(Done.from_journal, place.bind(facts)) if entry]
        kept = [
            done for done in workers.map(ResumeCheck(source.root, place.path), journalled, "checking") if done
        ]
        done = {one.row.key: one for one in kept}
        missing = [entry for entry in plan.entries if entry.key not in done]
        writer = Writer(
            Reader(source.root, plan.recipe.scale), place.path, source.space, plan.recipe, art, link
        )
        with place.journal() as journal:
            for one in workers.map(writer, missing, "writing"):
                journal.add(one.journal_entry())
                done[one.row.key] = one
        rows = [one.row for one in done.values()]
        text = rows_text(rows)
        if expected_identity is not None and identity(text) != expected_identity:
            place.abandon()
            raise ManifestError(
                "The rebuilt dataset is not the one that the manifest describes.",
                expected=expected_identity,
                found=identity(text),
                todo="get the manifest again: a digest in its rows is wrong, or it was written by other rules; nothing was kept",
            )
        lists = _lists(source, rows)
        manifest = describe(plan, source, rows, tuple(sorted(lists)))
        sums = {path: digest for one in done.values() for path, digest in one.sums.items()}
        for path, data in (_own_files(art, manifest, rows, text) | lists).items():
            write_atomic(place.path / path, data)
            sums[path] = digest_bytes(data)
        manifest_bytes = manifest.text().encode()
        sums[MANIFEST] = digest_bytes(manifest_bytes)
        write_atomic(place.path / SUMS, sums_text(sums).encode())
        write_atomic(place.path / MANIFEST, manifest_bytes)
        size = sum((place.path / path).stat().st_size for path in (*sums, SUMS))
        place.seal({*sums, SUMS})
    return Built(out, manifest, len(sums) + 1, size, sum(one.copied for one in done.values()), len(kept))


def describe(plan: Plan, source: Source, rows: list[Row], lists: tuple[str, ...]) -> Manifest:
    """The manifest of a dataset with these rows."""
    poison = plan.recipe.poison
    return Manifest(
        tool={"name": "poisongen", "version": __version__},
        identity=identity(rows_text(rows)),
        name=short_name(plan.recipe, source.space.names),
        dataset=source.dataset,
        source=SourceFacts(
            layout=source.layout, splits=source.splits, fingerprint=fingerprint(rows), license=source.license
        ),
        splits=Splits(train=source.train_split, evaluation=source.evaluation_split),
        label_space=Labels.of(source.space),
        measure=measure_of(plan.recipe, source.space),
        recipe=plan.recipe,
        evaluation_sets=tuple(planned.name for planned in poison.evaluation_sets) if poison else (),
        counts=plan.counts,
        rejected=tuple(Rejected(id=id_, set=name, reason=reason) for id_, name, reason in plan.rejected),
        art=plan.recipe.art_files(),
        lists=lists,
        environment=environment(),
    )


def _own_files(art: Art, manifest: Manifest, rows: list[Row], text: str) -> dict[str, bytes]:
    """The files that are of the folder itself: rows, card, art."""
    files = {SAMPLES: text.encode(), CARD: data_card(manifest).encode()}
    for name in (*manifest.art, *(row.own_art for row in rows if row.own_art)):
        files[name] = encode_png(art.picture(name))
    return files


def _lists(source: Source, rows: list[Row]) -> dict[str, bytes]:
    """The layout's own text files: as they are, or lists with the lines of the samples that the folder, and
    each evaluation set, has."""
    files = dict[str, bytes]()
    for name in {row.set for row in rows}:
        files |= {prefix(name) + path: data for path, data in source.carried.items()}
        members = {row.id for row in rows if row.set == name}
        for path, lines in source.lists.items():
            kept = "".join(line + "\n" for sample_id, line in lines if sample_id in members)
            if kept or name is None:
                files[prefix(name) + path] = kept.encode()
    return files
