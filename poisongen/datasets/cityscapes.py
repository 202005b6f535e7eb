"""Cityscapes (Cordts et al., CVPR 2016): ``leftImg8bit/SPLIT/CITY/…_leftImg8bit.png``,
``gtFine/SPLIT/CITY/…_gtFine_labelIds.png``.

``labelTrainIds``, which the official archives lack, is derived from ``labelIds``. Polygons, colour and
instance ids would contradict a changed label and are not carried. Drawn street scenes have the same layout
and a ``streets.json`` beside it.
"""

from pathlib import Path

from poisongen.datasets.pairs import FileSet, pair
from poisongen.datasets.source import Sample, Source, mask_path, require_folder, require_samples
from poisongen.disk import read_file
from poisongen.labels import IGNORE, LabelSpace

PICTURE, LABEL, LABEL_TRAIN = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
PICTURES, LABELS = FileSet("leftImg8bit", (PICTURE,)), FileSet("gtFine", (LABEL,))
SPLITS = ("train", "val", "test")
DRAWN_MARKER = "streets.json"

# (name, labelId, colour) in the order of the training ids.
_CLASSES = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)

SPACE = LabelSpace(
    names=tuple(name for name, _, _ in _CLASSES),
    colours=tuple(colour for _, _, colour in _CLASSES),
    raw_to_train=dict.fromkeys(range(34), IGNORE)
    | {raw: train for train, (_, raw, _) in enumerate(_CLASSES)},
    synonyms={
        "pedestrian": (11,),
        "pavement": (1,),
        "tree": (8,),
        "motorbike": (17,),
        "bike": (18,),
        "grass": (9,),
    },
    hint="these look like labelTrainIds; poisongen reads labelIds (0–33) and derives the training ids itself",
)

_LICENSE = (
    "Cityscapes: for research; neither the pictures nor modified versions may be distributed "
    "(cityscapes-dataset.com/license)."
)
_DRAWN_LICENSE = "Street scenes drawn by poisongen: free to share."


def read(root: Path) -> Source:
    """List a Cityscapes folder without reading a picture. Raises SourceError for a missing folder, picture or
    label map."""
    archives = "extract leftImg8bit_trainvaltest and gtFine_trainvaltest there"
    todo = f"give the folder that holds leftImg8bit/ and gtFine/ ({archives})"
    require_folder(root, ("leftImg8bit/train", "gtFine"), todo)
    samples = []
    for split in SPLITS:
        for stem, image, label in pair(root, split, PICTURES, LABELS):
            train = label.removesuffix(LABEL) + LABEL_TRAIN
            samples.append(Sample(stem, split, image, label, mask_path(image, PICTURES.folder), train))
    drawn = (root / DRAWN_MARKER).is_file()
    carried = {DRAWN_MARKER: read_file(root / DRAWN_MARKER)} if drawn else {}
    return Source(
        root=root,
        dataset="streets" if drawn else "cityscapes",
        layout="cityscapes",
        space=SPACE,
        samples=require_samples(root, samples, "train"),
        train_split="train",
        evaluation_split="val",
        license=_DRAWN_LICENSE if drawn else _LICENSE,
        carried=carried,
    )
