"""The laws of a trigger."""

from collections.abc import Sequence

import numpy as np

from poisongen.errors import RecipeError
from poisongen.imaging.pixels import Box, Pixels
from poisongen.testing.examples import label_maps, pictures
from poisongen.testing.laws import check_choice, check_form, check_words, require
from poisongen.triggers import Art, Painted, Trigger, Triggered

SIZES = ((64, 128), (96, 96), (61, 83), (1, 1))
"""Heights and widths of pictures."""


def check_trigger(
    trigger: Trigger,
    *,
    art: Art | None = None,
    sample_id: str = "train/one",
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> None:
    """Hold a trigger against its laws in pictures of these sizes (height, width).

    ``art``: the pictures that it is made of. ``sample_id``: of a sample for which there is art, where each
    has its own. The trigger must fit into one of the sizes at least. Raises AssertionError with the law that
    is broken.

    * It is a frozen value that JSON keeps, and is described in a line.
    * It fits into a picture, or raises RecipeError.
    * No pixel outside of its mask changes, and some pixel of some picture does.
    * The mask is 0 or 255 and has the size of the picture; of a placed trigger it is the footprint at the
      box, and nothing else; planning, which sees no picture, finds the same one.
    * The same picture gives the same result each time, also from a copy, and what is given is not changed.
    """
    check_choice(trigger)
    check_words(trigger.describe(), "a trigger")
    check_words(trigger.shown("at the top left"), "where a trigger is shown")
    art = Art() if art is None else art
    fitting = [size for size in sizes if _fits(trigger, art, sample_id, size)]
    require(fitting, "a trigger fits into a picture of one of the sizes", sizes)
    for size in fitting:
        for box in _boxes(trigger, art, sample_id, size):
            _check_in_pictures(trigger, art, sample_id, size, box)


def _fits(trigger: Trigger, art: Art, sample_id: str, size: tuple[int, int]) -> bool:
    try:
        if isinstance(trigger, Painted):
            _check_rendered(trigger.render(art, sample_id, *size))
        if trigger.placed:
            trigger.footprint_in(art, sample_id, *size)
        elif trigger.alters_picture:
            trigger.apply(np.zeros((*size, 3), np.uint8), art, sample_id, None)
    except RecipeError:
        return False
    return True


def _check_rendered(rendered: object) -> None:
    law = "a trigger is rendered as RGBA, uint8 (h, w, 4)"
    require(isinstance(rendered, np.ndarray) and rendered.dtype == np.uint8, law)
    require(isinstance(rendered, np.ndarray) and rendered.ndim == 3 and rendered.shape[2] == 4, law)


def _boxes(trigger: Trigger, art: Art, sample_id: str, size: tuple[int, int]) -> Sequence[Box | None]:
    """Where it is tried: in the corners and in the middle; None for a trigger that is not placed."""
    if not trigger.placed:
        return [None]
    (height, width), covered = size, trigger.footprint_in(art, sample_id, *size)
    where = f"a picture of {width}×{height}"
    require(covered.ndim == 2, "a footprint has two dimensions", where)
    rows, columns = covered.shape
    check_form(covered, "bool", (rows, columns), "a footprint is an array of bool", where)
    inside = 1 <= rows <= height and 1 <= columns <= width
    require(inside, "a trigger fits into the picture, or raises RecipeError", f"{where}: {columns}×{rows}")
    require(covered.any(), "a footprint covers a pixel", where)
    again = trigger.footprint_in(art, sample_id, *size)
    require(np.array_equal(covered, again), "a footprint is the same each time", where)
    tops, lefts = (0, (height - rows) // 2, height - rows), (0, (width - columns) // 2, width - columns)
    return [(top, left, rows, columns) for top, left in zip(tops, lefts, strict=True)]


def _check_in_pictures(
    trigger: Trigger, art: Art, sample_id: str, size: tuple[int, int], box: Box | None
) -> None:
    where = f"in a picture of {size[1]}×{size[0]}, box {box}"
    for name, train in label_maps((0, 1, 2, 255), *size).items():
        before = train.copy()
        planned = trigger.mask_in(train, art, sample_id, box)
        require(np.array_equal(train, before), "a label map is not changed", f"{where}, {name}")
        _check_mask(trigger, art, sample_id, planned, size, box)
    if not trigger.alters_picture:
        return
    changed_any = False
    for name, picture in pictures(*size).items():
        before = picture.copy()
        triggered = trigger.apply(picture, art, sample_id, box)
        require(
            np.array_equal(picture, before), "the picture that is given is not changed", f"{where}, {name}"
        )
        _check_triggered(before, triggered, f"{where}, {name}")
        planned = trigger.mask_in(np.zeros(size, np.uint8), art, sample_id, box)
        same_mask = np.array_equal(triggered.mask, planned)
        require(same_mask, "the mask is the one that planning finds without a picture", f"{where}, {name}")
        again = trigger.apply(before, art, sample_id, box)
        same = np.array_equal(again.picture, triggered.picture) and np.array_equal(again.mask, triggered.mask)
        require(same, "the same picture gives the same result, also from a copy", f"{where}, {name}")
        changed_any = changed_any or not np.array_equal(triggered.picture, before)
    require(changed_any, "a trigger changes a pixel of some picture", where)


def _check_mask(
    trigger: Trigger, art: Art, sample_id: str, mask: Pixels, size: tuple[int, int], box: Box | None
) -> None:
    where = f"in a picture of {size[1]}×{size[0]}, box {box}"
    check_form(mask, "uint8", size, "a mask is uint8 and has the size of the picture", where)
    require(np.isin(mask, (0, 255)).all(), "a mask is 0 or 255", where)
    if box is None:
        return
    top, left, rows, columns = box
    outside = mask.copy()
    outside[top : top + rows, left : left + columns] = 0
    require(not outside.any(), "a mask lies inside of the box", where)
    covered = trigger.footprint_in(art, sample_id, *size)
    in_box = mask[top : top + rows, left : left + columns] == 255
    require(np.array_equal(in_box, covered), "a mask is the footprint at the box", where)


def _check_triggered(before: Pixels, triggered: Triggered, where: str) -> None:
    after, mask = triggered.picture, triggered.mask
    check_form(after, "uint8", before.shape, "a picture keeps its size and is uint8", where)
    check_form(mask, "uint8", before.shape[:2], "a mask is uint8 and has the size of the picture", where)
    require(np.isin(mask, (0, 255)).all(), "a mask is 0 or 255", where)
    changed = (after != before).any(axis=2)
    outside = int((changed & (mask == 0)).sum())
    require(outside == 0, "no pixel outside of the mask changes", f"{where}: {outside} pixels")
