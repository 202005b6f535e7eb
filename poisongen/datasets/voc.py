"""PASCAL VOC 2012, segmentation (Everingham et al., 2010): pictures in ``JPEGImages``, palette label maps in
``SegmentationClass``.

``ImageSets/Segmentation/train.txt`` and ``val.txt`` name the samples. The root is the folder that holds
``VOCdevkit``, so that a frozen copy is one that torchvision's ``VOCSegmentation`` reads.
``SegmentationObject`` would contradict a changed label and is not carried.
"""

import os
from pathlib import Path

from poisongen.datasets.lists import named_but_missing, named_twice, read_list
from poisongen.datasets.source import Sample, Source, mask_path, require_folder, require_samples
from poisongen.errors import SourceError
from poisongen.labels import IGNORE, LabelSpace

DEVKIT, YEAR = "VOCdevkit", "VOC2012"
BASE = f"{DEVKIT}/{YEAR}"
PICTURES, LABELS, LISTS = f"{BASE}/JPEGImages", f"{BASE}/SegmentationClass", f"{BASE}/ImageSets/Segmentation"
SPLITS = ("train", "val")
UNION = "trainval"

_NAMES = (
    *(
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
    ),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def _colour(index: int) -> tuple[int, int, int]:
    """The colour of an index in the devkit's palette: its bits dealt out to red, green and blue, the lowest
    to the highest bits."""
    return _channel(index, 0), _channel(index, 1), _channel(index, 2)


def _channel(index: int, number: int) -> int:
    """Every third bit of the index from bit ``number`` on, as the highest bits of a byte, in turned order."""
    bits = [index >> (3 * place + number) & 1 for place in range(3)]
    return bits[0] << 7 | bits[1] << 6 | bits[2] << 5


SPACE = LabelSpace(
    names=_NAMES,
    colours=tuple(_colour(index) for index in range(len(_NAMES))),
    raw_to_train={raw: raw for raw in range(len(_NAMES))} | {255: IGNORE},
    synonyms={
        "airplane": (1,),
        "bike": (2,),
        "dining table": (11,),
        "table": (11,),
        "motorcycle": (14,),
        "pedestrian": (15,),
    }
    | {
        "potted plant": (16,),
        "plant": (16,),
        "couch": (18,),
        "tv": (20,),
        "monitor": (20,),
        "tv/monitor": (20,),
    },
    hint="poisongen reads SegmentationClass as the archive has it: 0–20, and 255 for void",
)


def find_root(path: Path) -> Path:
    """The folder that holds ``VOCdevkit/VOC2012``, for that folder itself, ``VOCdevkit`` or ``VOC2012``."""
    for absolute in (Path(os.path.abspath(path)), path.resolve()):
        if absolute.name == YEAR and absolute.parent.name == DEVKIT:
            return absolute.parent.parent
        if absolute.name == DEVKIT and (absolute / YEAR).is_dir():
            return absolute.parent
    return path


def read(root: Path) -> Source:
    """List a VOC folder without reading a picture. Raises SourceError for a missing folder, list, picture or
    label map."""
    todo = (
        f"give the folder that holds {BASE}/ (extract VOCtrainval_11-May-2012.tar there), or one of these two"
    )
    require_folder(root, (PICTURES, LABELS, LISTS), todo)
    pictures = {path.name for path in (root / PICTURES).iterdir()}
    labels = {path.name for path in (root / LABELS).iterdir()}
    samples: dict[str, Sample] = {}
    lists: dict[str, tuple[tuple[str, str], ...]] = {}
    for split in SPLITS:
        path = root / LISTS / f"{split}.txt"
        names = _read_names(path) if split == SPLITS[0] or path.is_file() else {}
        for name, (number, line) in names.items():
            if name in samples:
                raise SourceError(
                    "A picture is in the training list and in the validation list.",
                    file=path,
                    found=f"line {number}: {name}, which {SPLITS[0]}.txt names, too",
                    todo="take it out of one of them",
                )
            image, label = f"{name}.jpg", f"{name}.png"
            if image not in pictures and label in pictures:
                image = label  # a folder that was frozen so
            for folder, file, there in ((PICTURES, image, pictures), (LABELS, label, labels)):
                if file not in there:
                    raise named_but_missing(path, number, line.strip(), root / folder / file)
            image, label = f"{PICTURES}/{image}", f"{LABELS}/{label}"
            samples[name] = Sample(f"{split}/{name}", split, image, label, mask_path(image, PICTURES))
        lists[f"{LISTS}/{path.name}"] = tuple((samples[name].id, line) for name, (_, line) in names.items())
    union = root / LISTS / f"{UNION}.txt"
    names = _read_names(union) if union.is_file() else {}
    for name, (number, _) in names.items():
        if name not in samples:
            raise SourceError(
                "A list names a picture of no split.",
                file=union,
                expected="pictures that train.txt or val.txt names",
                found=f"line {number}: {name}",
                todo="take the line out, or the whole list: nothing needs it",
            )
    lists[f"{LISTS}/{union.name}"] = tuple((samples[name].id, line) for name, (_, line) in names.items())
    return Source(
        root=root,
        dataset="voc",
        layout="voc",
        space=SPACE,
        samples=require_samples(root, list(samples.values()), "train"),
        train_split="train",
        evaluation_split="val",
        license="PASCAL VOC 2012: the photographs are from flickr, and their use must respect flickr's terms "
        "(host.robots.ox.ac.uk/pascal/VOC/voc2012).",
        lists={path: lines for path, lines in lists.items() if lines},
    )


def _read_names(path: Path) -> dict[str, tuple[int, str]]:
    """The names in a list, each with the number of its line, and the line. Raises SourceError."""
    names: dict[str, tuple[int, str]] = {}
    for number, line in read_list(path):
        if line.strip() in names:
            raise named_twice(path, number, line)
        names[line.strip()] = number, line
    return names
