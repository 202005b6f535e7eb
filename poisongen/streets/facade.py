"""What a façade looks like: windows in bays and storeys, a shop below, a cornice above. Lengths are in mm."""

import numpy as np

from poisongen.streets.canvas import Colour
from poisongen.streets.chance import Ints, noise
from poisongen.streets.stage import Light, Surface
from poisongen.streets.street import Block

PLASTER, FRAME, GLASS, LAMPLIT, CORNICE, AWNING, PLINTH = range(7)
"""What a façade is made of, as indices of its palette."""

GLASS_COLOUR: Colour = (66, 80, 96)
LAMPLIT_COLOUR: Colour = (250, 214, 140)
LAMPLIT_GAIN = 270
"""Lamps shine whatever the daylight, a little brighter than their colour."""


def facade(light: Light, block: Block, along: Ints, up: Ints, facing: int) -> Surface:
    """A façade at ``along`` from its corner and ``up`` above the ground, both (h, w) or what broadcasts to
    it; ``facing``: the light on its wall, in 256ths."""
    window, storey = along // block.bay, up // block.storey
    lamp_is_on = noise(window, storey, block.salt) < light.lamps
    glass = np.where(lamp_is_on, LAMPLIT, GLASS)
    kind = materials(block, along, up, glass)
    # A pane reflects sky: each its own part of it, brighter above.
    own_part = (noise(window, storey, block.salt + 1) >> 2) - 32
    pane_shine = own_part + (up % block.storey >> 6)
    bricks = (noise(along // 260, up // 130, block.salt + 2) >> 4) - 8
    unevenness = np.where(kind == GLASS, pane_shine, bricks)
    gain = np.where(kind == LAMPLIT, LAMPLIT_GAIN, facing + unevenness)
    return Surface(palette(block).T[:, kind], gain)


def materials(block: Block, along: Ints, up: Ints, glass: Ints) -> Ints:
    """What each place is made of, (h, w); ``glass``: what it is where it is glass."""
    from_left, from_floor = along % block.bay, up % block.storey
    left = block.bay // 5
    right = block.bay - left
    pane_across = (from_left > left) & (from_left < right)
    pane_upwards = (from_floor > 900) & (from_floor < block.storey - 450)
    frame_across = (from_left > left - 160) & (from_left < right + 160)
    frame_upwards = (from_floor > 700) & (from_floor < block.storey - 300)
    mullion = abs(from_left - block.bay // 2) < 50
    # Each is laid over what is there.
    kind = np.where(from_floor < 130, CORNICE, PLASTER)
    kind = np.where(frame_across & frame_upwards, FRAME, kind)
    kind = np.where(pane_across & pane_upwards & ~mullion, glass, kind)
    if block.shop:
        kind = np.where(up < block.storey, shop_front(block, from_left, up, glass), kind)
    kind = np.where(up > block.height - 450, CORNICE, kind)
    return np.where(up < 350, PLINTH, kind)


def shop_front(block: Block, from_left: Ints, up: Ints, glass: Ints) -> Ints:
    """A ground floor of large panes under awnings."""
    pane = (from_left > 250) & (up > 450) & (up < 2400)
    awning = (up >= 2400) & (up < block.storey - 250)
    kind = np.where(awning, AWNING, PLASTER)
    return np.where(pane, glass, kind)


def palette(block: Block) -> Ints:
    """The colours of what a façade is made of, (7, 3)."""
    wall = np.array(block.wall)
    frame = np.minimum(wall + 34, 240)
    cornice = wall * 3 // 4 + 30
    plinth = wall // 2 + 10
    return np.array((wall, frame, GLASS_COLOUR, LAMPLIT_COLOUR, cornice, block.awning, plinth))
