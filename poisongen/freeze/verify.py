"""A folder against its manifest: every difference, by name. Shares no code with what wrote the folder."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePath

import numpy as np

from poisongen.datasets import LAYOUTS
from poisongen.disk import files_below
from poisongen.engine.workers import Workers
from poisongen.errors import ManifestError, PoisongenError, SourceError, VerifyError
from poisongen.format.consistency import contradictions
from poisongen.format.manifest import Digests, Manifest, Row
from poisongen.format.read import read
from poisongen.format.sums import parse_sums
from poisongen.imaging import jpeg
from poisongen.imaging.pixels import (
    Box,
    Pixels,
    decode_art,
    decode_label,
    decode_picture,
    digest_bytes,
    digest_pixels,
)
from poisongen.names import CARD, DERIVED, MANIFEST, PLAN, SAMPLES, SUMS, prefix


class Difference(Enum):
    """What can be wrong with a file; ``SOURCE``: with the clean one."""

    MISSING = "missing"
    CHANGED = "changed"
    DAMAGED = "damaged"
    UNEXPECTED = "unexpected"
    LINK = "link"
    CHECKSUM = "checksum"
    SOURCE = "source"


@dataclass(frozen=True)
class Finding:
    """One difference: of which kind, in which file, what it is in words."""

    kind: Difference
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind.value:<10} {self.path}: {self.what}"


class FileKind(Enum):
    """What a file holds, and so how it is decoded."""

    PICTURE = "picture"
    LABEL = "label"
    ART = "art"
    TEXT = "text"


_DECODERS: Mapping[FileKind, Callable[[bytes, PurePath | str], Pixels]] = {
    FileKind.PICTURE: decode_picture,
    FileKind.LABEL: decode_label,
    FileKind.ART: decode_art,
}


@dataclass(frozen=True)
class Expected:
    """What is known of one file: the digest of its bytes in SHA256SUMS, and the one in its row.

    ``source``: the file of the clean source that it is a copy of, if it is one. Of a mask, ``covered`` is how
    many pixels the trigger has, and ``box`` where they are.
    """

    path: str
    kind: FileKind
    sum: str | None
    row: Digests = field(default_factory=Digests)
    source: str | None = None
    covered: int | None = None
    box: Box | None = None

    @property
    def content(self) -> str | None:
        """What its row says of its pixels, or of its coefficients."""
        return self.row.pixels or self.row.coefficients


@dataclass(frozen=True)
class Decoded:
    """The digest of a file's pixels (of the coefficients, if its row has those)."""

    digest: str


@dataclass(frozen=True)
class Undecodable:
    """Why a file has no pixels, in words."""

    why: str


@dataclass(frozen=True)
class FileChecker:
    """Looks at one file. Runs in worker processes."""

    root: Path
    source: Path | None
    decode: bool

    def __call__(self, wanted: Expected) -> list[Finding]:
        """What differs, nothing if the file is as expected."""
        path = self.root / wanted.path
        try:
            if path.exists() and not path.is_file():
                return [Finding(Difference.DAMAGED, wanted.path, "not a file")]
            data = path.read_bytes()
        except FileNotFoundError:
            return [Finding(Difference.MISSING, wanted.path, "the file is not there")]
        except OSError as error:
            return [Finding(Difference.DAMAGED, wanted.path, f"cannot be read: {error.strerror}")]
        return [*_row_against_sum(wanted), *self._look(wanted, data, path), *self._against_source(wanted)]

    def _look(self, wanted: Expected, data: bytes, path: Path) -> list[Finding]:
        """The bytes against their digest, or else what they mean."""
        known = wanted.row.bytes or wanted.sum
        if known and digest_bytes(data) != known:
            return [self._changed(wanted, data, path)]
        if wanted.content:
            # The checksum is right, but only the rows make the identity: what was written anew is always
            # decoded.
            return _written_anew(wanted, data, path)
        looks_inside = self.decode and wanted.kind in (FileKind.PICTURE, FileKind.LABEL)
        if looks_inside and isinstance(_content(wanted, data, path), Undecodable):
            return [Finding(Difference.DAMAGED, wanted.path, "the source's own file does not decode")]
        return []

    def _changed(self, wanted: Expected, data: bytes, path: Path) -> Finding:
        """A file with other bytes than expected: are its pixels others, too?"""
        if wanted.kind is FileKind.TEXT:
            return Finding(Difference.CHANGED, wanted.path, "other bytes")
        found = _content(wanted, data, path)
        if isinstance(found, Undecodable):
            return Finding(Difference.DAMAGED, wanted.path, f"other bytes, {found.why}")
        original = Decoded(wanted.content) if wanted.content else self._original(wanted)
        if original is None:
            hint = "a clean file; give --source to learn whether its pixels changed"
            return Finding(Difference.CHANGED, wanted.path, f"other bytes ({hint})")
        what = "other bytes, the same pixels" if found == original else "other pixels"
        return Finding(Difference.CHANGED, wanted.path, what)

    def _original(self, wanted: Expected) -> Decoded | Undecodable | None:
        """What the clean source's own file holds; None without a source that has it."""
        if self.source is None or wanted.source is None:
            return None
        path = self.source / wanted.source
        return _content(wanted, path.read_bytes(), path) if path.is_file() else None

    def _against_source(self, wanted: Expected) -> list[Finding]:
        """A clean file against the one that it is a copy of."""
        if self.source is None or wanted.source is None or wanted.row.bytes is None:
            return []
        path = self.source / wanted.source
        if not path.is_file():
            return [Finding(Difference.SOURCE, wanted.source, "the clean source lacks this file")]
        if digest_bytes(path.read_bytes()) != wanted.row.bytes:
            return [Finding(Difference.SOURCE, wanted.source, "the clean source has other bytes")]
        return []


