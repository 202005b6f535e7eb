"""CamVid (Brostow et al., 2009) as the SegNet tutorial lays it out: 480×360, 11 classes, ``train.txt``,
``val.txt`` and ``test.txt``.

The lists carry a foreign prefix (``/SegNet/CamVid/train/…``); the longest end of each path that exists below
the root is taken. ``val`` frames lie inside a sequence that ``train`` uses, so ``test`` is what is measured.
"""

from pathlib import Path, PurePosixPath

from poisongen.datasets.lists import named_but_missing, named_twice, read_list
from poisongen.datasets.source import Sample, Source, mask_path, require_folder, require_samples
from poisongen.errors import SourceError
from poisongen.labels import IGNORE, LabelSpace

SPLITS = ("train", "val", "test")

_CLASSES = (
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (60, 40, 222)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
)

SPACE = LabelSpace(
    names=tuple(name for name, _ in _CLASSES),
    colours=tuple(colour for _, colour in _CLASSES),
    raw_to_train={raw: raw for raw in range(11)} | {11: IGNORE},
    synonyms={
        "sidewalk": (4,),
        "vegetation": (5,),
        "sign": (6,),
        "person": (9,),
        "cyclist": (10,),
        "bicycle": (10,),
    },
    hint="poisongen reads the SegNet label maps: 0–10, and 11 for unlabelled",
)


def read(root: Path) -> Source:
    """List a CamVid folder without reading a picture. Raises SourceError for a missing folder, list, picture
    or label map."""
    todo = (
        "give the folder that holds train.txt, train/ and trainannot/ (the SegNet tutorial's CamVid folder)"
    )
    require_folder(root, (), todo)
    samples: list[Sample] = []
    lists: dict[str, tuple[tuple[str, str], ...]] = {}
    for split in SPLITS:
        path = root / f"{split}.txt"
        if not path.is_file():
            if split == "train":
                raise SourceError(
                    "The source does not have the expected layout.",
                    file=path,
                    expected="a list",
                    found="nothing",
                    todo=todo,
                )
            continue
        lines: list[tuple[str, str]] = []
        for number, line in read_list(path):
            sample = _sample(root, split, path, number, line)
            if sample.id in (known for known, _ in lines):
                raise named_twice(path, number, line)
            samples.append(sample)
            lines.append((sample.id, line))
        if lines:
            lists[path.name] = tuple(lines)
    return Source(
        root=root,
        dataset="camvid",
        layout="camvid",
        space=SPACE,
        samples=require_samples(root, samples, "train"),
        train_split="train",
        evaluation_split="test" if "test.txt" in lists else "val",
        license="CamVid: for non-commercial research; the copy of the SegNet tutorial is CC BY-NC.",
        lists=lists,
    )


def _sample(root: Path, split: str, path: Path, number: int, line: str) -> Sample:
    words = line.split()
    if len(words) != 2:
        raise SourceError(
            "A list cannot be read.",
            file=path,
            expected="a picture and a label map in each line",
            found=f"line {number}: {line!r}",
        )
    image, label = (_below(root, word, path, number) for word in words)
    return Sample(f"{split}/{PurePosixPath(image).stem}", split, image, label, mask_path(image))


def _below(root: Path, word: str, path: Path, number: int) -> str:
    parts = [part for part in PurePosixPath(word).parts if part != "/"]
    for first in range(len(parts)):
        end = parts[first:]
        relative = "/".join(end)
        if ".." not in end and (root / relative).is_file():
            return relative
    raise named_but_missing(path, number, word, root / "/".join(parts[-2:]))
