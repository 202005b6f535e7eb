"""Where a trigger can lie. Pure functions of label maps; every quantity is an integer.

Label maps here hold training ids, uint8 (H, W). A *centre map* is bool (H, W): true at each pixel that may be
the trigger's reference point, which is pixel (⌊h/2⌋, ⌊w/2⌋) of its box.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial import cKDTree

from poisongen.imaging.pixels import Pixels, histogram
from poisongen.labels import IGNORE

Bools = NDArray[np.bool_]
Points = NDArray[np.int64]


Count = Annotated[int, Field(ge=0, lt=1 << 53)]


class Location(BaseModel):
    """A resolved placement, as a row of ``samples.jsonl`` holds it: the trigger's box (top, left, rows,
    columns), the training id and the component's pixels of what it lies on, and how far it is from the victim
    in pixels. None: not on one surface; no victim.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    box: tuple[Count, Count, Count, Count]
    surface_class: Count | None = None
    component_pixels: Count | None = None
    distance_sq: Count | None = None
    chebyshev: Count | None = None
    gap_sq: Count | None = None


FORBIDDEN = IGNORE
"""In a map of surfaces: the trigger may not lie here, as on ignored pixels."""


class Scene:
    """One label map as placement sees it; what is expensive is computed once and when needed."""

    def __init__(self, train: Pixels, victims: Sequence[int], covered: Bools) -> None:
        self.train, self.victims, self.covered = train, tuple(victims), covered

    @cached_property
    def victim(self) -> Pixels:
        """1 where a victim class is, else 0: uint8 (H, W)."""
        return is_any(self.train, self.victims).view(np.uint8)

    @cached_property
    def victim_rim(self) -> Points:
        """Victim pixels with a 4-neighbour that is none, int64 (n, 2): the nearest victim pixel of any other
        point is among them."""
        return points_of(_rim(self.victim))

    @cached_property
    def tree(self) -> cKDTree:
        # Sliding-midpoint without compaction builds 3 times faster than the balanced tree and answers as
        # fast.
        return cKDTree(self.victim_rim, balanced_tree=False, compact_nodes=False)

    @cached_property
    def room(self) -> Bools:
        """Centre map of the positions where the whole footprint lies on one 4-connected component of one
        allowed class."""
        return one_surface(self.train, self.victims, self.covered)

    def squared_distances(self, points: Points) -> Points:
        """Squared Euclidean distance from each point (n, 2) to the nearest victim pixel: int64 (n,),
        exact."""
        _, nearest = self.tree.query(points)
        squared = ((points - self.victim_rim[nearest]) ** 2).sum(axis=1)
        squared[self._on_victim(points)] = 0
        return np.asarray(squared, np.int64)

    def within(self, points: Points, squared: int) -> Bools:
        """Which points (n, 2) may have a victim pixel at this squared distance or nearer: bool (n,), a few
        too many at most."""
        distance, _ = self.tree.query(points, distance_upper_bound=(squared + 1) ** 0.5)
        near = np.isfinite(distance)
        return np.asarray(near | self._on_victim(points), np.bool_)

    def _on_victim(self, points: Points) -> Bools:
        """Which points (n, 2) are victim pixels: bool (n,)."""
        rows, columns = points.T
        return np.asarray(self.victim[rows, columns] > 0, np.bool_)

    def describe(self, centre: tuple[int, int]) -> Location:
        """The facts of a trigger with its reference point at ``centre`` (row, column), which must be in
        ``room``."""
        rows, columns = self.covered.shape
        top, left = centre[0] - rows // 2, centre[1] - columns // 2
        covered = np.argwhere(self.covered) + (top, left)
        anchor = (int(covered[0, 0]), int(covered[0, 1]))
        surface = int(self.train[anchor])
        box, size = (top, left, rows, columns), component_size(self.train, anchor)
        if not len(self.victim_rim):
            return Location(box=box, surface_class=surface, component_pixels=size)
        point = np.array([centre])
        edge = points_of(_rim(self.covered.astype(np.uint8), outside=0)) + (top, left)
        return Location(
            box=box,
            surface_class=surface,
            component_pixels=size,
            distance_sq=int(self.squared_distances(point)[0]),
            chebyshev=0 if self.victim[centre] else int(np.abs(self.victim_rim - point).max(axis=1).min()),
            gap_sq=int(self.squared_distances(edge).min()),
        )