def _row_against_sum(wanted: Expected) -> list[Finding]:
    if wanted.row.bytes and wanted.sum and wanted.row.bytes != wanted.sum:
        return [Finding(Difference.CHECKSUM, SUMS, f"the line of {wanted.path} contradicts {SAMPLES}")]
    return []


def _written_anew(wanted: Expected, data: bytes, path: Path) -> list[Finding]:
    """A file that was encoded by us: its pixels against its row, and a mask against its count and box."""
    found = _content(wanted, data, path)
    if isinstance(found, Undecodable):
        what = f"the pixels are not those of its row ({found.why})"
        return [Finding(Difference.CHANGED, wanted.path, what)]
    if found.digest != wanted.content:
        what = f"the pixels are not those of its row ({found.digest})"
        return [Finding(Difference.CHANGED, wanted.path, what)]
    if wanted.covered is None:
        return []
    return _mask_against_row(wanted, wanted.covered, decode_label(data, path))


def _mask_against_row(wanted: Expected, covered: int, mask: Pixels) -> list[Finding]:
    height, width = mask.shape
    if np.count_nonzero(mask) != covered:
        what = f"the mask covers other than {covered:,} pixels, as its row says"
        return [Finding(Difference.CHANGED, wanted.path, what)]
    top, left, rows, columns = wanted.box or (0, 0, height, width)
    if np.count_nonzero(mask[top : top + rows, left : left + columns]) != covered:
        what = "the mask lies outside of the place that its row names"
        return [Finding(Difference.CHANGED, wanted.path, what)]
    return []


def _content(wanted: Expected, data: bytes, path: Path) -> Decoded | Undecodable:
    decode = _DECODERS.get(wanted.kind)
    if decode is None:
        return Undecodable("not a picture")
    try:
        if wanted.row.coefficients:
            return Decoded(jpeg.digest_coefficients(data, path))
        return Decoded(digest_pixels(decode(data, path)))
    except PoisongenError as error:
        return Undecodable(f"not decodable ({error.found or error.problem})")


def verify(
    root: Path, workers: Workers, *, source: Path | None = None, decode: bool = False
) -> tuple[Manifest, int]:
    """Hold a finished folder against its manifest; returns the manifest and the number of files that were
    checked.

    What was written anew is decoded and held against its row; ``decode`` decodes the clean files, too, and
    ``source`` compares them with the clean dataset. Raises VerifyError with every difference, and
    ManifestError if the manifest is missing or cannot be read.
    """
    if source is not None and not source.is_dir():
        raise SourceError("The source is not there.", file=source, expected="a folder", todo="check --source")
    manifest, rows = _read_finished(root)
    if source is not None:
        source = _true_root(source, manifest)
    listed = _read_sums(root)
    expected = {one.path: one for one in _expected(manifest, rows, listed.digests)}
    findings = list(listed.findings)
    findings += _unexpected(root, expected.keys())
    findings += _sums_against_rows(listed.digests.keys(), expected.keys())
    findings += [Finding(Difference.CHANGED, MANIFEST, what) for what in contradictions(manifest, rows)]
    checker = FileChecker(root, source, decode)
    for differences in workers.map(checker, list(expected.values()), "verifying"):
        findings += differences
    if findings:
        raise _differs(root, findings)
    return manifest, len(expected) + 1


