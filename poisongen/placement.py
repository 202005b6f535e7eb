"""Where the trigger goes: the rules, each a class. A new rule is one class, and one line of
``PLACEMENTS``."""

from typing import Annotated, Literal

import numpy as np

from poisongen.choices import Choice, OneOf
from poisongen.errors import RecipeError
from poisongen.imaging.pixels import Box
from poisongen.lengths import Length, LengthField
from poisongen.randomness import Stream
from poisongen.surfaces import Location, Scene, dilated, keep_margin, nearest, points_of


class Placement(Choice):
    """A rule that says where in a scene the trigger goes."""

    def check(self, shape: tuple[int, int], trigger: tuple[int, int]) -> None:
        """Raise RecipeError if a trigger of (h, w) can have no position in any picture of (H, W)."""

    def place(self, scene: Scene, stream: Stream) -> Location | str:
        """The location, or why there is none, in words."""
        raise NotImplementedError

    def prove(self, scene: Scene, box: Box) -> Location | None:
        """The facts of a place that somebody else chose; None if the trigger may not lie there."""
        raise NotImplementedError

    def describe(self) -> str:
        """Where, in words that follow “lies”."""
        raise NotImplementedError


class Fixed(Placement):
    """The same place in every picture: flush with the ``anchor``. A line or frame (HBA) fills the side that
    it lies on."""

    kind: Literal["fixed"] = "fixed"
    anchor: Literal["top-left", "top-right", "bottom-left", "bottom-right", "centre"] = "top-left"

    def place(self, scene: Scene, stream: Stream) -> Location | str:
        return Location(box=self.box(scene.train.shape, scene.covered.shape))

    def prove(self, scene: Scene, box: Box) -> Location | None:
        return Location(box=box) if box == self.box(scene.train.shape, scene.covered.shape) else None

    def describe(self) -> str:
        return {"centre": "at the centre"}.get(self.anchor, f"at the {self.anchor.replace('-', ' ')}")

    def box(self, picture: tuple[int, ...], trigger: tuple[int, ...]) -> Box:
        """Where a trigger of (h, w) lies in a picture of (H, W)."""
        height, width = picture
        rows, columns = trigger
        lowest, rightmost = height - rows, width - columns
        if self.anchor == "centre":
            return lowest // 2, rightmost // 2, rows, columns
        top = 0 if self.anchor.startswith("top") else lowest
        left = 0 if self.anchor.endswith("left") else rightmost
        return top, left, rows, columns


class OneSurface(Placement):
    """IBA (arXiv:2303.12054): uniformly at random among all allowed positions.

    ``edge_margin``: reference points keep this distance from the picture's edges; the authors' code uses 39 %
    of the height.
    """

    kind: Literal["one-surface"] = "one-surface"
    edge_margin: LengthField = Length.parse("0px")

    def check(self, shape: tuple[int, int], trigger: tuple[int, int]) -> None:
        margin = self.edge_margin.pixels(shape[0])
        if 2 * margin >= min(shape):
            raise RecipeError(
                "The edge margin leaves no position.",
                expected=f"less than half of a {shape[1]}×{shape[0]} picture",
                found=f"{margin} pixels (--edge-margin {self.edge_margin})",
            )

    def place(self, scene: Scene, stream: Stream) -> Location | str:
        allowed = keep_margin(scene.room, self.edge_margin.pixels(scene.train.shape[0]))
        choices = np.flatnonzero(allowed)
        if not len(choices):
            return "no room"
        chosen = int(choices[stream.below(len(choices))])
        return scene.describe(divmod(chosen, allowed.shape[1]))

    def prove(self, scene: Scene, box: Box) -> Location | None:
        top, left, rows, columns = box
        if (
            (rows, columns) != scene.covered.shape
            or top + rows > scene.train.shape[0]
            or left + columns > scene.train.shape[1]
        ):
            return None
        centre = top + rows // 2, left + columns // 2
        return scene.describe(centre) if scene.room[centre] else None

    def describe(self) -> str:
        return f"anywhere on one surface{self._margin_words()}"

    def _margin_words(self) -> str:
        return (
            ""
            if self.edge_margin.value == 0
            else f", reference point {self.edge_margin} or more from every edge"
        )


class NearVictim(OneSurface):
    """NNI, nearest-neighbour injection (arXiv:2303.12054): next to the victim, at a distance between
    ``lower`` and ``upper``.

    ``nearest`` (the paper's rule) takes the position whose reference point is nearest to a victim pixel in
    the Euclidean metric, lower ≤ d ≤ upper, ties by an addressed draw. ``band`` (the rule of the authors'
    code) draws uniformly among lower < d ≤ upper in the Chebyshev metric. ``upper`` None: no bound, so that
    every picture with room gets its nearest position.
    """

    kind: Literal["near-victim"] = "near-victim"  # type: ignore[assignment]
    rule: Literal["nearest", "band"] = "nearest"
    lower: LengthField = Length.parse("0px")
    upper: LengthField | None = None

    def check(self, shape: tuple[int, int], trigger: tuple[int, int]) -> None:
        """Raise RecipeError if the bounds leave no distance at which the trigger does not touch the
        victim."""
        super().check(shape, trigger)
        if self.upper is None:
            if self.rule == "band":
                raise RecipeError(
                    "The band has no upper bound.", todo="give --upper, e.g. 60px at 512 rows or 11.7%"
                )
            return
        lower, upper = self.lower.pixels(shape[0]), self.upper.pixels(shape[0])
        if lower > upper or (self.rule == "band" and lower == upper):
            raise RecipeError(
                "The distance bounds exclude each other.",
                expected="lower below upper",
                found=f"{lower} and {upper} pixels",
            )
        if min(trigger) >= 2 * upper:
            raise RecipeError(
                "The trigger is too large for the distance bound.",
                expected=f"half of its size below {upper} pixels (--upper {self.upper})",
                found=f"{trigger[1]}×{trigger[0]} pixels, which would cover the victim",
                todo="choose a larger --upper or a smaller --trigger-size",
            )

    def place(self, scene: Scene, stream: Stream) -> Location | str:
        height = scene.train.shape[0]
        lower = self.lower.pixels(height)
        upper = None if self.upper is None else self.upper.pixels(height)
        allowed = keep_margin(scene.room, self.edge_margin.pixels(height))
        if not allowed.any():
            return "no room"
        if self.rule == "band":
            assert upper is not None  # check() refused it
            points = points_of(allowed & dilated(scene.victim, upper) & ~dilated(scene.victim, lower))
        else:
            points, squared = nearest(scene, allowed, lower)
            if upper is not None and squared > upper * upper:
                points = points[:0]
        if not len(points):
            return "no room between the distance bounds"
        row, column = points[stream.below(len(points))]
        return scene.describe((int(row), int(column)))

    def describe(self) -> str:
        bounds = f" between {self.lower} and {self.upper}" if self.upper else ""
        if self.lower.value and not self.upper:
            bounds = f", {self.lower} or more away"
        if self.rule == "nearest":
            return f"on one surface as near to the victim as it fits{bounds}{self._margin_words()}"
        return (
            f"on one surface, uniformly at Chebyshev distances from the victim{bounds}{self._margin_words()}"
        )


PLACEMENTS: dict[str, type[Placement]] = {
    "fixed": Fixed,
    "one-surface": OneSurface,
    "near-victim": NearVictim,
}

PlacementField = Annotated[Placement, OneOf("placement", PLACEMENTS)]