def _rim(region: Pixels, outside: int = 1) -> Pixels:
    """The pixels of a 0/1 region that have a 4-neighbour outside of it; beyond the picture counts as
    ``outside``."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return region - cv2.erode(region, cross, borderType=cv2.BORDER_CONSTANT, borderValue=outside)  # type: ignore[return-value]


def one_surface(train: Pixels, victims: Sequence[int], covered: Bools) -> Bools:
    """The connected-component check of IBA's placement (arXiv:2303.12054), for every position at once.

    ``covered`` is the footprint (h, w). Returns the centre map (H, W) of the positions where every covered
    pixel belongs to one and the same 4-connected component of one class that is neither a victim nor ignore.
    """
    surface = _surfaces(train, victims, covered)
    height, width = train.shape
    rows, columns = covered.shape
    room = np.zeros((height, width), np.bool_)
    if rows > height or columns > width:
        return room
    # A corner map has an entry for each position of the box's top left pixel; this is the part of the centre
    # map that it fills.
    high, wide = height - rows + 1, width - columns + 1
    inside = room[rows // 2 : rows // 2 + high, columns // 2 : columns // 2 + wide]
    inside[:] = _uniform(surface, rows, columns)
    if covered.all():
        return room
    # Any other footprint: sure where its bounding box is uniform, impossible where its longest row and column
    # are not, and looked at run by run in the thin shell between.
    across, down = _longest(covered), _longest(covered.T)
    row_fits = _uniform(surface, 1, across.length)
    column_fits = _uniform(surface, down.length, 1)
    likely = row_fits[across.line : across.line + high, across.first : across.first + wide]
    likely = likely & column_fits[down.first : down.first + high, down.line : down.line + wide]
    shell = points_of(likely & ~inside)
    fits = shell[_fits(surface, covered, shell)]
    inside[fits[:, 0], fits[:, 1]] = True
    return room


def _surfaces(train: Pixels, victims: Sequence[int], covered: Bools) -> Pixels | NDArray[np.float32]:
    """A number for each pixel, equal where a footprint may lie together, ``FORBIDDEN`` where it may not
    lie."""
    classes = train.copy()
    classes[is_any(train, victims)] = FORBIDDEN
    if cv2.connectedComponents(covered.astype(np.uint8), connectivity=4)[0] <= 2:
        # A connected footprint on one class is on one component of it: no need to number them, which takes 17
        # ms a class.
        return classes
    # float32 holds every number of components below 2^24 exactly.
    components, used = np.full(train.shape, FORBIDDEN, np.float32), FORBIDDEN
    for value in np.flatnonzero(histogram(classes)[:FORBIDDEN]):
        count, numbered = cv2.connectedComponents((classes == value).astype(np.uint8), connectivity=4)
        components[numbered > 0] = numbered[numbered > 0] + used
        used += count - 1
    return components


def _uniform(surface: Pixels | NDArray[np.float32], rows: int, columns: int) -> Bools:
    """Corner map of the rows×columns boxes on one surface: none of their 2×2 blocks is mixed, and their
    corner may be covered."""
    high, wide = min(rows, 2), min(columns, 2)
    lowest = _sliding(np.minimum, surface, high, wide)
    highest = _sliding(np.maximum, surface, high, wide)
    mixed = _sliding(np.logical_or, lowest != highest, rows - high + 1, columns - wide + 1)
    height, width = mixed.shape
    allowed = surface[:height, :width] != FORBIDDEN
    return np.asarray(allowed & ~mixed, np.bool_)


def _sliding(extreme: Any, values: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Corner map of an extreme over each box, by doubling: four times as fast as OpenCV's filters at
    110×110."""
    span = 1
    while span < rows:
        step = min(span, rows - span)
        values, span = extreme(values[:-step], values[step:]), span + step
    span = 1
    while span < columns:
        step = min(span, columns - span)
        values, span = extreme(values[:, :-step], values[:, step:]), span + step
    return values


