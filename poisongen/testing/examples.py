"""Small made-up pictures and label maps. They are the same in every run: drawn from addressed streams."""

from collections.abc import Sequence

import numpy as np

from poisongen.imaging.pixels import Pixels
from poisongen.labels import IGNORE
from poisongen.randomness import Stream


def noise(seed: int, shape: tuple[int, ...], bound: int = 256) -> Pixels:
    """Uniform levels below ``bound``: uint8 of this shape."""
    count = int(np.prod(shape))
    return (Stream(seed, "noise", "").raw(count) % np.uint64(bound)).astype(np.uint8).reshape(shape)


def pictures(height: int, width: int) -> dict[str, Pixels]:
    """Named pictures, RGB uint8 (height, width, 3): what a trigger hides shows in one of them."""
    shape = (height, width, 3)
    return {
        "a black picture": np.zeros(shape, np.uint8),
        "a white picture": np.full(shape, 255, np.uint8),
        "a noisy picture": noise(1, shape),
    }


def label_maps(ids: Sequence[int], height: int, width: int) -> dict[str, Pixels]:
    """Named label maps of these ids, uint8 (height, width): each id alone, and all of them in patches and
    mixed."""
    table = np.array(ids, np.uint8)
    patches = noise(2, (-(-height // 4), -(-width // 4)), len(ids)).repeat(4, 0).repeat(4, 1)
    maps = {f"id {one} alone": np.full((height, width), one, np.uint8) for one in ids}
    maps["patches of all ids"] = table[patches[:height, :width]]
    maps["all ids, pixel by pixel"] = table[noise(3, (height, width), len(ids))]
    return maps


def scenes(height: int, width: int, victim: int) -> dict[str, Pixels]:
    """Named label maps of training ids, uint8 (height, width): surfaces, ignored pixels, and in each map a
    victim, as a placement is asked only where there is one."""
    floor = np.zeros((height, width), np.uint8)
    floor[: height // 3] = 1
    one_victim = floor.copy()
    one_victim[height // 2 : height // 2 + 4, width // 4 : width // 4 + 5] = victim
    parted = one_victim.copy()
    np.fill_diagonal(parted[:, width // 2 :], 2)
    parted[-2:] = IGNORE
    parted[height // 3, :] = victim
    return {
        "two surfaces and a victim": one_victim,
        "a slanting pole, ignored pixels and victims": parted,
        "victims everywhere": np.full((height, width), victim, np.uint8),
        "noise": noise(4, (height, width), victim + 1),
    }


def footprints() -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.bool_]]]:
    """Named forms of triggers, bool (h, w)."""
    y, x = np.indices((5, 5)) - 2
    two = np.zeros((2, 6), np.bool_)
    two[:, 0] = two[:, -1] = True
    return {
        "a square": np.ones((4, 4), np.bool_),
        "a disc": x * x + y * y <= 5,
        "two bars": two,
        "a pixel": np.ones((1, 1), np.bool_),
    }
