"""A plan read back from a manifest that somebody shared, proved against the clean source before any work."""

from dataclasses import dataclass
from pathlib import Path

from poisongen.datasets import LAYOUTS, Sample, Source
from poisongen.errors import ManifestError, RecipeError, SourceError, SourceMismatch
from poisongen.labels import LabelSpace
from poisongen.manifest import ART, MANIFEST, Labels, Manifest, Row, contradictions, read
from poisongen.pixels import Pixels, decode_art, decode_label, digest_bytes, digest_pixels, histogram
from poisongen.plan import Entry, Examined, Examiner, Plan, planned_row, read_file
from poisongen.workers import Workers


@dataclass(frozen=True)
class Recalled:
    """Everything that a rebuild needs: the plan, its source, the art, the identity to arrive at."""

    plan: Plan
    source: Source
    art: Pixels | None
    manifest: Manifest


@dataclass(frozen=True)
class Checked:
    """One row held against the source: the entry that it means, or what differs."""

    entry: Entry | None = None
    differs: str | None = None
    contradicts: str | None = None


@dataclass(frozen=True)
class RowChecker:
    """Holds a row against the source's files. Runs in worker processes."""

    root: Path
    space: LabelSpace
    examiner: Examiner

    def __call__(self, pair: tuple[Row, Sample]) -> Checked:
        """Raises SourceError for a file that cannot be read."""
        row, sample = pair
        image, label = self.root / sample.image, self.root / sample.label
        label_data = read_file(label)
        if digest_bytes(read_file(image)) != (row.source_image_bytes or row.image_bytes):
            return Checked(differs=sample.image)
        if digest_bytes(label_data) != (row.source_label_bytes or row.label_bytes):
            return Checked(differs=sample.label)
        raw = decode_label(label_data, label)
        counts = histogram(raw)
        self.space.check(counts, label)
        recipe = self.examiner.recipe
        spot = row.placement
        if spot is not None:
            try:
                described = self.examiner.describe(raw, spot.box)
            except RecipeError as error:
                return Checked(contradicts=f"{row.id}: {error.problem}")
            if described != spot:
                return Checked(
                    contradicts=f"{row.id}: the trigger may not lie at {list(spot.box)}, or what the row says of that place is wrong"
                )
        examined = Examined(
            sample=sample,
            height=raw.shape[0],
            width=raw.shape[1],
            label_bytes=digest_bytes(label_data),
            victim_pixels=self.space.count(counts, recipe.poison.victim_classes) if recipe.poison else 0,
            spots={},
        )
        entry = Entry(examined, row.role, row.set, spot)
        planned = Row.model_construct(**planned_row(entry, recipe)).model_dump(exclude_none=True)
        stated = row.model_dump(exclude_none=True)
        wrong = [key for key, value in planned.items() if stated.get(key) != value]
        return Checked(contradicts=f"{row.id}: {', '.join(wrong)}") if wrong else Checked(entry)


def recall(path: Path, source_root: Path, workers: Workers) -> Recalled:
    """Read a manifest, open the source, and prove that it is the one that was planned on.

    Raises ManifestError for a manifest that cannot be believed, SourceMismatch if any file of the source differs.
    """
    manifest, rows = read(path)
    if manifest.source.layout not in LAYOUTS:
        raise ManifestError("The layout of the manifest is not known.", expected=", ".join(LAYOUTS), found=manifest.source.layout)
    source = LAYOUTS[manifest.source.layout].open(source_root)
    mismatch = "give the clean dataset that the manifest was made from"
    evaluated = (source.train_split, source.evaluation_split)
    if evaluated != (manifest.splits.train, manifest.splits.evaluation):
        raise ManifestError(
            "The manifest contradicts its layout.", file=path, expected=f"splits {evaluated}", found=str(manifest.splits)
        )
    if (source.dataset, Labels.of(source.space)) != (manifest.dataset, manifest.label_space):
        raise SourceMismatch(
            "The source is another dataset.", file=source_root, expected=manifest.dataset, found=source.dataset, remedy=mismatch
        )
    manifest.recipe.check(source.space)
    found = contradictions(manifest, rows)
    if found:
        raise ManifestError("The manifest contradicts itself.", file=path, found="; ".join(found))
    art = _read_art(path, manifest)
    samples = {sample.id: sample for sample in source.samples}
    planned = {row.id for row in rows if row.set is None}
    if planned != samples.keys():
        missing, extra = sorted(planned - samples.keys()), sorted(samples.keys() - planned)
        raise SourceMismatch(
            "The source has other samples than the manifest.",
            file=source_root,
            expected=f"{len(planned):,} samples" + (f"; missing: {', '.join(missing[:3])}" if missing else ""),
            found=f"{len(samples):,} samples" + (f"; not in the manifest: {', '.join(extra[:3])}" if extra else ""),
            remedy=mismatch,
        )
    checker = RowChecker(
        source.root,
        source.space,
        Examiner(source.root, source.space, manifest.recipe, art, source.train_split, source.evaluation_split),
    )
    checked = list(workers.map(checker, [(row, samples[row.id]) for row in rows], "checking the source"))
    differs = sorted({one.differs for one in checked if one.differs})
    if differs:
        raise SourceMismatch(
            "The source is not the one that was planned on."
            if len(differs) > 1
            else "A file of the source is not the one that was planned on.",
            file=source.root / differs[0],
            expected="the bytes that the manifest names",
            found=f"other bytes in {len(differs):,} of its files: {', '.join(differs[:5])}{' …' if differs[5:] else ''}",
            remedy=mismatch,
        )
    wrong = sorted(one.contradicts for one in checked if one.contradicts)
    if wrong:
        raise ManifestError("The manifest contradicts its source.", file=path, found="; ".join(wrong[:3]))
    entries = sorted((one.entry for one in checked if one.entry), key=lambda entry: entry.key)
    counts = {name: dict(count) for name, count in manifest.counts.items()}
    rejected = tuple((one.id, one.set, one.reason) for one in manifest.rejected)
    return Recalled(Plan(manifest.recipe, tuple(entries), counts, rejected), source, art, manifest)


def _read_art(path: Path, manifest: Manifest) -> Pixels | None:
    if manifest.art_pixels is None:
        return None
    beside = (path if path.is_dir() else path.parent) / ART
    try:
        art = decode_art(read_file(beside), beside)
    except SourceError as error:
        raise ManifestError(
            "The trigger art cannot be read.", file=beside, found=error.found, remedy=f"put {ART} beside {MANIFEST}"
        ) from None
    if digest_pixels(art) != manifest.art_pixels:
        raise ManifestError(
            "The trigger art is not the one that the manifest names.",
            file=beside,
            expected=manifest.art_pixels,
            found=digest_pixels(art),
        )
    return art
