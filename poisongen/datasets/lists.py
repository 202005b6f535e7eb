"""Text files that list the samples of a split, one a line."""

from pathlib import Path

from poisongen.errors import SourceError


def read_list(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, each with its number from 1; bytes that are not UTF-8 are replaced.
    Raises SourceError."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(
            "A list cannot be read.", file=path, found=error.strerror, todo="restore the file"
        ) from None
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def named_twice(path: Path, number: int, line: str) -> SourceError:
    """The error for a list that names a sample which it has named before."""
    return SourceError(
        "A list names a sample twice.", file=path, found=f"line {number}: {line.strip()}", todo="name it once"
    )


def named_but_missing(path: Path, number: int, word: str, file: Path) -> SourceError:
    """The error for a list that names a file which is not there."""
    return SourceError(
        "A file that a list names is missing.",
        file=file,
        expected=f"the file of {path.name}, line {number}: {word}",
        found="nothing",
        todo="restore the file, or take the line out of the list",
    )
