"""Files: paths as the folder's format allows them, reading, atomic writes, links to the source's own
files."""

import fcntl
import os
from pathlib import Path
from typing import Literal

from poisongen.errors import OutputError, SourceError

LinkMode = Literal["copy", "hard", "symlink"]

_TEMPORARY = ".tmp~"
_FICLONE = 0x40049409  # ioctl of Linux: let two files share their blocks until one is written


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
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> SourceError:
    """The error for a source file that the system does not let us read."""
    return SourceError("A file cannot be read.", file=path, found=error.strerror, todo="restore the file")


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that its name never shows half of it; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{_TEMPORARY}")
    temporary.write_bytes(data)
    temporary.replace(path)


def place_clean(source: Path, path: Path, data: bytes, mode: LinkMode) -> int:
    """Put the source's own file at ``path``; returns how many bytes had to be copied.

    ``copy``: shared blocks where the file system has them (reflink), else the bytes in ``data``. ``hard`` and
    ``symlink``: a link, so that editing one edits the other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{_TEMPORARY}")
    copied = 0
    if mode == "hard":
        temporary.unlink(missing_ok=True)
        temporary.hardlink_to(source.resolve())
    elif mode == "symlink":
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(source.resolve())
    elif not _reflink(source, temporary):
        temporary.write_bytes(data)
        copied = len(data)
    temporary.replace(path)
    return copied


def _reflink(source: Path, path: Path) -> bool:
    with source.open("rb") as old, path.open("wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
    return True


def check_apart(out: Path, source: Path) -> None:
    """Raise OutputError if one folder lies inside the other."""
    one, other = out.resolve(), source.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise OutputError(
            "The output lies inside the source, or the source inside the output.",
            file=out,
            found=f"source {source}",
            todo="choose another --out",
        )


def files_below(root: Path) -> list[str]:
    """All files and links below a folder, as relative paths with ``/``, sorted; links are not followed."""
    found = []
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        found += [(Path(folder) / name).relative_to(root).as_posix() for name in (*names, *links)]
    return sorted(found)
