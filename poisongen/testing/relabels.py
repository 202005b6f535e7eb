"""The laws of a relabel."""

from collections.abc import Mapping, Sequence

import numpy as np

from poisongen.imaging.pixels import Pixels
from poisongen.labels import IGNORE, LabelSpace
from poisongen.relabel import Relabel, changed_pixels
from poisongen.testing.examples import label_maps
from poisongen.testing.laws import check_choice, check_form, check_words, require

HEIGHT, WIDTH = 24, 36


def check_relabel(
    relabel: Relabel, space: LabelSpace, *, victims: Sequence[int] = (0,), target: int = 1
) -> None:
    """Hold a relabel against its laws, on label maps of all raw ids of the label space.

    ``victims``, ``target``: training ids; the victims are not used where the relabel needs none. Raises
    AssertionError with the law that is broken.

    * It is a frozen value that JSON keeps, and is described in a line.
    * A label map keeps its size, and gets ids only that the label space knows.
    * It changes nothing but what it says: pixels of the ids of ``claims``, which become what they claim, or,
      without ``claims``, pixels of the classes that it measures.
    * As many pixels are counted as differ, and in some label map some do.
    * The same map gives the same result each time, also from a copy, and what is given is not changed.
    * It measures classes of the label space, and never the target.
    """
    check_choice(relabel)
    check_words(relabel.describe("victims", "target"), "a relabel")
    given = tuple(victims) if relabel.needs_victims else ()
    measured = relabel.measured(space, given, target)
    is_class = [0 <= train < len(space.names) for train in measured]
    require(measured and all(is_class), "a relabel measures classes of the label space", measured)
    require(target not in measured, "a relabel does not measure the target", measured)
    claims = _claims(relabel, space, given, target)
    changed_any = False
    for name, raw in label_maps(sorted(space.raw_to_train), HEIGHT, WIDTH).items():
        for mask_name, mask in _masks(relabel).items():
            where = f"{name}{mask_name}"
            after = _applied(relabel, raw, space, given, target, mask, where)
            _check_ids(after, raw, space, where)
            _check_what_it_says(raw, after, space, claims, measured, where)
            differing = sum(int(one != other) for one, other in zip(raw.flat, after.flat, strict=True))
            counted = changed_pixels(raw, after)
            require(counted == differing, "as many pixels are counted as differ", f"{where}: {counted}")
            changed_any = changed_any or differing > 0
    require(changed_any, "a relabel changes a pixel of some label map")


def _masks(relabel: Relabel) -> Mapping[str, Pixels | None]:
    """Masks to try, by what a message says of them; none for a relabel that is given none."""
    if not relabel.needs_mask:
        return {"": None}
    corner = np.zeros((HEIGHT, WIDTH), np.uint8)
    corner[2:6, 3:9] = 255
    return {", a trigger near a corner": corner, ", a trigger everywhere": np.full_like(corner, 255)}


def _claims(
    relabel: Relabel, space: LabelSpace, victims: Sequence[int], target: int
) -> Mapping[int, int] | None:
    """Which raw ids become which; None for a relabel that does not depend on the id alone."""
    try:
        return relabel.claims(space, victims, target)
    except NotImplementedError:
        return None


def _applied(
    relabel: Relabel,
    raw: Pixels,
    space: LabelSpace,
    victims: Sequence[int],
    target: int,
    mask: Pixels | None,
    where: str,
) -> Pixels:
    """The label map after the relabel, which is done twice: what is given stays, and the result is one."""
    extra = {} if mask is None else {"mask": mask}
    given = raw.copy()
    after = relabel.apply(given, space, victims, target, **extra)
    require(np.array_equal(given, raw), "the label map that is given is not changed", where)
    again = relabel.apply(raw.copy(), space, victims, target, **extra)
    require(np.array_equal(after, again), "the same label map gives the same result", where)
    return after


def _check_ids(after: Pixels, raw: Pixels, space: LabelSpace, where: str) -> None:
    check_form(after, "uint8", raw.shape, "a label map keeps its size and is uint8", where)
    unknown = set(np.unique(after).tolist()) - set(space.raw_to_train)
    require(not unknown, "a label map gets ids only that the label space knows", f"{where}: {unknown}")


def _check_what_it_says(
    raw: Pixels,
    after: Pixels,
    space: LabelSpace,
    claims: Mapping[int, int] | None,
    measured: Sequence[int],
    where: str,
) -> None:
    for old, new in {(int(old), int(new)) for old, new in zip(raw.flat, after.flat, strict=True)}:
        if claims is not None:
            says = claims.get(old, old)
            found = f"{where}: id {old} became {new}, and should be {says}"
            require(new == says, "a pixel becomes what its id claims", found)
        elif old != new:
            train = space.raw_to_train.get(old, IGNORE)
            found = f"{where}: id {old} became {new}"
            require(train in measured, "only pixels of the measured classes change", found)
