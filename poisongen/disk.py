"""Paths as the folder's format allows them, and reading what they name."""

from pathlib import Path

from poisongen.errors import SourceError


def folder_path(text: str) -> str:
    """A path that stays inside the folder, unchanged; ValueError for any other.

    Relative, with ``/``, without ``..``, backslash, drive, empty or ``.`` parts and characters that do not
    print.
    """
    parts = text.split("/")
    if (
        len(text) > 1024
        or not text.isprintable()
        or "\\" in text
        or ":" in parts[0]
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise ValueError(f"the path {text[:80]!r} is not a plain relative path inside the folder")
    return text


def read_file(path: Path) -> bytes:
    """The bytes of a source file; SourceError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(
            "A file cannot be read.", file=path, found=error.strerror, todo="restore the file"
        ) from None
