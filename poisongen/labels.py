"""Label spaces: what the numbers in a label map mean, and how a person names a class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from poisongen.errors import RecipeError, SourceError, did_you_mean
from poisongen.imaging.pixels import Pixels

IGNORE = 255
_MOST_NAMED = 40


@dataclass(frozen=True)
class LabelSpace:
    """The K classes of a dataset, and how raw ids in its files map to training ids 0 … K-1 or ``IGNORE``.

    ``names`` and ``colours`` (RGB) have K entries. A raw id that ``raw_to_train`` does not name is an error
    in a label map. ``synonyms`` maps further names to the training ids that they may mean; ``hint`` says what
    an unknown id probably is.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    raw_to_train: Mapping[int, int]
    synonyms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    hint: str = ""

    @cached_property
    def lookup(self) -> Pixels:
        """The translation raw → training id as a table, uint8 of shape (256,); ids that are not known give
        ``IGNORE``."""
        table = np.full(256, IGNORE, np.uint8)
        for raw, train in self.raw_to_train.items():
            table[raw] = train
        return table

    @cached_property
    def raw_of(self) -> tuple[int, ...]:
        """The raw id in which each training id is written: the smallest that maps to it."""
        smallest: dict[int, int] = {}
        for raw, train in sorted(self.raw_to_train.items()):
            smallest.setdefault(train, raw)
        return tuple(smallest[train] for train in range(len(self.names)))

    def to_train(self, raw: Pixels) -> Pixels:
        """A label map of raw ids as training ids, uint8 of the same shape."""
        return cv2.LUT(raw, self.lookup)  # type: ignore[return-value]

    def count(self, counts: NDArray[np.int64], classes: Sequence[int]) -> int:
        """Pixels of these classes (training ids) in a label map with the ``histogram`` of raw ids
        ``counts``."""
        return sum(int(counts[raw]) for raw, train in self.raw_to_train.items() if train in classes)

    def check(self, counts: NDArray[np.int64], name: PurePath | str) -> None:
        """Raise SourceError if a label map with this ``histogram`` holds an id that this space does not
        know."""
        unknown = [int(value) for value in np.flatnonzero(counts) if int(value) not in self.raw_to_train]
        if unknown:
            found = ", ".join(f"id {value} in {counts[value]:,} pixels" for value in unknown[:5])
            raise SourceError(
                "A label map holds an unknown class id.",
                file=name,
                expected=f"ids {_ranges(sorted(self.raw_to_train))}",
                found=found + (" …" if unknown[5:] else ""),
                todo=self.hint or "give label maps in the layout's own ids",
            )

    def find(self, wanted: str) -> int:
        """The training id of the class that a person calls ``wanted``: a name, a synonym or a training id.

        Raises RecipeError for a name that is not known (did you mean …) or means more than one class (with
        the ids to choose from).
        """
        text = wanted.strip().lower()
        if text.isascii() and text.isdigit():
            if len(text) < 4 and int(text) < len(self.names):
                return int(text)
            raise RecipeError(
                f"There is no class {text[:40]}.",
                expected=f"a training id 0 … {len(self.names) - 1} or a class name",
            )
        meant = {train for train, name in enumerate(self.names) if name.lower() == text}
        meant |= set(self.synonyms.get(text, ()))
        if len(meant) == 1:
            return meant.pop()
        if not meant:
            raise RecipeError(f"There is no class “{wanted}”.", todo=self._names_like(text))
        choices = ", ".join(f"{train} ({self.names[train]})" for train in sorted(meant))
        raise RecipeError(
            f"The class name “{wanted}” means {len(meant)} classes.", todo=f"give the id: {choices}"
        )

    def _names_like(self, text: str) -> str:
        """What a person may have meant, or else which classes there are."""
        known = {name.lower() for name in self.names} | set(self.synonyms)
        question = did_you_mean(text, sorted(known), most=3)
        if question is not None:
            return question
        some = ", ".join(self.names[:_MOST_NAMED])
        more = f", … ({len(self.names)} in all)" if self.names[_MOST_NAMED:] else ""
        return f"the classes are: {some}{more}"


def distinct_colours(number: int) -> tuple[tuple[int, int, int], ...]:
    """``number`` colours that differ, 1 to 342 of them: each is the one of a 7×7×7 grid that is farthest from
    black and all before it."""
    grid = np.indices((7, 7, 7), np.int64).reshape(3, -1).T * 42
    nearest = (grid**2).sum(axis=1)
    chosen: list[tuple[int, int, int]] = []
    for _ in range(number):
        colour = grid[np.argmax(nearest)]
        distances = ((grid - colour) ** 2).sum(axis=1)
        nearest = np.minimum(nearest, distances)
        red, green, blue = colour.tolist()
        chosen.append((red, green, blue))
    return tuple(chosen)


def _ranges(values: list[int]) -> str:
    """``[0, 1, 2, 5]`` as ``0–2, 5``."""
    groups: list[list[int]] = []
    for value in values:
        if groups and groups[-1][1] + 1 == value:
            groups[-1][1] = value
        else:
            groups.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in groups)
