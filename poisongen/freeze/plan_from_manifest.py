"""A plan read back from a manifest that somebody shared, proved against the clean source before any work."""

from dataclasses import dataclass, replace
from pathlib import Path

from poisongen.attack_file import load_code
from poisongen.datasets import LAYOUTS
from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample, Source
from poisongen.disk import read_file
from poisongen.engine.workers import Workers
from poisongen.errors import ManifestError, RecipeError, SourceError, SourceMismatch
from poisongen.format.consistency import contradictions
from poisongen.format.manifest import Labels, Manifest, Row
from poisongen.format.read import read
from poisongen.freeze.plan import RELABELLED, Entry, Examiner, Plan, not_eligible, planned_row
from poisongen.imaging.pixels import digest_bytes
from poisongen.names import MANIFEST
from poisongen.triggers import Art


@dataclass(frozen=True)
class PlanFromManifest:
    """Everything that a rebuild needs: the plan, its source, the art, the identity to arrive at."""

    plan: Plan
    source: Source
    art: Art
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

    examiner: Examiner

    def __call__(self, pair: tuple[Row, Sample]) -> Checked:
        """Raises SourceError for a file that cannot be read."""
        row, sample = pair
        reader = self.examiner.reader
        label_data = read_file(reader.root / sample.label)
        if digest_bytes(read_file(reader.root / sample.image)) != (row.source_image_bytes or row.image_bytes):
            return Checked(differs=sample.image)
        if digest_bytes(label_data) != (row.source_label_bytes or row.label_bytes):
            return Checked(differs=sample.label)
        raw, _ = reader.label(sample, label_data)
        recipe, location = self.examiner.recipe, row.placement
        if location is not None:
            try:
                described = self.examiner.prove(sample, raw, row.set, location.box)
            except RecipeError as error:
                return Checked(contradicts=f"{row.id}: {error.problem}")
            if described != location:
                return Checked(
                    contradicts=f"{row.id}: the trigger may not lie at {list(location.box)}, or what the row says of that place is wrong"
                )
        examined = replace(self.examiner.describe(sample, raw, digest_bytes(label_data)), art=row.art_pixels)
        if (
            recipe.poison
            and row.role not in ("clean", "noised")
            and not_eligible(recipe.poison, examined) is not None
        ):
            return Checked(contradicts=f"{row.id}: it is not eligible")
        random = recipe.random_pixels
        if row.role == "clean" and random and random.scope == "all" and examined.randomised_pixels:
            return Checked(contradicts=f"{row.id}: it lacks its random labels")
        if row.role in RELABELLED:
            claimed = self.examiner.claimed_pixels(sample, raw, location)
            examined = replace(examined, claimed_pixels=claimed)
        entry = Entry(examined, row.role, row.set, location)
        planned = Row.model_construct(**planned_row(entry, recipe)).model_dump(exclude_none=True)
        stated = row.model_dump(exclude_none=True)
        wrong = [key for key, value in planned.items() if stated.get(key) != value]
        return Checked(contradicts=f"{row.id}: {', '.join(wrong)}") if wrong else Checked(entry)


def plan_from_manifest(
    path: Path, source_root: Path, workers: Workers, *, code: Path | None = None
) -> PlanFromManifest:
    """Read a manifest, open the source, and prove that it is the one that was planned on.

    ``code``: the file of an attack from outside. Nothing that a manifest brings is ever run: whoever rebuilds
    gives the file. Raises ManifestError for a manifest that cannot be believed, SourceMismatch if any file of
    the source differs.
    """
    loaded = load_code(code) if code else None
    manifest, rows = read(path)
    if loaded and manifest.recipe.code and loaded.digest != manifest.recipe.code.digest:
        raise ManifestError(
            "This is not the file that the manifest was made with.",
            file=code,
            expected=manifest.recipe.code.digest,
            found=loaded.digest,
        )
    if manifest.source.layout not in LAYOUTS:
        raise ManifestError(
            "The layout of the manifest is not known.",
            expected=", ".join(LAYOUTS),
            found=manifest.source.layout,
        )
    source = LAYOUTS[manifest.source.layout].open(source_root)
    mismatch = "give the clean dataset that the manifest was made from"
    evaluated = (source.train_split, source.evaluation_split)
    if evaluated != (manifest.splits.train, manifest.splits.evaluation):
        raise ManifestError(
            "The manifest contradicts its layout.",
            file=path,
            expected=f"splits {evaluated}",
            found=str(manifest.splits),
        )
    if (source.dataset, Labels.of(source.space)) != (manifest.dataset, manifest.label_space):
        raise SourceMismatch(
            "The source is another dataset.",
            file=source_root,
            expected=manifest.dataset,
            found=source.dataset,
            todo=mismatch,
        )
    manifest.recipe.check(source.space)
    found = contradictions(manifest, rows)
    if found:
        raise ManifestError("The manifest contradicts itself.", file=path, found="; ".join(found))
    art = _art_beside(path, manifest, rows)
    samples = {sample.id: sample for sample in source.samples}
    planned = {row.id for row in rows if row.set is None}
    if planned != samples.keys():
        missing, extra = sorted(planned - samples.keys()), sorted(samples.keys() - planned)
        raise SourceMismatch(
            "The source has other samples than the manifest.",
            file=source_root,
            expected=f"{len(planned):,} samples"
            + (f"; missing: {', '.join(missing[:3])}" if missing else ""),
            found=f"{len(samples):,} samples"
            + (f"; not in the manifest: {', '.join(extra[:3])}" if extra else ""),
            todo=mismatch,
        )
    reader = Reader(source.root, manifest.recipe.scale)
    checker = RowChecker(
        Examiner(reader, source.space, manifest.recipe, art, source.train_split, source.evaluation_split)
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
            todo=mismatch,
        )
    wrong = sorted(one.contradicts for one in checked if one.contradicts)
    if wrong:
        raise ManifestError("The manifest contradicts its source.", file=path, found="; ".join(wrong[:3]))
    entries = sorted((one.entry for one in checked if one.entry), key=lambda entry: entry.key)
    counts = {name: dict(count) for name, count in manifest.counts.items()}
    rejected = tuple((one.id, one.set, one.reason) for one in manifest.rejected)
    return PlanFromManifest(Plan(manifest.recipe, tuple(entries), counts, rejected), source, art, manifest)


def _art_beside(path: Path, manifest: Manifest, rows: tuple[Row, ...]) -> Art:
    """The trigger art that lies beside a manifest, each picture held against its digest."""
    root = path if path.is_dir() else path.parent
    wanted = manifest.art | {row.own_art: row.art_pixels for row in rows if row.own_art and row.art_pixels}
    art = Art({name: root / name for name in wanted})
    for name, digest in wanted.items():
        try:
            found = art.digest(name)
        except SourceError as error:
            raise ManifestError(
                "The trigger art cannot be read.",
                file=root / name,
                found=error.found,
                todo=f"put {name} beside {MANIFEST}",
            ) from None
        if found != digest:
            raise ManifestError(
                "The trigger art is not the one that the manifest names.",
                file=root / name,
                expected=digest,
                found=found,
            )
    return art
