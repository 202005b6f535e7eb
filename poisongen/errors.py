"""What can go wrong, as a tree.

::

    PoisongenError
      SourceError      the clean dataset is not what it should be: missing, unreadable, unknown class id
      RecipeError      the attack cannot be what was asked: unknown class, trigger too large, wrong rate
      Shortfall        fewer samples can be poisoned than the rate asks for
      OutputError      the output folder cannot be used: not empty, in use, holds other work, disk full
      ManifestError    a manifest cannot be trusted: malformed, leaves the folder, newer, contradicts itself
      VerifyError      the folder is not what its manifest says: missing, changed, unexpected files
      SourceMismatch   a rebuild's source is not the one that was planned on

An error says what is wrong, with which file, what was expected, what was found, and what to do.
"""

import difflib
from collections.abc import Iterable
from pathlib import PurePath
from typing import ClassVar


class PoisongenError(Exception):
    """The root. ``str(error)`` is the whole text, one line for each part that is known."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        problem: str,
        *,
        file: PurePath | str | None = None,
        expected: str | None = None,
        found: str | None = None,
        todo: str | None = None,
    ) -> None:
        self.problem, self.file, self.expected, self.found, self.todo = problem, file, expected, found, todo
        parts = {"file": file, "expected": expected, "found": found, "to do": todo}
        lines = [f"  {name + ':':<9} {text}" for name, text in parts.items() if text is not None]
        super().__init__("\n".join([problem, *lines]))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from worker processes; Exception's own pickling would lose the keyword arguments.
        return _rebuilt, (type(self), self.__dict__, self.args)


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str | None:
    """A question for whoever wrote ``word``: which of the known words, at most so many; None if none is like
    it."""
    close = difflib.get_close_matches(word, list(known), n=most, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else None


def _rebuilt(kind: type[PoisongenError], state: dict[str, object], args: tuple[str, ...]) -> PoisongenError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class SourceError(PoisongenError):
    """The clean dataset is not what it should be."""


class RecipeError(PoisongenError):
    """The attack cannot be what was asked."""


class Shortfall(PoisongenError):
    """Fewer samples can be poisoned than the rate asks for."""


class OutputError(PoisongenError):
    """The output folder cannot be used."""


class ManifestError(PoisongenError):
    """A manifest cannot be trusted."""


class VerifyError(PoisongenError):
    """The folder is not what its manifest says."""

    exit_code = 3


class SourceMismatch(PoisongenError):
    """The source given for a rebuild is not the one that the manifest was made from."""

    exit_code = 4
