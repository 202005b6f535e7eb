"""What can go wrong, as a tree.

::

    TrainerError
      FolderError      the dataset folder is not what its format says: missing, changed, of a newer version, hostile
      SettingError     a setting cannot be what was asked: unknown name, wrong type, outside its range
      WeightsError     initial weights cannot be had: no download, another network, another number of classes
      CacheError       the cache of decoded pictures cannot be used or written: missing, of another dataset, cut short, no room
      RunError         the run's folder cannot be used: finished already, begun with other settings, holds no model
      Interrupted      the user pressed Ctrl-C; a checkpoint was saved

An error is a small letter: what is wrong, in which file, what was expected, what was found, what to do.
"""

from pathlib import PurePath
from typing import ClassVar


class TrainerError(Exception):
    """The root. Its only argument is the whole letter, so errors travel between processes as they are."""

    exit_code: ClassVar[int] = 1


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


def letter(
    problem: str, *, file: PurePath | str | None = None, expected: object = None, found: object = None, todo: str | None = None
) -> str:
    """The text of an error: the problem, and below it a line for each part that is known."""
    parts = {"file": file, "expected": expected, "found": found, "to do": todo}
    return "\n".join([problem, *(f"  {name + ':':<9} {text}" for name, text in parts.items() if text is not None)])
