"""Plan and source in, dataset folder out: the pixel work, sample by sample, in parallel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Source
from poisongen.disk import LinkMode, check_apart, write_atomic
from poisongen.engine.workers import Workers
from poisongen.errors import ManifestError
from poisongen.format.manifest import (
    Labels,
    Manifest,
    Row,
    SourceFacts,
    Splits,
    environment,
    fingerprint,
    identity,
    measure_of,
    rows_text,
)
from poisongen.format.sums import sums_text
from poisongen.freeze.card import data_card
from poisongen.freeze.partial_folder import PartialFolder
from poisongen.freeze.plan import Plan
from poisongen.freeze.summary import short_name
from poisongen.freeze.write_sample import Done, ResumeCheck, Writer
from poisongen.imaging.pixels import digest_bytes, encode_png
from poisongen.names import CARD, MANIFEST, SAMPLES, SUMS, prefix
from poisongen.triggers import Art
from poisongen.version import __version__


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
    for top in _top_folders(source):
        check_apart(out, source.root / top)
    with PartialFolder(out, restart=restart) as place:
        facts = plan.facts() | {"link": link, "version": __version__}
        resumed = _resumed(place.bind(facts), source.root, place.path, workers)
        reader = Reader(source.root, plan.recipe.scale)
        writer = Writer(reader, place.path, source.space, plan.recipe, art, link)
        written = {one.row.key: one for one in resumed}
        missing = [entry for entry in plan.entries if entry.key not in written]
        with place.journal() as journal:
            for one in workers.map(writer, missing, "writing"):
                journal.add(one.journal_entry())
                written[one.row.key] = one
        text = rows_text(one.row for one in written.values())
        if expected_identity is not None and identity(text) != expected_identity:
            place.abandon()
            raise _other_identity(expected_identity, identity(text))
        finished = _finish(place.path, plan, source, art, list(written.values()))
        size = sum((place.path / path).stat().st_size for path in finished.files)
        place.seal(set(finished.files))
    copied = sum(one.copied for one in written.values())
    return Built(out, finished.manifest, len(finished.files), size, copied, len(resumed))


def _top_folders(source: Source) -> set[str]:
    """The folders of a source's root in which its pictures and label maps lie."""
    paths = [path for sample in source.samples for path in (sample.image, sample.label)]
    return {path.partition("/")[0] for path in paths}


def _resumed(
    journal: Iterable[Mapping[str, object]], root: Path, content: Path, workers: Workers
) -> list[Done]:
    """What an earlier run has done, as far as folder and source are still as it left them."""
    entries = [Done.from_journal(entry) for entry in journal]
    readable = [entry for entry in entries if entry is not None]
    checked = workers.map(ResumeCheck(root, content), readable, "checking")
    return [done for done in checked if done is not None]


def _other_identity(expected: str, found: str) -> ManifestError:
    why = "a digest in its rows is wrong, or it was written by other rules"
    return ManifestError(
        "The rebuilt dataset is not the one that the manifest describes.",
        expected=expected,
        found=found,
        todo=f"get the manifest again: {why}; nothing was kept",
    )


@dataclass(frozen=True)
class _Finished:
    """A folder with all its files."""

    manifest: Manifest
    files: tuple[str, ...]


def _finish(root: Path, plan: Plan, source: Source, art: Art, written: Sequence[Done]) -> _Finished:
    """Write what belongs to the folder as a whole; the manifest is the last file."""
    rows = [one.row for one in written]
    lists = _lists(source, rows)
    manifest = describe(plan, source, rows, tuple(sorted(lists)))
    sums: dict[str, str] = {}
    for one in written:
        sums |= one.sums
    for path, data in (_own_files(art, manifest, rows) | lists).items():
        write_atomic(root / path, data)
        sums[path] = digest_bytes(data)
    manifest_bytes = manifest.text().encode()
    sums[MANIFEST] = digest_bytes(manifest_bytes)
    write_atomic(root / SUMS, sums_text(sums).encode())
    write_atomic(root / MANIFEST, manifest_bytes)
    return _Finished(manifest, (*sums, SUMS))


def describe(plan: Plan, source: Source, rows: Sequence[Row], lists: tuple[str, ...]) -> Manifest:
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
        rejected=plan.rejected,
        art=plan.recipe.art_files(),
        lists=lists,
        environment=environment(),
    )


def _own_files(art: Art, manifest: Manifest, rows: Sequence[Row]) -> dict[str, bytes]:
    """The files that are of the folder itself: rows, card, art."""
    files = {SAMPLES: rows_text(rows).encode(), CARD: data_card(manifest).encode()}
    own_art = [row.own_art for row in rows if row.own_art]
    for name in (*manifest.art, *own_art):
        files[name] = encode_png(art.picture(name))
    return files


def _lists(source: Source, rows: Sequence[Row]) -> dict[str, bytes]:
    """The layout's own text files: as they are, or lists with the lines of the samples that the folder, and
    each evaluation set, has."""
    members: dict[str | None, set[str]] = {}
    for row in rows:
        members.setdefault(row.set, set()).add(row.id)
    files: dict[str, bytes] = {}
    for set_name, ids in members.items():
        below = prefix(set_name)
        for path, data in source.carried.items():
            files[below + path] = data
        for path, lines in source.lists.items():
            kept = [line + "\n" for sample_id, line in lines if sample_id in ids]
            if kept or set_name is None:
                files[below + path] = "".join(kept).encode()
    return files
