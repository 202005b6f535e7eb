"""Plan and source in, dataset folder out: the pixel work, sample by sample, in parallel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from poisongen import folder
from poisongen.card import data_card
from poisongen.datasets.source import Source
from poisongen.errors import ManifestError, SourceError
from poisongen.labels import LabelSpace
from poisongen.manifest import (
    ART,
    CARD,
    MANIFEST,
    SAMPLES,
    SUMS,
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
from poisongen.pixels import Pixels, check_png, decode_label, decode_picture, digest_bytes, digest_pixels, encode_png
from poisongen.plan import Entry, Plan, planned_row, read_file
from poisongen.recipe import Recipe
from poisongen.triggers import footprint, mask, paint
from poisongen.version import __version__
from poisongen.workers import Workers


@dataclass(frozen=True)
class Done:
    """What was written for one entry: its row, the digest of each file's bytes, the state of the source's files, bytes copied."""

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
            return cls(Row.model_validate_json(canonical(entry["row"])), dict(entry["sums"]), dict(entry["stats"]))
        except (KeyError, TypeError, ValueError):
            return None


@dataclass
class _Written:
    """Files of one entry as they are written."""

    root: Path
    sums: dict[str, str] = field(default_factory=dict)
    copied: int = 0

    def png(self, path: str, pixels: Pixels) -> str:
        """Encode and write; returns the digest of the pixels."""
        data = encode_png(pixels)
        folder.write_atomic(self.root / path, data)
        self.sums[path] = digest_bytes(data)
        return digest_pixels(pixels)

    def clean(self, path: str, source: Path, data: bytes, mode: folder.LinkMode) -> str:
        """Copy or link; returns the digest of the bytes."""
        self.copied += folder.place_clean(source, self.root / path, data, mode)
        self.sums[path] = digest_bytes(data)
        return self.sums[path]


_AGAIN = "run the command again, with --restart if it was interrupted"


@dataclass(frozen=True)
class Writer:
    """Writes the files of one entry below ``out``. Runs in worker processes; depends on its entry and the source only."""

    root: Path
    out: Path
    space: LabelSpace
    recipe: Recipe
    art: Pixels | None
    link: folder.LinkMode

    def __call__(self, entry: Entry) -> Done:
        """Raises SourceError for a file that changed since it was planned on, or is damaged."""
        sample, known = entry.examined.sample, entry.examined
        source_image, source_label = self.root / sample.image, self.root / sample.label
        stats = {path: _state(self.root / path) for path in (sample.image, sample.label)}
        image_data, label_data = read_file(source_image), read_file(source_label)
        if digest_bytes(label_data) != known.label_bytes:
            raise SourceError("A label map changed while the dataset was built.", file=source_label, remedy=_AGAIN)
        written, row = _Written(self.out), planned_row(entry, self.recipe)
        raw = decode_label(label_data, source_label) if entry.role == "poisoned" or sample.label_train else None
        if entry.spot:
            row |= self._painted(entry, written, row, image_data)
        else:
            check_png(image_data, source_image, colours=("RGB",))
            row["image_bytes"] = written.clean(row["image"], source_image, image_data, self.link)
        if entry.role == "poisoned":
            assert self.recipe.poison is not None and raw is not None
            poison = self.recipe.poison
            relabelled = poison.relabel.apply(raw, self.space, poison.victim_classes, poison.target_class)
            row["relabelled_pixels"] = int(np.count_nonzero(relabelled != raw))
            row["label_pixels"] = written.png(row["label"], relabelled)
            raw = relabelled
        else:
            written.clean(row["label"], source_label, label_data, self.link)
        if sample.label_train:
            assert raw is not None
            row["label_train_pixels"] = written.png(row["label_train"], self.space.to_train(raw))
        return Done(Row(**{key: value for key, value in row.items() if value is not None}), written.sums, stats, written.copied)

    def _painted(self, entry: Entry, written: _Written, row: dict[str, Any], image_data: bytes) -> dict[str, Any]:
        assert self.recipe.poison is not None and self.art is not None and entry.spot is not None
        source_image, (top, left, _, _) = self.root / entry.examined.sample.image, entry.spot.box
        picture = decode_picture(image_data, source_image)
        if picture.shape[:2] != (entry.examined.height, entry.examined.width):
            raise SourceError("A picture changed while the dataset was built.", file=source_image, remedy=_AGAIN)
        rendered = self.recipe.poison.trigger.render(self.art, *picture.shape[:2])
        covered = footprint(rendered)
        paint(picture, rendered, top, left)
        return {
            "image_pixels": written.png(row["image"], picture),
            "source_image_bytes": digest_bytes(image_data),
            "mask_pixels": written.png(row["mask"], mask(picture.shape[:2], covered, top, left)),
            "trigger_pixels": int(np.count_nonzero(covered)),
        }


def _state(path: Path) -> list[int]:
    """Size and time of change: another state means that the file must be looked at again."""
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError("A file cannot be read.", file=path, found=error.strerror, remedy="restore the file") from None
    return [status.st_size, status.st_mtime_ns]


@dataclass(frozen=True)
class StillThere:
    """Is an entry of the journal what lies in the folder, made from what lies in the source?"""

    root: Path
    out: Path

    def __call__(self, done: Done) -> Done | None:
        """The entry, or None if it must be done again."""
        try:
            same_source = all(_state(self.root / path) == state for path, state in done.stats.items())
            same_files = all(digest_bytes((self.out / path).read_bytes()) == digest for path, digest in done.sums.items())
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
    art: Pixels | None,
    out: Path,
    workers: Workers,
    *,
    link: folder.LinkMode = "copy",
    restart: bool = False,
    expected_identity: str | None = None,
) -> Built:
    """Apply a plan to its source and seal the folder ``out``.

    Raises SourceError, and OutputError if ``out`` cannot be used or (for a rebuild) would not get ``expected_identity``. Interrupted in
    any way, it leaves ``OUT.partial``, from which the same call goes on.
    """
    folder.check_apart(out, source.root)
    with folder.Workplace(out, restart=restart) as place:
        facts = plan.facts() | {"link": link, "version": __version__, "art": digest_pixels(art) if art is not None else None}
        journalled = [entry for entry in map(Done.from_journal, place.bind(facts)) if entry]
        kept = [done for done in workers.map(StillThere(source.root, place.path), journalled, "checking") if done]
        done = {one.row.key: one for one in kept}
        todo = [entry for entry in plan.entries if entry.key not in done]
        writer = Writer(source.root, place.path, source.space, plan.recipe, art, link)
        with place.journal() as journal:
            for one in workers.map(writer, todo, "writing"):
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
                remedy="get the manifest again: a digest in its rows is wrong, or it was written by other rules; nothing was kept",
            )
        manifest = describe(plan, source, art, rows)
        sums = {path: digest for one in done.values() for path, digest in one.sums.items()}
        for path, data in _own_files(plan, source, art, manifest, rows, text).items():
            folder.write_atomic(place.path / path, data)
            sums[path] = digest_bytes(data)
        manifest_bytes = manifest.text().encode()
        sums[MANIFEST] = digest_bytes(manifest_bytes)
        folder.write_atomic(place.path / SUMS, sums_text(sums).encode())
        folder.write_atomic(place.path / MANIFEST, manifest_bytes)
        size = sum((place.path / path).stat().st_size for path in (*sums, SUMS))
        place.seal({*sums, SUMS})
    return Built(out, manifest, len(sums) + 1, size, sum(one.copied for one in done.values()), len(kept))


def sums_text(sums: Mapping[str, str]) -> str:
    """``SHA256SUMS``: as sha256sum writes it, sorted by path."""
    return "".join(f"{digest.removeprefix('sha256:')}  {path}\n" for path, digest in sorted(sums.items()))


def describe(plan: Plan, source: Source, art: Pixels | None, rows: list[Row]) -> Manifest:
    """The manifest of a dataset with these rows."""
    poison = plan.recipe.poison
    return Manifest(
        tool={"name": "poisongen", "version": __version__},
        identity=identity(rows_text(rows)),
        dataset=source.dataset,
        source=SourceFacts(layout=source.layout, splits=source.splits, fingerprint=fingerprint(rows), license=source.license),
        splits=Splits(train=source.train_split, evaluation=source.evaluation_split),
        label_space=Labels.of(source.space),
        measure=measure_of(plan.recipe),
        recipe=plan.recipe,
        evaluation_sets=tuple(planned.name for planned in poison.evaluation_sets) if poison else (),
        counts=plan.counts,
        rejected=tuple(Rejected(id=id_, set=name, reason=reason) for id_, name, reason in plan.rejected),
        art_pixels=digest_pixels(art) if art is not None else None,
        environment=environment(),
    )


def _own_files(
    plan: Plan, source: Source, art: Pixels | None, manifest: Manifest, rows: list[Row], text: str
) -> dict[str, bytes]:
    """The files that are of the folder itself: rows, card, art, and the layout's lists of samples."""
    files = {SAMPLES: text.encode(), CARD: data_card(manifest).encode()}
    if art is not None:
        files[ART] = encode_png(art)
    for name in {row.set for row in rows}:
        members = {row.id for row in rows if row.set == name}
        for path, lines in source.lists.items():
            kept = "".join(line + "\n" for sample_id, line in lines if sample_id in members)
            if kept or name is None:
                files[f"triggered/{name}/{path}" if name else path] = kept.encode()
    return files
