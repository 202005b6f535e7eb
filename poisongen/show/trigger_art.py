"""A trigger by itself: as it is painted, and the art that it is made of."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from poisongen.format.manifest import Digests, Manifest
from poisongen.imaging.pixels import Pixels, decode_art
from poisongen.recipe import Poison
from poisongen.show.classes import Classes
from poisongen.show.rendered import RenderedRow
from poisongen.show.resize import Size, at_size, within
from poisongen.show.views import read_pixels
from poisongen.triggers import Art, Painted, Semantic, Trigger

_LARGEST = 400


@dataclass(frozen=True)
class TriggerArt:
    """A trigger: where it is used, what it is, RGBA uint8 (h, w, 4) as ``painted`` in a picture of ``size``
    (None: it is not, or otherwise in each sample), shrunk if it is large, and the ``art`` that all samples
    share (None: there is none).
    """

    title: str
    words: str
    size: Size
    painted: Pixels | None
    art: Pixels | None


def trigger_arts(
    root: Path, manifest: Manifest, classes: Classes, rows: Sequence[RenderedRow]
) -> list[TriggerArt]:
    """Every trigger of the recipe once, in a picture as large as most of those that are shown. Raises
    VerifyError for other art."""
    poison = manifest.recipe.poison
    size = _most_frequent_size(rows)
    if poison is None or size is None:
        return []
    pictures = {
        name: read_pixels(root, name, Digests(pixels=digest), decode_art)
        for name, digest in manifest.art.items()
    }
    art = Art({name: root / name for name in pictures})
    return [
        TriggerArt(
            title=_title(trigger, poison),
            words=_words(trigger, classes),
            size=size,
            painted=_painted(trigger, art, size),
            art=_shared_art(trigger, pictures),
        )
        for trigger in _triggers(poison)
    ]


def _most_frequent_size(rows: Sequence[RenderedRow]) -> Size | None:
    """Of the pictures with a trigger; of several, the smallest."""
    with_trigger = [one.row for one in rows if one.row.placement or one.row.mask]
    sizes = Counter(Size(row.height, row.width) for row in with_trigger)
    return min(sizes, key=lambda size: (-sizes[size], size), default=None)


def _triggers(poison: Poison) -> Iterator[Trigger]:
    """The triggers of the recipe and of its evaluation sets, each once."""
    seen = set()
    for _, _, trigger in poison.shown():
        key = trigger.model_dump_json()
        if key not in seen:
            seen.add(key)
            yield trigger


def _title(trigger: Trigger, poison: Poison) -> str:
    if trigger == poison.trigger:
        return "Trigger"
    used = [f"triggered/{name}" for name, _, other in poison.shown() if other == trigger]
    return f"Decoy, in {', '.join(used)}"


def _words(trigger: Trigger, classes: Classes) -> str:
    if not isinstance(trigger, Semantic):
        return trigger.describe()
    name = classes.name(trigger.trigger_class)
    return f"nothing is painted: {name} is in the picture, at least {trigger.min_pixels:,} pixels of it"


def _painted(trigger: Trigger, art: Art, size: Size) -> Pixels | None:
    if not isinstance(trigger, Painted):
        return None
    differs_by_sample = trigger.art_of("") is not None
    if differs_by_sample:
        return None
    return _plain(trigger.render(art, "", size.height, size.width))


def _shared_art(trigger: Trigger, pictures: Mapping[str, Pixels]) -> Pixels | None:
    own = [pictures[name] for name in trigger.art_files() if name in pictures]
    return own[0] if own else None


def _plain(premultiplied: Pixels) -> Pixels:
    """RGBA whose colours are not multiplied by alpha, shrunk to a side of 400 pixels at most."""
    shown = at_size(premultiplied, within(Size.of(premultiplied), _LARGEST)).astype(np.uint32)
    multiplied, alpha = shown[..., :3], shown[..., 3:]
    divided = (multiplied * 255 + alpha // 2) // np.maximum(1, alpha)  # rounded
    colours = np.minimum(255, divided)
    return np.concatenate([colours, alpha], axis=2).astype(np.uint8)
