"""The colours that are picked from: RGB before light and haze."""

from poisongen.streets.canvas import Colour

Palette = tuple[Colour, ...]

WALLS: Palette = (
    (206, 188, 156),  # sand
    (178, 120, 92),  # clay
    (150, 146, 142),  # stone
    (214, 206, 192),  # lime
    (156, 84, 66),  # brick
    (188, 168, 110),  # ochre
    (126, 140, 152),  # slate blue
    (196, 148, 130),  # rose
    (168, 178, 158),  # sage
    (110, 104, 100),  # soot
    (222, 200, 130),  # straw
    (140, 120, 110),  # umber
)
ROOFS: Palette = (
    (140, 70, 52),  # tiles
    (96, 92, 96),  # lead
    (110, 78, 62),  # shingles
    (70, 76, 88),  # slate
)
AWNINGS: Palette = (
    (170, 50, 46),  # red
    (46, 90, 80),  # bottle green
    (60, 70, 120),  # navy
    (200, 160, 60),  # mustard
    (90, 60, 50),  # brown
)
PAVINGS: Palette = (
    (168, 162, 154),  # warm grey
    (150, 146, 146),  # grey
    (178, 160, 142),  # sandstone
    (140, 134, 128),  # dark
)
GRASSES: Palette = (
    (98, 122, 60),  # mown
    (116, 124, 66),  # dry
    (84, 112, 64),  # lush
)
LEAVES: Palette = (
    (70, 118, 50),  # beech
    (50, 96, 54),  # fir
    (96, 128, 52),  # lime tree
    (122, 120, 44),  # early autumn
    (58, 108, 70),  # willow
    (140, 132, 46),  # autumn
)
CARS: Palette = (
    (178, 34, 38),  # red
    (38, 78, 160),  # blue
    (236, 236, 232),  # white
    (40, 42, 46),  # black
    (120, 122, 126),  # grey
    (168, 172, 176),  # silver
    (90, 92, 96),  # anthracite
    (218, 170, 40),  # yellow
    (44, 110, 74),  # green
    (110, 60, 40),  # brown
    (70, 130, 180),  # sky blue
    (196, 92, 40),  # orange
    (92, 40, 92),  # purple
    (206, 196, 170),  # beige
)
COACHES: Palette = (
    (190, 36, 40),  # red
    (228, 178, 30),  # yellow
    (34, 84, 166),  # blue
    (30, 122, 90),  # green
)
CLOTHES: Palette = (
    (180, 50, 50),  # red
    (50, 70, 140),  # denim
    (40, 40, 46),  # black
    (200, 190, 170),  # linen
    (60, 110, 80),  # green
    (220, 160, 50),  # yellow
    (120, 70, 120),  # purple
    (90, 90, 96),  # grey
    (230, 230, 226),  # white
    (70, 130, 150),  # teal
    (150, 90, 60),  # leather
    (200, 110, 130),  # pink
)
SKINS: Palette = (
    (236, 196, 166),
    (206, 156, 122),
    (150, 104, 76),
    (98, 66, 50),
)
HAIRS: Palette = (
    (40, 30, 24),  # black
    (90, 60, 30),  # brown
    (170, 140, 90),  # fair
    (120, 120, 120),  # grey
)
