"""A folder against its manifest: every difference, by name."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from poisongen.datasets import LAYOUTS
from poisongen.disk import files_below
from poisongen.engine.workers import Workers
from poisongen.errors import ManifestError, PoisongenError, SourceError, VerifyError
from poisongen.format.consistency import contradictions
from poisongen.format.manifest import Digests, Manifest, Row
from poisongen.format.read import read
from poisongen.format.sums import parse_sums
from poisongen.imaging import jpeg as dct
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


@dataclass(frozen=True)
class Finding:
    """One difference. ``kind``: missing, changed, damaged, unexpected, link, checksum, source."""

    kind: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind:<10} {self.path}: {self.what}"


@dataclass(frozen=True)
class Expected:
    """What is known of one file: the digest of its bytes in SHA256SUMS, and the one in its row."""

    path: str
    kind: str
    sum: str | None
    row: Digests = field(default_factory=Digests)
    source: str | None = None
    covered: int | None = None
    box: Box | None = None


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
                return [Finding("damaged", wanted.path, "not a file")]
            data = path.read_bytes()
        except FileNotFoundError:
            return [Finding("missing", wanted.path, "the file is not there")]
        except OSError as error:
            return [Finding("damaged", wanted.path, f"cannot be read: {error.strerror}")]
        found = digest_bytes(data)
        known = wanted.row.bytes or wanted.sum
        findings = []
        if wanted.row.bytes and wanted.sum and wanted.row.bytes != wanted.sum:
            findings.append(Finding("checksum", SUMS, f"the line of {wanted.path} contradicts {SAMPLES}"))
        if known and found != known:
            findings.append(self._changed(wanted, data, path))
        elif anew := wanted.row.pixels or wanted.row.coefficients:
            # The checksum is right, but only the rows make the identity: what was written anew is always
            # decoded.
            pixels = _content(wanted, data, path)
            if pixels != anew:
                findings.append(
                    Finding("changed", wanted.path, f"the pixels are not those of its row ({pixels})")
                )
            elif wanted.covered is not None:
                findings += self._mask(wanted, decode_label(data, path))
        elif (
            self.decode
            and wanted.kind in ("picture", "label")
            and _content(wanted, data, path).startswith("not")
        ):
            findings.append(Finding("damaged", wanted.path, "the source's own file does not decode"))
        if self.source and wanted.source and wanted.row.bytes:
            findings += self._against_source(wanted)
        return findings

    def _changed(self, wanted: Expected, data: bytes, path: Path) -> Finding:
        pixels, known = _content(wanted, data, path), wanted.row.pixels or wanted.row.coefficients
        if wanted.kind == "text":
            return Finding("changed", wanted.path, "other bytes")
        if pixels.startswith("not"):
            return Finding("damaged", wanted.path, f"other bytes, {pixels}")
        if known is None and self.source and wanted.source:
            original = self.source / wanted.source
            known = _content(wanted, original.read_bytes(), original) if original.is_file() else None
        if known is None:
            return Finding(
                "changed",
                wanted.path,
                "other bytes (a clean file; give --source to learn whether its pixels changed)",
            )
        return Finding(
            "changed", wanted.path, "other bytes, the same pixels" if pixels == known else "other pixels"
        )

    def _mask(self, wanted: Expected, mask: Pixels) -> list[Finding]:
        top, left, height, width = wanted.box or (0, 0, *mask.shape)
        if wanted.covered != np.count_nonzero(mask):
            return [
                Finding(
                    "changed",
                    wanted.path,
                    f"the mask covers other than {wanted.covered:,} pixels, as its row says",
                )
            ]
        if wanted.covered != np.count_nonzero(mask[top : top + height, left : left + width]):
            return [Finding("changed", wanted.path, "the mask lies outside of the place that its row names")]
        return []

    def _against_source(self, wanted: Expected) -> list[Finding]:
        assert self.source is not None and wanted.source is not None
        path = self.source / wanted.source
        if not path.is_file():
            return [Finding("source", wanted.source, "the clean source lacks this file")]
        return (
            []
            if digest_bytes(path.read_bytes()) == wanted.row.bytes
            else [Finding("source", wanted.source, "the clean source has other bytes")]
        )


def _content(wanted: Expected, data: bytes, path: Path) -> str:
    """The digest of the decoded pixels (of the coefficients, if its row has those), or a phrase that starts
    with “not”."""
    decoders = {"picture": decode_picture, "label": decode_label, "art": decode_art}
    if wanted.kind not in decoders:
        return "not a picture"
    try:
        if wanted.row.coefficients:
            return dct.digest_coefficients(data, path)
        return digest_pixels(decoders[wanted.kind](data, path))
    except PoisongenError as error:
        return f"not decodable ({error.found or error.problem})"


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
    if not (root / MANIFEST).exists():
        found = "an unfinished folder" if (root / PLAN).exists() else "nothing"
        raise VerifyError(
            "This is not a finished dataset folder.", file=root / MANIFEST, expected="a manifest", found=found
        )
    try:
        manifest, rows = read(root)
    except ManifestError as error:
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
    source = _true_root(source, manifest) if source else None
    sums, findings = _read_sums(root)
    expected = {one.path: one for one in _expected(manifest, rows, sums)}
    present = files_below(root)
    linked = [path for path in present if (root / path).is_symlink()]
    unexpected = [path for path in present if path not in expected and path != SUMS and path not in DERIVED]
    findings += [Finding("unexpected", path, "no row and no checksum names this file") for path in unexpected]
    findings += [
        Finding("link", path, "the link does not lead to a file")
        for path in linked
        if not (root / path).is_file()
    ]
    findings += [
        Finding(
            "checksum",
            SUMS,
            f"it lacks {path}" if path not in sums else f"it names {path}, which no row does",
        )
        for path in sorted((expected.keys() - sums.keys()) | (sums.keys() - expected.keys()))
    ]
    findings += [Finding("changed", MANIFEST, what) for what in contradictions(manifest, rows)]
    for differs in workers.map(FileChecker(root, source, decode), list(expected.values()), "verifying"):
        findings += differs
    if findings:
        listed = sorted({str(finding) for finding in findings})
        raise VerifyError(
            f"The folder is not what its manifest says: {len(listed):,} difference{'s'[: len(listed) > 1]}.\n"
            + "\n".join(f"  {line}" for line in listed),
            file=root,
            todo="rebuild it from its manifest and the clean source",
        )
    return manifest, len(expected) + 1


def _true_root(source: Path, manifest: Manifest) -> Path:
    """The root of the clean source, which may lie below the folder that was given."""
    layout = LAYOUTS.get(manifest.source.layout)
    return layout.find_root(source) if layout else source


def _expected(manifest: Manifest, rows: tuple[Row, ...], sums: dict[str, str]) -> Iterator[Expected]:
    for row in rows:
        for path, digests in row.files().items():
            kind = "picture" if path == row.image else "label"
            covered = row.trigger_pixels if path == row.mask else None
            box = row.placement.box if row.placement and path == row.mask else None
            yield Expected(
                path, kind, sums.get(path), digests, path.removeprefix(prefix(row.set)), covered, box
            )
    for path in (MANIFEST, SAMPLES, CARD, *manifest.lists):
        yield Expected(path, "text", sums.get(path))
    art = manifest.art | {row.own_art: row.art_pixels for row in rows if row.own_art and row.art_pixels}
    for path, pixels in art.items():
        yield Expected(path, "art", sums.get(path), Digests(pixels=pixels))


def _read_sums(root: Path) -> tuple[dict[str, str], list[Finding]]:
    """SHA256SUMS as path → digest, and what is wrong with the file itself."""
    try:
        text = (root / SUMS).read_bytes().decode("utf-8")
    except FileNotFoundError:
        return {}, [Finding("missing", SUMS, "the file is not there")]
    except (OSError, UnicodeDecodeError) as error:
        return {}, [Finding("damaged", SUMS, str(error))]
    sums = parse_sums(text)
    return dict(sums.digests), [Finding("damaged", SUMS, sums.fault)] if sums.fault else []


def _sums_disagree(root: Path) -> bool:
    """Does SHA256SUMS say that the manifest or the rows were changed after they were written?"""
    sums, _ = _read_sums(root)
    return any(
        name in sums
        and (not (root / name).is_file() or digest_bytes((root / name).read_bytes()) != sums[name])
        for name in (MANIFEST, SAMPLES)
    )
