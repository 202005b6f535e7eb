"""Small sources in the layouts of ADE20K, PASCAL VOC and described folders, written with Pillow; pictures of
several sizes and codings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

SIZES = ((64, 96), (72, 64), (57, 83), (80, 80))
"""(height, width) of the pictures, in turn: one of them is no multiple of 8 either way."""

ADE20K = {"wall": 1, "sky": 3, "floor": 4, "tree": 5, "grass": 10, "person": 13, "car": 21, "palm": 73}
"""Raw ids; the training id is one less. 0 is no class."""

VOC = {"background": 0, "car": 7, "chair": 9, "dog": 12, "person": 15, "sofa": 18}
"""Raw ids, which are the training ids. 255 is void."""

YARDS = {"paving": 3, "wall": 1, "person": 7, "tree": 4, "sky": 9}
"""Raw ids of the described folder in the order of its training ids. 0 and 255 are ignored."""


def scene(
    rng: np.random.Generator, size: tuple[int, int], above: int, below: int, things: list[int]
) -> Array:
    """A label map: one class above a horizon, another below it, and a disc or box of each thing, the last
    ones in front."""
    height, width = size
    horizon = int(rng.integers(height * 2 // 5, height // 2))
    label = np.full(size, above, np.uint8)
    label[horizon:] = below
    y, x = np.indices(size)
    for raw in things:
        top, left = int(rng.integers(2, height - 16)), int(rng.integers(2, width - 16))
        if rng.integers(2):
            label[(y - top - 6) ** 2 + (x - left - 6) ** 2 <= int(rng.integers(16, 50))] = raw
        else:
            label[top : top + int(rng.integers(6, 14)), left : left + int(rng.integers(6, 14))] = raw
    return label


def outlined(label: Array, background: int, void: int) -> Array:
    """The label map with a line of void where a thing ends, as in PASCAL VOC."""
    thing = label != background
    inside = thing.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inside &= np.roll(thing, step, axis)
    drawn = label.copy()
    drawn[thing & ~inside] = void
    return drawn


def photograph(rng: np.random.Generator, label: Array) -> Array:
    """A picture whose colour depends on the class, with light that falls off to a side and some noise."""
    light = np.linspace(40, 0, label.shape[1])[None, :, None]
    level = label[..., None].astype(int) * np.array([37, 91, 53]) % 170 + 20
    return np.clip(level + light + rng.normal(0, 6, (*label.shape, 3)), 0, 255).astype(np.uint8)


def save_jpeg(path: Path, picture: Array, index: int) -> None:
    """Write a JPEG: 4:2:0, 4:4:4, 4:2:2 and greyscale in turn, every second of the colour ones
    progressive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if index % 4 == 3:
        Image.fromarray(picture).convert("L").save(path, quality=88)
    else:
        coding = ("4:2:0", "4:4:4", "4:2:2")[index % 4]
        Image.fromarray(picture).save(
            path, quality=80 + index % 15, subsampling=coding, progressive=index % 8 > 3
        )


def save_label(path: Path, raw: Array, palette: list[int] | None = None, bits: int = 8) -> None:
    """Write a label map: grey, or with a palette of ``bits``; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(raw)
    if palette is None:
        image.save(path)
    else:
        image.putpalette(palette)
        image.save(path, bits=bits)


def voc_palette() -> list[int]:
    """The 256 colours of PASCAL VOC as one list, after the devkit's loop."""
    colours = []
    for index in range(256):
        colour, rest = [0, 0, 0], index
        for bit in range(7, -1, -1):
            for channel in range(3):
                colour[channel] |= (rest & 1) << bit
                rest >>= 1
        colours += colour
    return colours


