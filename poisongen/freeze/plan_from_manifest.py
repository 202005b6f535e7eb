"""A plan read back from a manifest that somebody shared, proved against the clean source before any work."""

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

from poisongen.attack_file import load_code, require_code
from poisongen.datasets import LAYOUTS
from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample, Source
from poisongen.disk import read_file
from poisongen.engine.workers import Workers
from poisongen.errors import ManifestError, RecipeError, SourceError, SourceMismatch
from poisongen.format.consistency import contradictions
from poisongen.format.manifest import Labels, Manifest, Row
from poisongen.format.read import read
from poisongen.freeze.examine import Examined, Examiner, is_involved, too_small_for
from poisongen.freeze.plan import Plan
from poisongen.freeze.rows import RELABELLED, UNCHANGED, Entry, plan_row
from poisongen.imaging.pixels import Pixels, digest_bytes
from poisongen.names import MANIFEST
from poisongen.recipe import Poison
from poisongen.triggers import Art


@dataclass(frozen=True)
class PlanFromManifest:
    """Everything that a rebuild needs: the plan, its source, the art, the identity to arrive at."""

    plan: Plan
    source: Source
    art: Art
    manifest: Manifest


@dataclass(frozen=True)
class OtherBytes:
    """A file of the source, by its path below the root, that is not the one that was planned on."""

    path: str


@dataclass(frozen=True)
class Contradiction:
    """A row says something that is not so in the source: what, in words."""

    what: str


@dataclass(frozen=True)
class RowChecker:
    """Holds a row against the source's files. Runs in worker processes."""

    examiner: Examiner

    def __call__(self, pair: tuple[Row, Sample]) -> Entry | OtherBytes | Contradiction:
        """The entry that a row means, or what is wrong. Raises SourceError for a file that cannot be read."""
        row, sample = pair
        reader = self.examiner.reader
        label_data = read_file(reader.root / sample.label)
        if digest_bytes(read_file(reader.root / sample.image)) != (row.source_image_bytes or row.image_bytes):
            return OtherBytes(sample.image)
        if digest_bytes(label_data) != (row.source_label_bytes or row.label_bytes):
            return OtherBytes(sample.label)
        raw, _ = reader.label(sample, label_data)
        examined = replace(self.examiner.describe(sample, raw, digest_bytes(label_data)), art=row.art_pixels)
        poison = self.examiner.recipe.poison
        if poison is not None:
            wrong_place = self._wrong_place(poison, row, sample, raw)
            if wrong_place is not None:
                return Contradiction(f"{row.id}: {wrong_place}")
            if row.role not in UNCHANGED and not _may_be_eligible(poison, examined):
                return Contradiction(f"{row.id}: it is not eligible")
            if row.role in RELABELLED:
                claimed = self.examiner.claimed_pixels(poison, sample, raw, row.placement)
                examined = replace(examined, claimed_pixels=claimed)
        random = self.examiner.recipe.random_pixels
        noises_all = random is not None and random.scope == "all"
        if row.role == "clean" and noises_all and examined.randomised_pixels:
            return Contradiction(f"{row.id}: it lacks its random labels")
        entry = Entry(examined, row.role, row.set, row.placement)
        wrong_keys = self._wrong_keys(entry, row)
        return Contradiction(f"{row.id}: {', '.join(wrong_keys)}") if wrong_keys else entry

    def _wrong_place(self, poison: Poison, row: Row, sample: Sample, raw: Pixels) -> str | None:
        """Why the trigger cannot lie where the row says, in words; None if it may, or is not placed."""
        location = row.placement
        if location is None:
            return None
        try:
            proved = self.examiner.prove(poison, sample, raw, row.set, location.box)
        except RecipeError as error:
            return error.problem
        if proved != location:
            place = list(location.box)
            return f"the trigger may not lie at {place}, or what the row says of that place is wrong"
        return None

    def _wrong_keys(self, entry: Entry, row: Row) -> list[str]:
        """The keys in which a row differs from what its entry gives."""
        unwritten = plan_row(entry, self.examiner.recipe).unwritten()
        planned = unwritten.model_dump(exclude_none=True)
        stated = row.model_dump(exclude_none=True)
        return [key for key, value in planned.items() if stated.get(key) != value]


