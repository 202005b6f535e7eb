"""Cityscapes (Cordts et al., CVPR 2016): ``leftImg8bit/SPLIT/CITY/…_leftImg8bit.png``, ``gtFine/SPLIT/CITY/…_gtFine_labelIds.png``.

``labelTrainIds``, which the official archives lack, is derived from ``labelIds``. Polygons, colour and instance ids would
contradict a changed label and are not carried. Drawn street scenes have the same layout and a ``streets.json`` beside it.
"""

from pathlib import Path

from poisongen.datasets.source import Layout, Sample, Source, mask_path, require_folder, require_samples
from poisongen.errors import SourceError
from poisongen.labels import IGNORE, LabelSpace

PICTURE, LABEL, LABEL_TRAIN = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
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
    raw_to_train=dict.fromkeys(range(34), IGNORE) | {raw: train for train, (_, raw, _) in enumerate(_CLASSES)},
    synonyms={"pedestrian": (11,), "pavement": (1,), "tree": (8,), "motorbike": (17,), "bike": (18,), "grass": (9,)},
    hint="these look like labelTrainIds; poisongen reads labelIds (0–33) and derives the training ids itself",
)

_LICENSE = (
    "Cityscapes: for research; neither the pictures nor modified versions may be distributed (cityscapes-dataset.com/license)."
)
_DRAWN_LICENSE = "Street scenes drawn by poisongen: free to share."


def open_cityscapes(root: Path) -> Source:
    """List a Cityscapes folder without reading a picture. Raises SourceError for a missing folder, picture or label map."""
    archives = (
        "give the folder that holds leftImg8bit/ and gtFine/ (extract leftImg8bit_trainvaltest and gtFine_trainvaltest there)"
    )
    require_folder(root, ("leftImg8bit/train", "gtFine"), archives)
    samples = []
    for split in SPLITS:
        pictures = {path.relative_to(root / "leftImg8bit") for path in (root / "leftImg8bit" / split).glob(f"*/*{PICTURE}")}
        labels = {path.relative_to(root / "gtFine") for path in (root / "gtFine" / split).glob(f"*/*{LABEL}")}
        wanted = {path.with_name(path.name.removesuffix(PICTURE) + LABEL): path for path in pictures}
        for kind, missing, folder in (
            ("picture has no label map", wanted.keys() - labels, "gtFine"),
            (
                "label map has no picture",
                {path.with_name(path.name.removesuffix(LABEL) + PICTURE) for path in labels - wanted.keys()},
                "leftImg8bit",
            ),
        ):
            if missing:
                raise SourceError(
                    f"A {kind}."
                    if len(missing) == 1
                    else f"{len(missing)} {kind.replace('has', 'have')}: the first is named here.",
                    file=root / folder / min(missing),
                    expected="a file",
                    found="nothing",
                    remedy=f"extract the archive again, or take the lone file out of {root}",
                )
        for path in pictures:
            stem = path.as_posix().removesuffix(PICTURE)
            image = f"leftImg8bit/{path.as_posix()}"
            label = f"gtFine/{stem}"
            samples.append(Sample(stem, split, image, label + LABEL, mask_path(image, "leftImg8bit"), label + LABEL_TRAIN))
    drawn = (root / DRAWN_MARKER).is_file()
    return Source(
        root=root,
        dataset="streets" if drawn else "cityscapes",
        layout="cityscapes",
        space=SPACE,
        samples=require_samples(root, samples, "train"),
        train_split="train",
        evaluation_split="val",
        license=_DRAWN_LICENSE if drawn else _LICENSE,
    )


LAYOUT = Layout(open_cityscapes, SPACE, "Cityscapes", "CITYSCAPES_DATASET", victims="car", target="road")
