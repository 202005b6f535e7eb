"""Reading ``manifest.json`` and ``samples.jsonl`` of a stranger: what is not as the format says is an
error."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from poisongen.errors import ManifestError, PoisongenError, SourceError
from poisongen.format.manifest import FORMAT, FORMAT_VERSION, Manifest, Row, identity, rows_text
from poisongen.names import MANIFEST, SAMPLES
from poisongen.validation import first_fault

MAX_MANIFEST_BYTES, MAX_SAMPLES_BYTES = 1 << 26, 1 << 30

_Model = TypeVar("_Model", bound=BaseModel)


def read(path: Path) -> tuple[Manifest, tuple[Row, ...]]:
    """Parse a manifest and the rows beside it; nothing in them is trusted.

    ``path`` is the manifest or the folder that holds it. Raises ManifestError for files that are missing, too
    large, not what the format says, of a newer version, or that do not belong together. Paths in the result
    stay inside the folder.
    """
    path = path / MANIFEST if path.is_dir() else path
    manifest = _read_manifest(path)
    return manifest, _read_rows(path.with_name(SAMPLES), manifest)


def _read_manifest(path: Path) -> Manifest:
    text = _read_text(path, MAX_MANIFEST_BYTES)
    try:
        loaded = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestError("A manifest is not JSON.", file=path, found=str(error)) from None
    keys = loaded if isinstance(loaded, dict) else {}
    version = keys.get("format_version")
    if keys.get("format") != FORMAT or type(version) is not int:
        raise ManifestError(
            "A file is not a poisongen manifest.",
            file=path,
            expected=f'"format": "{FORMAT}" and a format version',
            todo="a recipe is built: poisongen build" if "options" in keys else None,
        )
    if version > FORMAT_VERSION:
        raise ManifestError(
            "A manifest is of a newer format.",
            file=path,
            expected=f"version {FORMAT_VERSION}",
            found=f"version {version}",
            todo="install a newer poisongen",
        )
    recipe = keys.get("recipe")
    has_code = isinstance(recipe, dict) and bool(recipe.get("code"))
    todo = "it names an attack from outside: give its file with --code" if has_code else None
    return _parse(Manifest, text, str(path), todo)


def _read_rows(path: Path, manifest: Manifest) -> tuple[Row, ...]:
    text = _read_text(path, MAX_SAMPLES_BYTES)
    if identity(text) != manifest.identity:
        raise ManifestError(
            "The rows are not the ones that the manifest names.",
            file=path,
            expected=manifest.identity,
            found=identity(text),
            todo="get manifest.json and samples.jsonl again, from one place",
        )
    lines = enumerate(text.removesuffix("\n").split("\n"), start=1)
    rows = tuple(_parse(Row, line, f"{path}, line {number}") for number, line in lines)
    if rows_text(rows) != text:
        raise ManifestError(
            "The rows are not sorted canonical JSON.", file=path, expected="the form of manifests/FORMAT.md"
        )
    _require_distinct([row.key for row in rows], path)
    _require_distinct([name for row in rows for name in row.files()], path)
    return rows


def _require_distinct(named: Iterable[object], path: Path) -> None:
    seen: set[object] = set()
    for one in named:
        if one in seen:
            raise ManifestError("The rows name something twice.", file=path, found=str(one))
        seen.add(one)


def refuse_poisoned(root: Path) -> None:
    """Raise SourceError if ``root`` is a dataset folder that an attack has changed: it is no clean source."""
    path = root / MANIFEST
    if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
        return
    try:
        loaded = json.loads(path.read_bytes())
        recipe = loaded["recipe"] if loaded["format"] == FORMAT else {}
        poisoned = bool(recipe.get("poison") or recipe.get("random_pixels"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    if poisoned:
        raise SourceError(
            "The source is a dataset that was poisoned.",
            file=path,
            expected="the clean dataset",
            found=f"{recipe.get('attack')}",
            todo="give the folder that it was made from",
        )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _read_text(path: Path, limit: int) -> str:
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ManifestError(
                "A manifest is a link, or no file.", file=path, expected="a file", todo="give the file itself"
            )
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ManifestError("A file is too large.", file=path, expected=f"at most {limit:,} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise ManifestError("A manifest cannot be read.", file=path, found=error.strerror) from None
    except UnicodeDecodeError as error:
        raise ManifestError("A file is not UTF-8 text.", file=path, found=str(error)) from None


def _parse(model: type[_Model], text: str, name: str, todo: str | None = None) -> _Model:
    refused = "A manifest cannot be trusted."
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise ManifestError(refused, file=name, found=str(first_fault(error)), todo=todo) from None
    except PoisongenError as error:
        raise ManifestError(refused, file=name, found=error.problem, todo=error.todo) from None
