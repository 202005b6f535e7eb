"""People in a drawn street: flat figures of a few convex parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poisongen.randomness import Stream
from poisongen.streets.canvas import Colour, Point
from poisongen.streets.chance import between, one_in, pick
from poisongen.streets.class_ids import PERSON
from poisongen.streets.palettes import CLOTHES, HAIRS, SKINS
from poisongen.streets.shapes import OCTAGON, UPPER_HALF, box, mirrored, scaled
from poisongen.streets.stage import Stage

HEIGHT = 1800
"""Figures are laid out for this height, in mm, and scaled to a person's own."""
SHOES: Colour = (40, 34, 30)
NECK = box(-70, 70, 1460, 1540)
BAG = box(-420, -180, 620, 1000)


@dataclass(frozen=True)
class Look:
    """How somebody looks. ``tall``: mm. ``stride``: how far the feet are from the middle, ``hem``: how high a
    coat ends, both in mm of a figure of ``HEIGHT``. ``turned``: 1, or -1 for the mirror image."""

    tall: int
    stride: int
    turned: int
    coat: Colour
    trousers: Colour
    bag: Colour
    skin: Colour
    hair: Colour
    hem: int
    carries_bag: bool


@dataclass(frozen=True)
class Part:
    """A convex part of a figure of ``HEIGHT``: pairs (mm right of the middle, mm above the ground)."""

    shape: Sequence[Point]
    colour: Colour
    gain: int = 240


def person(stage: Stage, x: int, z: int, stream: Stream) -> None:
    """Somebody who stands or walks."""
    look = choose_look(stream)
    draw_shadow(stage, x, z, look.tall)
    for part in figure(look):
        own_size = [
            (across * look.tall // HEIGHT, up * look.tall // HEIGHT)
            for across, up in mirrored(part.shape, look.turned)
        ]
        stage.flat(x, z, own_size, part.colour, PERSON, gain=part.gain)


def choose_look(stream: Stream) -> Look:
    """Anybody: the draws are in the order of the fields."""
    return Look(
        tall=between(stream, 1400, 1950),
        stride=stream.below(260),
        turned=1 - 2 * stream.below(2),
        coat=pick(stream, CLOTHES),
        trousers=pick(stream, CLOTHES),
        bag=pick(stream, CLOTHES),
        skin=pick(stream, SKINS),
        hair=pick(stream, HAIRS),
        hem=700 if one_in(stream, 4) else 860,
        carries_bag=one_in(stream, 3),
    )


def draw_shadow(stage: Stage, x: int, z: int, tall: int) -> None:
    """On the ground, on the side away from the sun."""
    middle = x - stage.light.sun * tall // 6
    ellipse = []
    for across, ahead in OCTAGON:  # of radius 1024: about a sixth and a twelfth of the height
        shadow_x = middle + across * tall // 6000
        shadow_z = z + ahead * tall // 12_000
        ellipse.append((shadow_x, 0, shadow_z))
    stage.shadow(ellipse, 150)


def figure(look: Look) -> Iterator[Part]:
    """The parts, from the farthest to the nearest."""
    yield from legs(look)
    yield from trunk_and_arms(look)
    if look.carries_bag:
        yield Part(BAG, look.bag)
    yield from head(look)


def legs(look: Look) -> Iterator[Part]:
    """Both legs with their shoes, the farther one darker."""
    for foot, gain in ((-look.stride, 200), (look.stride, 240)):
        leg = [(-150, 900), (160, 900), (foot + 105, 60), (foot - 105, 60)]
        shoe = [(foot - 110, 0), (foot + 180, 0), (foot + 120, 100), (foot - 110, 100)]
        yield Part(leg, look.trousers, gain)
        yield Part(shoe, SHOES, gain)


def trunk_and_arms(look: Look) -> Iterator[Part]:
    """A coat; its sleeves swing with the stride."""
    far_hand = -look.stride - 260
    near_hand = look.stride + 250
    far_sleeve = [(-220, 1460), (-320, 1380), (far_hand - 70, 840), (far_hand + 70, 840)]
    trunk = [(-260, 1490), (260, 1490), (230, look.hem), (-230, look.hem)]
    near_sleeve = [(220, 1470), (320, 1380), (near_hand + 70, 840), (near_hand - 70, 840)]
    yield Part(far_sleeve, look.coat, 190)
    yield Part(trunk, look.coat)
    yield Part(near_sleeve, look.coat, 215)


def head(look: Look) -> Iterator[Part]:
    """Neck, face and hair."""
    face = scaled(OCTAGON, (0, 1640), 150, 165)
    hair = scaled(UPPER_HALF, (-10, 1670), 160)
    yield Part(NECK, look.skin, 215)
    yield Part(face, look.skin)
    yield Part(hair, look.hair)
