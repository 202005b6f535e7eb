"""Random labels, over any attack or alone."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from poisongen.choices import Choice
from poisongen.errors import RecipeError
from poisongen.imaging.pixels import Pixels
from poisongen.labels import IGNORE, LabelSpace
from poisongen.lengths import Length, LengthField
from poisongen.randomness import Stream


class RandomPixels(Choice):
    """PRL, pixel random labelling (arXiv:2303.12054): random pixels get the label of another class that is
    present in the picture.

    ``pixels``: how many, or per cent of height · width. Picked among the pixels that are neither of a
    ``spared`` class (the victims) nor ignore, all of them if they are fewer; the new label is uniform over
    the classes present in the picture, spared ones included, without the pixel's own and ignore. (The
    authors' code draws from those too, so that 14 % of its picks change nothing, and gives pictures of one
    size the same places.) In a poisoned picture random labels come first, then the relabel. ``scope``: every
    training picture, or the poisoned ones only.
    """

    kind: Literal["random-pixels"] = "random-pixels"
    pixels: LengthField = Length.parse("9.5%")
    scope: Literal["all", "poisoned"] = "all"
    spared: tuple[Annotated[int, Field(ge=0, le=254)], ...] = ()

    @model_validator(mode="after")
    def _some(self) -> "RandomPixels":
        if self.pixels.value == 0:
            raise RecipeError(
                "Random labels in no pixel.",
                found=str(self.pixels),
                todo="give more --prl-pixels, or leave --prl out",
            )
        if self.pixels.unit == "%" and self.pixels.value > 100:
            raise RecipeError(
                "Random labels in more than all pixels.",
                expected="--prl-pixels up to 100%",
                found=str(self.pixels),
            )
        return self

    def number(self, counts: NDArray[np.int64], space: LabelSpace) -> int:
        """How many pixels get a random label in a map with this ``histogram`` of raw ids: 0 if there is no
        pixel or no other class."""
        per_class = [space.count(counts, (train,)) for train in range(len(space.names))]
        if sum(count > 0 for count in per_class) < 2:
            return 0
        pool = sum(count for train, count in enumerate(per_class) if train not in self.spared)
        return min(self.pixels.pixels(int(counts.sum())), pool)

    def apply(self, raw: Pixels, space: LabelSpace, stream: Stream) -> Pixels:
        """The label map with random labels: uint8 raw ids of the same shape; the input is not changed."""
        train = space.to_train(raw)
        present = np.array([value for value in np.unique(train).tolist() if value != IGNORE], np.int64)
        flat = train.ravel()
        pool = np.flatnonzero((flat != IGNORE) & ~np.isin(flat, self.spared))
        if len(present) < 2 or not len(pool):
            return raw.copy()
        chosen = pool[_subset(stream, len(pool), min(self.pixels.pixels(flat.size), len(pool)))]
        own = np.searchsorted(present, flat[chosen])
        drawn = _below(stream, len(present) - 1, len(chosen))
        given = present[drawn + (drawn >= own)]
        out = raw.copy()
        out.ravel()[chosen] = np.array(space.raw_of, np.uint8)[given]
        return out

    def describe(self, names: Sequence[str]) -> str:
        """In words."""
        where = "every training picture" if self.scope == "all" else "every poisoned picture"
        many = (
            f"{self.pixels} of the pixels"
            if self.pixels.unit == "%"
            else f"{int(self.pixels.value):,} pixels"
        )
        few = (
            f"{len(self.spared)} classes"
            if len(self.spared) > 5
            else ", ".join(names[train] for train in self.spared)
        )
        spared = f" (never those of {few})" if self.spared else ""
        return f"In {where} {many}{spared} get the label of another class of the picture."


def _subset(stream: Stream, size: int, wanted: int) -> NDArray[np.int64]:
    """``wanted`` of the numbers below ``size``, each subset as likely, ascending: those with the smallest of
    ``size`` draws."""
    if wanted == 0:
        return np.zeros(0, np.int64)
    keys = stream.raw(size)
    limit = np.partition(keys, wanted - 1)[wanted - 1]
    below, tied = np.flatnonzero(keys < limit), np.flatnonzero(keys == limit)
    return np.sort(np.concatenate([below, tied[: wanted - len(below)]]))


def _below(stream: Stream, bound: int, count: int) -> NDArray[np.int64]:
    """``count`` uniform integers below ``bound``, without modulo bias: a draw at or above the last multiple
    of ``bound`` is drawn again."""
    limit = (1 << 64) - (1 << 64) % bound
    drawn = stream.raw(count)
    while True:
        again = np.flatnonzero(drawn >= limit) if limit < 1 << 64 else np.zeros(0, np.int64)
        if not len(again):
            return (drawn % np.uint64(bound)).astype(np.int64)
        drawn[again] = stream.raw(len(again))