def _may_be_eligible(poison: Poison, one: Examined) -> bool:
    """Has a sample enough of what the attack needs?"""
    return is_involved(poison, one) and too_small_for(poison, one) is None


_OTHER_SOURCE = "give the clean dataset that the manifest was made from"


def plan_from_manifest(
    path: Path, source_root: Path, workers: Workers, *, code: Path | None = None
) -> PlanFromManifest:
    """Read a manifest, open the source, and prove that it is the one that was planned on.

    ``code``: the file of an attack from outside. Nothing that a manifest brings is ever run: whoever rebuilds
    gives the file. Raises ManifestError for a manifest that cannot be trusted, SourceMismatch if any file of
    the source differs.
    """
    loaded = load_code(code) if code else None
    manifest, rows = read(path)
    recipe = manifest.recipe
    require_code(loaded, recipe.code, code)
    source = _open_source(path, source_root, manifest)
    recipe.check(source.space)
    found = contradictions(manifest, rows)
    if found:
        raise ManifestError("The manifest contradicts itself.", file=path, found="; ".join(found))
    art = _art_beside(path, manifest, rows)
    samples = {sample.id: sample for sample in source.samples}
    _require_same_samples({row.id for row in rows if row.set is None}, samples.keys(), source_root)
    reader = Reader(source.root, recipe.scale)
    examiner = Examiner(reader, source.space, recipe, art, source.train_split, source.evaluation_split)
    pairs = [(row, samples[row.id]) for row in rows]
    checked = list(workers.map(RowChecker(examiner), pairs, "checking the source"))
    _require_same_bytes({one.path for one in checked if isinstance(one, OtherBytes)}, source.root)
    wrong = sorted(one.what for one in checked if isinstance(one, Contradiction))
    if wrong:
        raise ManifestError("The manifest contradicts its source.", file=path, found="; ".join(wrong[:3]))
    entries = [one for one in checked if isinstance(one, Entry)]
    entries.sort(key=lambda entry: entry.key)
    counts = {name: dict(count) for name, count in manifest.counts.items()}
    plan = Plan(recipe, tuple(entries), counts, manifest.rejected)
    return PlanFromManifest(plan, source, art, manifest)


def _open_source(path: Path, source_root: Path, manifest: Manifest) -> Source:
    """The source in the manifest's layout, with the splits and classes that the manifest names."""
    layout = LAYOUTS.get(manifest.source.layout)
    if layout is None:
        raise ManifestError(
            "The layout of the manifest is not known.",
            expected=", ".join(LAYOUTS),
            found=manifest.source.layout,
        )
    source = layout.open(source_root)
    splits = (source.train_split, source.evaluation_split)
    if splits != (manifest.splits.train, manifest.splits.evaluation):
        raise ManifestError(
            "The manifest contradicts its layout.",
            file=path,
            expected=f"splits {splits}",
            found=str(manifest.splits),
        )
    if (source.dataset, Labels.of(source.space)) != (manifest.dataset, manifest.label_space):
        raise SourceMismatch(
            "The source is another dataset.",
            file=source_root,
            expected=manifest.dataset,
            found=source.dataset,
            todo=_OTHER_SOURCE,
        )
    return source


def _require_same_samples(planned: Set[str], there: Set[str], source_root: Path) -> None:
    if planned == there:
        return
    missing, extra = sorted(planned - there), sorted(there - planned)
    some_missing = f"; missing: {', '.join(missing[:3])}" if missing else ""
    some_extra = f"; not in the manifest: {', '.join(extra[:3])}" if extra else ""
    raise SourceMismatch(
        "The source has other samples than the manifest.",
        file=source_root,
        expected=f"{len(planned):,} samples{some_missing}",
        found=f"{len(there):,} samples{some_extra}",
        todo=_OTHER_SOURCE,
    )


def _require_same_bytes(differing: Set[str], root: Path) -> None:
    if not differing:
        return
    paths = sorted(differing)
    what = "A file of the source" if len(paths) == 1 else "The source"
    more = " …" if paths[5:] else ""
    raise SourceMismatch(
        f"{what} is not the one that was planned on.",
        file=root / paths[0],
        expected="the bytes that the manifest names",
        found=f"other bytes in {len(paths):,} of its files: {', '.join(paths[:5])}{more}",
        todo=_OTHER_SOURCE,
    )


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
