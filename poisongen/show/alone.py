"""A trigger by itself: as it is painted, and the art that it is made of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poisongen.format.manifest import Digests, Manifest
from poisongen.imaging.pixels import Pixels, decode_art
from poisongen.show import marks
from poisongen.show.exhibits import Exhibit
from poisongen.show.gallery import read_pixels
from poisongen.show.words import Classes
from poisongen.triggers import Art, Painted, Semantic

_LARGEST = 400


@dataclass(frozen=True)
class Alone:
    """A trigger: where it is used, what it is, RGBA uint8 (h, w, 4) as ``painted`` in a picture of ``size``
    (None: it is not, or otherwise in each sample), shrunk if it is large, and the ``art`` that all samples
    share (None: there is none).
    """

    title: str
    words: str
    size: tuple[int, int]
    painted: Pixels | None
    art: Pixels | None


def triggers(root: Path, manifest: Manifest, classes: Classes, exhibits: Sequence[Exhibit]) -> list[Alone]:
    """Every trigger of the recipe once, in a picture as large as most of those that are shown. Raises
    VerifyError for other art."""
    poison = manifest.recipe.poison
    sizes = Counter((one.row.height, one.row.width) for one in exhibits if one.row.placement or one.row.mask)
    if poison is None or not sizes:
        return []
    size = min(sizes, key=lambda size: (-sizes[size], size))
    pictures = {
        name: read_pixels(root, name, Digests(pixels=digest), decode_art)
        for name, digest in manifest.art.items()
    }
    art, found = Art({name: root / name for name in pictures}), list[Alone]()
    for trigger in {trigger.model_dump_json(): trigger for _, _, trigger in poison.shown()}.values():
        decoy = trigger != poison.trigger
        used = ", ".join(f"triggered/{name}" for name, _, other in poison.shown() if other == trigger)
        painted = (
            trigger.render(art, "", *size)
            if isinstance(trigger, Painted) and trigger.art_of("") is None
            else None
        )
        found.append(
            Alone(
                title=f"Decoy, in {used}" if decoy else "Trigger",
                words=_words(trigger, classes) if isinstance(trigger, Semantic) else trigger.describe(),
                size=size,
                painted=None if painted is None else _plain(painted),
                art=next((pictures[name] for name in trigger.art_files() if name in pictures), None),
            )
        )
    return found


def _words(trigger: Semantic, classes: Classes) -> str:
    return f"nothing is painted: {classes.name(trigger.trigger_class)} is in the picture, at least {trigger.min_pixels:,} pixels of it"


def _plain(premultiplied: Pixels) -> Pixels:
    """RGBA whose colours are not multiplied by alpha, shrunk to a side of 400 pixels at most."""
    premultiplied = marks.at_size(premultiplied, marks.within(premultiplied.shape, _LARGEST))
    alpha = premultiplied[..., 3:].astype(np.uint32)
    colours = np.minimum(
        255, (premultiplied[..., :3].astype(np.uint32) * 255 + alpha // 2) // np.maximum(1, alpha)
    )
    return np.concatenate([colours, alpha], axis=2).astype(np.uint8)