class _Run(NamedTuple):
    """Covered pixels beside each other in one line of a footprint, ``last`` among them."""

    line: int
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def _runs(covered: Bools) -> list[_Run]:
    """The footprint as horizontal runs, from the top down."""
    padded = np.pad(covered.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(padded, axis=1)
    lines, firsts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    runs = np.stack([lines, firsts, ends - 1], axis=1)
    return [_Run(*run) for run in runs.tolist()]


def _longest(covered: Bools) -> _Run:
    """The longest horizontal run of a footprint, the first of several."""
    return max(_runs(covered), key=lambda run: run.length)


def _fits(surface: Pixels | NDArray[np.float32], covered: Bools, corners: Points) -> Bools:
    """For each box corner (n, 2) in the picture: does every covered pixel lie on one surface? Bool (n,)."""
    # Two pixels of one row with as many changes before them have no change between them.
    changes = np.zeros(surface.shape, np.int32)
    np.cumsum(surface[:, 1:] != surface[:, :-1], axis=1, out=changes[:, 1:])
    fits = np.ones(len(corners), np.bool_)
    alive = np.arange(len(corners))
    runs = _runs(covered)
    anchor = runs[0]
    for run in runs:
        tops, lefts = corners[alive].T
        rows, firsts, lasts = tops + run.line, lefts + run.first, lefts + run.last
        number = surface[rows, firsts]
        unbroken = changes[rows, firsts] == changes[rows, lasts]
        like_anchor = number == surface[tops + anchor.line, lefts + anchor.first]
        good = (number != FORBIDDEN) & unbroken & like_anchor
        fits[alive[~good]] = False
        alive = alive[good]
    return fits


def component_size(train: Pixels, pixel: tuple[int, int]) -> int:
    """Pixels of the 4-connected component of one class that contains ``pixel`` (row, column)."""
    # Filling one component takes 1 ms where numbering all of them takes 17.
    height, width = train.shape
    row, column = pixel
    filled = np.zeros((height + 2, width + 2), np.uint8)
    size, *_ = cv2.floodFill(train.copy(), filled, (column, row), 0, flags=4 | cv2.FLOODFILL_MASK_ONLY)
    return int(size)


def is_any(train: Pixels, classes: Sequence[int]) -> Bools:
    """Where a label map has one of the classes: bool (H, W). Comparing is 20 times faster than a table, for a
    few classes."""
    found = np.zeros(train.shape, np.bool_)
    for value in classes:
        found |= train == value
    return found


def points_of(where: NDArray[Any]) -> Points:
    """The true pixels as points (row, column) in row-major order, int64 (n, 2): ``argwhere``, 20 times faster
    on a sparse map."""
    return np.stack(np.divmod(np.flatnonzero(where.view(np.bool_)), where.shape[1]), axis=1)


def keep_margin(room: Bools, margin: int) -> Bools:
    """The centre map without reference points closer than ``margin`` pixels to an edge of the picture."""
    if margin <= 0:
        return room
    kept = np.zeros_like(room)
    height, width = room.shape
    inner = np.s_[margin : max(margin, height - margin), margin : max(margin, width - margin)]
    kept[inner] = room[inner]
    return kept


def nearest(scene: Scene, allowed: Bools, lower: int) -> tuple[Points, int]:
    """The allowed centres at the smallest Euclidean distance to the victim that is at least ``lower``, in
    row-major order.

    Returns the points (n, 2) and their common squared distance; no points if there are none (the distance is
    then 0). Of allowed centres farther than ``lower``, one that has all four neighbours allowed is never
    nearest: the neighbour towards the victim is nearer. So only the rim of the allowed set is looked up in
    the KD-tree, and the ring around ``lower``.
    """
    candidates = _rim(allowed.astype(np.uint8)) > 0
    if lower > 0:
        # Euclid ≤ √2 · Chebyshev: inside of the ring every pixel is too near, outside of it every one is far
        # enough.
        inner = int((lower * lower / 2) ** 0.5)
        far = ~dilated(scene.victim, lower)
        candidates = allowed & ((candidates & far) | ~(far | dilated(scene.victim, inner - 1)))
    points = points_of(candidates)
    if not len(points):
        return points, 0
    if not lower:
        # A sixteenth of the points bounds the distance of the rest, and the tree prunes what is farther: 3
        # times faster.
        bound = int(scene.squared_distances(points[::16]).min())
        points = points[scene.within(points, bound)]
    squared = scene.squared_distances(points)
    enough = squared >= lower * lower
    if not enough.any():
        return points[:0], 0
    smallest = int(squared[enough].min())
    return points[squared == smallest], smallest


def dilated(region: Pixels, radius: int) -> Bools:
    """The pixels at a Chebyshev distance of at most ``radius`` from a 0/1 region; nothing for a negative
    radius."""
    if radius < 0:
        return np.zeros(region.shape, np.bool_)
    return np.asarray(cv2.dilate(region, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)) > 0, np.bool_)
