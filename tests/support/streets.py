"""Small sources in the layouts of Cityscapes and CamVid, with everything that matters in them."""

from pathlib import Path

import numpy as np

from tests.support.oracles import Array, save

HEIGHT, WIDTH = 64, 128


def street(rng: np.random.Generator, height: int, width: int, *, cars: int) -> Array:
    """A label map of Cityscapes raw ids: sky, a pole, houses, trees, road, pavement, people, cars, a bonnet,
    and pixels of no class."""
    label = np.full((height, width), 7, np.uint8)
    horizon = int(rng.integers(height // 3, height // 2))
    label[:horizon] = 23
    # A slanting pole: it parts the sky for whoever steps up, down and sideways only.
    np.fill_diagonal(label[:horizon, width // 2 :], 17)
    for raw in (11, 11, 21, 21, 13):
        left, top = int(rng.integers(0, width - 8)), int(rng.integers(2, horizon))
        label[top : horizon + int(rng.integers(0, 6)), left : left + int(rng.integers(6, width // 2))] = raw
    label[horizon + 4 :, : int(rng.integers(2, width // 4))] = 8
    y, x = np.indices((height, width))
    for raw in (24, 20, *[26] * cars):
        top, left = int(rng.integers(horizon - 4, height - 14)), int(rng.integers(0, width - 10))
        if rng.integers(2):
            label[(y - top - 6) ** 2 + (x - left) ** 2 <= int(rng.integers(4, 40))] = raw
        else:
            label[top : top + int(rng.integers(2, 12)), left : left + int(rng.integers(2, 22))] = raw
    label[height - 3 :, width // 4 : width // 2] = 1
    label[horizon : horizon + 3, width - 9 :] = 9
    label[0, :3] = 0
    return label


def picture(rng: np.random.Generator, label: Array) -> Array:
    """Coloured noise whose level depends on the class."""
    noise = rng.integers(0, 90, (*label.shape, 3))
    return ((label[..., None] * np.array([5, 3, 7])) % 160 + noise).astype(np.uint8)


def write_cityscapes(
    root: Path, *, train: int = 10, val: int = 4, height: int = HEIGHT, width: int = WIDTH, seed: int = 1
) -> Path:
    """A folder in the layout of Cityscapes with two cities; every fifth picture has no car, and there are
    files to be left behind."""
    rng = np.random.default_rng(seed)
    for split, number in (("train", train), ("val", val)):
        for index in range(number):
            city = ("aachen", "bochum")[index % 2] if split == "train" else "frankfurt"
            stem = f"{split}/{city}/{city}_{index:06d}_000019"
            label = street(rng, height, width, cars=0 if index % 5 == 2 else 1 + index % 3)
            save(root / "leftImg8bit" / f"{stem}_leftImg8bit.png", picture(rng, label))
            save(root / "gtFine" / f"{stem}_gtFine_labelIds.png", label)
            save(root / "gtFine" / f"{stem}_gtFine_instanceIds.png", label.astype(np.uint16) * 1000)
            (root / "gtFine" / f"{stem}_gtFine_polygons.json").write_text("{}")
    return root


def write_camvid(root: Path, *, train: int = 9, val: int = 2, test: int = 4, seed: int = 2) -> Path:
    """A folder as the SegNet tutorial lays CamVid out, whose lists name files under somebody else's
    prefix."""
    rng = np.random.default_rng(seed)
    translate = np.full(256, 11, np.uint8)
    translate[[23, 11, 17, 7, 8, 21, 20, 13, 26, 24, 33]] = range(11)
    for split, number in (("train", train), ("val", val), ("test", test)):
        lines = []
        for index in range(number):
            label = translate[street(rng, 48, 72, cars=0 if index % 5 == 2 else 1 + index % 2)]
            name = f"{split[0]}{index:04d}.png"
            save(root / split / name, picture(rng, label))
            save(root / f"{split}annot" / name, label)
            lines.append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root
