"""What can go wrong, as a tree.

::

    TrainerError
      FolderError      the dataset folder is not what its format says: missing, changed, of a newer version,
                       hostile
      SettingError     a setting cannot be what was asked: unknown name, wrong type, outside its range
      WeightsError     initial weights cannot be had: no download, another network, another number of classes
      CacheError       the cache of decoded pictures cannot be used or written: missing, of another dataset,
                       cut short, no room
      RunError         the run's folder cannot be used: finished already, begun with other settings, holds no
                       model
      Interrupted      the user pressed Ctrl-C; a checkpoint was saved

An error says what is wrong, in which file, what was expected, what was found, and what to do.
"""

from collections.abc import Sequence
from pathlib import PurePath
from typing import ClassVar


class TrainerError(Exception):
    """The root of all errors of this program.

    ``str(error)`` is the whole text: the problem, and below it a line for each part that is known. The parts
    themselves are attributes: ``problem``, ``file``, ``expected``, ``found``, ``todo``.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        problem: str,
        *,
        file: PurePath | str | None = None,
        expected: object = None,
        found: object = None,
        todo: str | None = None,
    ) -> None:
        self.problem, self.file, self.expected, self.found, self.todo = problem, file, expected, found, todo
        super().__init__(error_text(problem, file=file, expected=expected, found=found, todo=todo))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from worker processes; Exception's own pickling would lose the keyword arguments.
        return _rebuilt, (type(self), self.__dict__, self.args)


def _rebuilt(kind: type[TrainerError], state: dict[str, object], args: tuple[str, ...]) -> TrainerError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class FolderError(TrainerError):
    """The dataset folder is not what its format says."""


class SettingError(TrainerError):
    """A setting cannot be what was asked."""

    exit_code = 2


class WeightsError(TrainerError):
    """Initial weights cannot be had."""


class CacheError(TrainerError):
    """The cache of decoded pictures cannot be used or written."""


class RunError(TrainerError):
    """The run's folder cannot be used."""


class Interrupted(TrainerError):
    """The user pressed Ctrl-C."""

    exit_code = 130


def error_text(
    problem: str,
    *,
    file: PurePath | str | None = None,
    expected: object = None,
    found: object = None,
    todo: str | None = None,
) -> str:
    """The text of an error: the problem, and below it a line for each part that is known."""
    parts = {"file": file, "expected": expected, "found": found, "to do": todo}
    lines = [f"  {name + ':':<9} {part}" for name, part in parts.items() if part is not None]
    return "\n".join([problem, *lines])


def did_you_mean(word: str, words: Sequence[str]) -> str:
    """What to do about a name that does not exist: the names most like it, or else all there are."""
    from difflib import get_close_matches

    close = get_close_matches(word, words, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose one of: {', '.join(words)}"


def printable(text: str) -> str:
    """Text from a file of unknown origin, with what a terminal or a table would act on (control characters,
    line breaks, half characters) as visible escapes: ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