def _read_finished(root: Path) -> tuple[Manifest, tuple[Row, ...]]:
    """Manifest and rows of a folder that holds a dataset, or an error that says what it holds instead."""
    if not (root / MANIFEST).exists():
        found = "an unfinished folder" if (root / PLAN).exists() else "nothing"
        raise VerifyError(
            "This is not a finished dataset folder.", file=root / MANIFEST, expected="a manifest", found=found
        )
    try:
        manifest, rows = read(root)
    except ManifestError as error:
        # Files that were changed after they were written are what verifying is for.
        kind = VerifyError if _sums_disagree(root) else ManifestError
        raise kind(
            error.problem, file=error.file, expected=error.expected, found=error.found, todo=error.todo
        ) from None
    if not any((root / row.image).exists() for row in rows):
        raise VerifyError(
            "The manifest is here, and not the dataset.",
            file=root,
            found="none of its pictures",
            todo="make the dataset from it: poisongen rebuild",
        )
    return manifest, rows


def _true_root(source: Path, manifest: Manifest) -> Path:
    """The root of the clean source, which may lie below the folder that was given."""
    layout = LAYOUTS.get(manifest.source.layout)
    return layout.find_root(source) if layout else source


def _expected(manifest: Manifest, rows: Iterable[Row], sums: Mapping[str, str]) -> Iterator[Expected]:
    """Every file that the folder must have but SHA256SUMS itself."""
    for row in rows:
        yield from _files_of(row, sums)
    for path in (MANIFEST, SAMPLES, CARD, *manifest.lists):
        yield Expected(path, FileKind.TEXT, sums.get(path))
    art = dict(manifest.art)
    for row in rows:
        if row.own_art and row.art_pixels:
            art[row.own_art] = row.art_pixels
    for path, pixels in art.items():
        yield Expected(path, FileKind.ART, sums.get(path), Digests(pixels=pixels))


def _files_of(row: Row, sums: Mapping[str, str]) -> Iterator[Expected]:
    for path, digests in row.files().items():
        is_mask = path == row.mask
        yield Expected(
            path,
            FileKind.PICTURE if path == row.image else FileKind.LABEL,
            sums.get(path),
            digests,
            source=path.removeprefix(prefix(row.set)),
            covered=row.trigger_pixels if is_mask else None,
            box=row.placement.box if is_mask and row.placement else None,
        )


def _unexpected(root: Path, expected: Iterable[str]) -> list[Finding]:
    """Files that nothing names, and links that lead nowhere."""
    known = {*expected, SUMS, *DERIVED}
    findings = []
    for path in files_below(root):
        if path not in known:
            findings.append(Finding(Difference.UNEXPECTED, path, "no row and no checksum names this file"))
        if (root / path).is_symlink() and not (root / path).is_file():
            findings.append(Finding(Difference.LINK, path, "the link does not lead to a file"))
    return findings


def _sums_against_rows(listed: Iterable[str], expected: Iterable[str]) -> list[Finding]:
    """Files that SHA256SUMS lacks, and those that it names and nothing else does."""
    listed, expected = set(listed), set(expected)
    wrong = [f"it lacks {path}" for path in expected - listed]
    wrong += [f"it names {path}, which no row does" for path in listed - expected]
    return [Finding(Difference.CHECKSUM, SUMS, what) for what in wrong]


def _differs(root: Path, findings: Iterable[Finding]) -> VerifyError:
    lines = sorted({str(finding) for finding in findings})
    differences = "1 difference" if len(lines) == 1 else f"{len(lines):,} differences"
    listed = "\n".join(f"  {line}" for line in lines)
    return VerifyError(
        f"The folder is not what its manifest says: {differences}.\n{listed}",
        file=root,
        todo="rebuild it from its manifest and the clean source",
    )


@dataclass(frozen=True)
class _Listed:
    """SHA256SUMS as path → digest, and what is wrong with the file itself."""

    digests: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def _read_sums(root: Path) -> _Listed:
    try:
        text = (root / SUMS).read_bytes().decode("utf-8")
    except FileNotFoundError:
        return _Listed(findings=(Finding(Difference.MISSING, SUMS, "the file is not there"),))
    except (OSError, UnicodeDecodeError) as error:
        return _Listed(findings=(Finding(Difference.DAMAGED, SUMS, str(error)),))
    sums = parse_sums(text)
    if sums.fault is None:
        return _Listed(sums.digests)
    return _Listed(sums.digests, (Finding(Difference.DAMAGED, SUMS, sums.fault),))


def _sums_disagree(root: Path) -> bool:
    """Does SHA256SUMS say that the manifest or the rows were changed after they were written?"""
    digests = _read_sums(root).digests
    return any(_disagrees(root / name, digests[name]) for name in (MANIFEST, SAMPLES) if name in digests)


def _disagrees(path: Path, digest: str) -> bool:
    return not path.is_file() or digest_bytes(path.read_bytes()) != digest