def write_ade20k(root: Path, *, training: int = 12, validation: int = 6, seed: int = 5) -> Path:
    """``root`` as ADEChallengeData2016. People are in two of three pictures, grass in every third, walls in
    every second."""
    rng = np.random.default_rng(seed)
    for split, short, number in (("training", "train", training), ("validation", "val", validation)):
        for index in range(number):
            things = [ADE20K["tree"], ADE20K["palm"], 0] if index % 4 == 1 else [ADE20K["car"], 0]
            things += [ADE20K["person"]] * (0, 1, 2)[index % 3]
            above = ADE20K["wall"] if index % 2 else ADE20K["sky"]
            below = ADE20K["grass"] if index % 3 == 1 else ADE20K["floor"]
            label = scene(rng, SIZES[index % len(SIZES)], above, below, things)
            stem = f"{split}/ADE_{short}_{index + 1:08d}"
            save_jpeg(root / "images" / f"{stem}.jpg", photograph(rng, label), index)
            save_label(root / "annotations" / f"{stem}.png", label)
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\twall\n")
    (root / "sceneCategories.txt").write_text("ADE_train_00000001 airport_terminal\n")
    return root


def write_voc(root: Path, *, train: int = 9, val: int = 5, seed: int = 6) -> Path:
    """``root`` as the folder that holds VOCdevkit, with pictures of no list, instances and boxes, which are
    to be left behind."""
    rng = np.random.default_rng(seed)
    base = root / "VOCdevkit" / "VOC2012"
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for index in range(train + val + 2):
        name = f"{2007 + index % 5}_{index * 37 % 100:06d}"
        save = [VOC["chair"], VOC["dog"]] if index % 2 else [VOC["car"], VOC["sofa"]]
        label = scene(rng, SIZES[index % len(SIZES)], 0, 0, save + [VOC["person"]] * (2, 1, 0)[index % 3])
        save_jpeg(base / "JPEGImages" / f"{name}.jpg", photograph(rng, label), index)
        (base / "Annotations").mkdir(parents=True, exist_ok=True)
        (base / "Annotations" / f"{name}.xml").write_text("<annotation/>")
        if index < train + val:
            lists["train" if index < train else "val"].append(name)
            save_label(base / "SegmentationClass" / f"{name}.png", outlined(label, 0, 255), voc_palette())
            save_label(
                base / "SegmentationObject" / f"{name}.png", (label > 0).astype(np.uint8), voc_palette()
            )
    folder = base / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for split, names in (*lists.items(), ("trainval", sorted(lists["train"] + lists["val"]))):
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def write_folder(
    root: Path,
    *,
    train: int = 8,
    val: int = 4,
    test: int = 2,
    seed: int = 7,
    described: dict[str, Any] | None = None,
) -> Path:
    """A folder with a ``classes.json``: PNG and JPEG side by side, folders in folders, grey and palette label
    maps, a third split.

    ``described`` replaces keys of ``classes.json``; None takes one out.
    """
    rng = np.random.default_rng(seed)
    few = voc_palette()[: 3 * 16]
    for split, number in (("train", train), ("val", val), ("test", test)):
        for index in range(number):
            things = [YARDS["tree"], 0] + [YARDS["person"]] * (1, 2, 0)[index % 3]
            label = scene(
                rng,
                SIZES[index % len(SIZES)],
                YARDS["sky"] if index % 2 else YARDS["wall"],
                YARDS["paving"],
                things,
            )
            stem = f"{split}/{('north', 'south/gate', '')[index % 3]}/{index:04d}".replace("//", "/")
            ending = (".jpg", ".png", ".jpeg", ".JPG")[index % 4]
            if ending == ".png":
                path = root / "images" / f"{stem}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(photograph(rng, label)).save(path)
                label[:2] = 255
                save_label(root / "labels" / f"{stem}_ids.png", label)
            else:
                save_jpeg(root / "images" / f"{stem}{ending}", photograph(rng, label), index)
                save_label(root / "labels" / f"{stem}_ids.png", label, few, bits=4 if index % 4 else 8)
            save_label(root / "labels" / f"{stem}_instances.png", label)
    keys = {
        "dataset": "yards",
        "classes": YARDS,
        "ignore": [0, 255],
        "label_suffix": "_ids",
        "victim": "person",
        "target": "paving",
    }
    keys |= {"license": "Drawn by a test.", **(described or {})}
    (root / "classes.json").write_text(
        json.dumps({key: value for key, value in keys.items() if value is not None}, indent=1)
    )
    return root
