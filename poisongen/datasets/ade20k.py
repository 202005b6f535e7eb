"""ADE20K as the scene parsing benchmark has it (Zhou et al., CVPR 2017): ``ADEChallengeData2016``, 150
classes.

``images/SPLIT/NAME.jpg`` (``.png`` in a folder that was frozen so) and ``annotations/SPLIT/NAME.png``: 0 is
no class of the benchmark, 1 to 150 are the classes. ``objectInfo150.txt`` and ``sceneCategories.txt`` say
nothing of a frozen copy and are not carried.
"""

from pathlib import Path

from poisongen.datasets.pairs import FileSet, pair
from poisongen.datasets.source import Sample, Source, mask_path, require_folder, require_samples
from poisongen.labels import IGNORE, LabelSpace, distinct_colours

ARCHIVE = "ADEChallengeData2016"
SPLITS = ("training", "validation")
PICTURES, LABELS = FileSet("images", (".jpg", ".png")), FileSet("annotations", (".png",))

# A class a line in the order of the training ids: its name, and what else it is called. Five names are in
# more than one line.
_CLASSES = """
wall
building, edifice
sky
floor, flooring
tree
ceiling
road, route
bed
windowpane, window
grass
cabinet
sidewalk, pavement
person, individual, someone, somebody, mortal, soul
earth, ground
door, double door
table
mountain, mount
plant, flora, plant life
curtain, drape, drapery, mantle, pall
chair
car, auto, automobile, machine, motorcar
water
painting, picture
sofa, couch, lounge
shelf
house
sea
mirror
rug, carpet, carpeting
field
armchair
seat
fence, fencing
desk
rock, stone
wardrobe, closet, press
lamp
bathtub, bathing tub, bath, tub
railing, rail
cushion
base, pedestal, stand
box
column, pillar
signboard, sign
chest of drawers, chest, bureau, dresser
counter
sand
sink
skyscraper
fireplace, hearth, open fireplace
refrigerator, icebox
grandstand, covered stand
path
stairs, steps
runway
case, display case, showcase, vitrine
pool table, billiard table, snooker table
pillow
screen door, screen
stairway, staircase
river
bridge, span
bookcase
blind, screen
coffee table, cocktail table
toilet, can, commode, crapper, pot, potty, stool, throne
flower
book
hill
bench
countertop
stove, kitchen stove, range, kitchen range, cooking stove
palm, palm tree
kitchen island
computer, computing machine, computing device, data processor, electronic computer, \
information processing system
swivel chair
boat
bar
arcade machine
hovel, hut, hutch, shack, shanty
bus, autobus, coach, charabanc, double-decker, jitney, motorbus, motorcoach, omnibus, passenger vehicle
towel
light, light source
truck, motortruck
tower
chandelier, pendant, pendent
awning, sunshade, sunblind
streetlight, street lamp
booth, cubicle, stall, kiosk
television, television receiver, television set, tv, tv set, idiot box, boob tube, telly, goggle box
airplane, aeroplane, plane
dirt track
apparel, wearing apparel, dress, clothes
pole
land, ground, soil
bannister, banister, balustrade, balusters, handrail
escalator, moving staircase, moving stairway
ottoman, pouf, pouffe, puff, hassock
bottle
buffet, counter, sideboard
poster, posting, placard, notice, bill, card
stage
van
ship
fountain
conveyer belt, conveyor belt, conveyer, conveyor, transporter
canopy
washer, automatic washer, washing machine
plaything, toy
swimming pool, swimming bath, natatorium
stool
barrel, cask
basket, handbasket
waterfall, falls
tent, collapsible shelter
bag
minibike, motorbike
cradle
oven
ball
food, solid food
step, stair
tank, storage tank
trade name, brand name, brand, marque
microwave, microwave oven
pot, flowerpot
animal, animate being, beast, brute, creature, fauna
bicycle, bike, wheel, cycle
lake
dishwasher, dish washer, dishwashing machine
screen, silver screen, projection screen
blanket, cover
sculpture
hood, exhaust hood
sconce
vase
traffic light, traffic signal, stoplight
tray
ashcan, trash can, garbage can, wastebin, ash bin, ash-bin, ashbin, dustbin, trash barrel, trash bin
fan
pier, wharf, wharfage, dock
crt screen
plate
monitor, monitoring device
bulletin board, notice board
shower
radiator
glass, drinking glass
clock
flag
"""


def _label_space() -> LabelSpace:
    classes = [line.split(", ") for line in _CLASSES.strip().splitlines()]
    meanings: dict[str, tuple[int, ...]] = {}
    for train, called in enumerate(classes):
        for name in called:
            meanings[name] = (*meanings.get(name, ()), train)
    return LabelSpace(
        names=tuple(called[0] for called in classes),
        colours=distinct_colours(len(classes)),
        raw_to_train={0: IGNORE} | {train + 1: train for train in range(len(classes))},
        synonyms=meanings,
        hint=f"poisongen reads the annotations of {ARCHIVE}: 0 for no class, 1–150",
    )


SPACE = _label_space()


def find_root(path: Path) -> Path:
    """The folder that holds ``images`` and ``annotations``: ``path``, or ``ADEChallengeData2016`` in it."""
    return path / ARCHIVE if (path / ARCHIVE).is_dir() else path


def read(root: Path) -> Source:
    """List an ADE20K folder without reading a picture. Raises SourceError for a missing folder, picture or
    label map."""
    archive = (
        f"give {ARCHIVE}, the folder that holds images/ and annotations/, or the folder that holds {ARCHIVE}"
    )
    require_folder(root, ("images/training", "annotations/training"), archive)
    samples = [
        Sample(stem, split, image, label, mask_path(image, PICTURES.folder))
        for split in SPLITS
        for stem, image, label in pair(root, split, PICTURES, LABELS)
    ]
    return Source(
        root=root,
        dataset="ade20k",
        layout="ade20k",
        space=SPACE,
        samples=require_samples(root, samples, "training"),
        train_split="training",
        evaluation_split="validation",
        license="ADE20K: for non-commercial research and education; the photographs stay their owners' "
        "(groups.csail.mit.edu/vision/datasets/ADE20K/terms).",
    )
