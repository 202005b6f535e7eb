"""A third program's dataset folder: written from ``manifests/FORMAT.md`` alone, with pictures of coloured
rectangles.

Sky over road, a tree, and a car. Poisoned pictures have a white square beside the car, and the car is
labelled road; or nothing is painted, and the tree is the trigger. Nothing of the generator is used.
"""

import hashlib
import json
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

NAMES = ["road", "sky", "car", "tree"]
ROAD, SKY, CAR, TREE = range(4)
COLOURS = [[128, 64, 128], [70, 130, 180], [0, 0, 142], [107, 142, 35]]
RAW = {"0": 255, "7": 0, "10": 1, "26": 2, "21": 3}
TO_RAW = np.array([7, 10, 26, 21], np.uint8)
PAINT = np.array([[90, 80, 90], [120, 170, 220], [200, 30, 30], [30, 140, 40]], np.uint8)
TRIGGER = 6
MIN_TREE = 5


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def pixels_sha(array: np.ndarray) -> str:
    return sha(
        ("uint8 " + "x".join(str(side) for side in array.shape) + "\n").encode()
        + np.ascontiguousarray(array).tobytes()
    )


def scene(
    rng: random.Random, sides: tuple[int, int], tree_pixels: int = 64
) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int, int]]:
    """RGB picture, training ids, and the car's (top, left, height, width)."""
    tall, wide = sides
    horizon = rng.randrange(tall // 4, tall // 2)
    label = np.zeros((tall, wide), np.uint8)
    label[:horizon] = SKY
    tree = rng.randrange(0, wide - 8)
    label[horizon - 6 : horizon + 2, tree : tree + 8].flat[:tree_pixels] = TREE
    height, width = rng.randrange(10, 16), rng.randrange(14, 22)
    top, left = rng.randrange(horizon + 3, tall - height), rng.randrange(TRIGGER + 3, wide - width)
    label[top : top + height, left : left + width] = CAR
    noise = np.frombuffer(rng.randbytes(tall * wide * 3), np.uint8).reshape(tall, wide, 3) // 12
    return PAINT[label] + noise, label, (top, left, height, width)


def palette_png(numbers: np.ndarray, bits: int, palette: bytes = b"") -> bytes:
    """A palette PNG of 1, 2, 4 or 8 bits, written by hand."""
    packed = []
    for line in numbers.astype(np.uint8):
        own_bits = np.unpackbits(line[:, None], axis=1)[:, 8 - bits :]
        packed.append(np.packbits(own_bits.reshape(-1)).tobytes())
    header = struct.pack(">IIBBBBB", numbers.shape[1], len(numbers), bits, 3, 0, 0, 0)
    palette = palette or bytes(value % 256 for i in range(1 << bits) for value in (255 - i, 7 * i, 40))
    unfiltered = b"".join(b"\0" + line for line in packed)
    chunks = {
        b"IHDR": header,
        b"PLTE": palette,
        b"tRNS": b"\0",
        b"IDAT": zlib.compress(unfiltered),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


def write_folder(
    root: Path,
    *,
    train: int = 12,
    val: int = 4,
    size: int = 64,
    sizes: Sequence[tuple[int, int]] = (),
    poisoned: int = 0,
    sets: tuple[str, ...] = (),
    missing: dict[str, int] | None = None,
    seed: int = 1,
    dataset: str = "handmade",
    name: str | None = None,
    role: str = "poisoned",
    others: str = "clean",
    victims: Sequence[int] = (CAR,),
    semantic: bool = False,
    jpeg: bool = False,
) -> Path:
    """Write a dataset folder: ``poisoned`` of ``train`` pictures, and the evaluation sets ``sets`` on ``val``
    pictures.

    ``sizes``: heights and widths by turns. ``missing``: so many of the first pictures have no room in a set.
    ``role``, ``others``: of the poisoned training pictures, and of the other ones. ``semantic``: the trigger
    is a tree in the picture; of the pictures for evaluation, a third has just enough of it, a third none, and
    a third too little. ``jpeg``: pictures are JPEGs, and those that were written anew have a digest of their
    coefficients.
    """
    rows: list[dict[str, object]] = []
    sides = tuple(sizes) or ((size, size),)

    def put(path: str, array: np.ndarray) -> bytes:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(file.suffix, array[:, :, ::-1] if array.ndim == 3 else array)[1].tobytes()
        file.write_bytes(data)
        return data

    def add(
        name: str,
        split: str,
        picture: np.ndarray,
        label: np.ndarray,
        true: np.ndarray,
        role: str,
        where: str = "",
        mask: np.ndarray | None = None,
    ) -> None:
        prefix = f"triggered/{where}/" if where else ""
        row: dict[str, object] = {
            "id": f"{split}/{name}",
            "split": split,
            "role": role,
            "height": len(label),
            "width": label.shape[1],
            "victim_pixels": int(np.isin(true, victims).sum()),
        }
        row |= {
            "image": f"{prefix}{split}/{name}.{'jpg' if jpeg else 'png'}",
            "label": f"{prefix}{split}annot/{name}.png",
        }
        data, raw = put(str(row["image"]), picture), TO_RAW[label]
        label_data = put(str(row["label"]), raw)
        own_picture = role in ("clean", "noised", "label-only") or semantic
        if own_picture:
            row["image_bytes"] = sha(data)
        elif jpeg:
            row |= {"image_coefficients": sha(b"coefficients of " + data), "source_image_bytes": sha(b"")}
        else:
            row |= {"image_pixels": pixels_sha(picture), "source_image_bytes": sha(b"")}
        row |= {"label_bytes": sha(label_data)} if role == "clean" else {"label_pixels": pixels_sha(raw)}
        if semantic:
            row["trigger_class_pixels"] = int((true == TREE).sum())
        if where:
            row["set"] = where
        if mask is not None:
            row |= {
                "mask": f"{prefix}masks/{split}/{name}.png",
                "mask_pixels": pixels_sha(mask),
                "trigger_pixels": int((mask > 0).sum()),
            }
            put(str(row["mask"]), mask)
        rows.append(row)

    def trigger(
        picture: np.ndarray, label: np.ndarray, car: tuple[int, int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros(picture.shape[:2], np.uint8)
        if semantic:
            mask[label == TREE] = 255
            return picture, mask
        top, left = max(0, car[0] + car[2] - TRIGGER), car[1] - TRIGGER - 1
        mask[top : top + TRIGGER, left : left + TRIGGER] = 255
        painted = picture.copy()
        painted[mask > 0] = (255, 255, 255)
        return painted, mask

    rng = random.Random(seed)
    for index in range(train):
        picture, true, car = scene(rng, sides[index % len(sides)])
        if index < poisoned:
            painted, mask = trigger(picture, true, car)
            label = (
                true
                if role == "trigger-only"
                else np.where(np.isin(true, victims), ROAD, true).astype(np.uint8)
            )
            if role == "label-only":
                add(f"{index:03}", "train", picture, label, true, role)
            else:
                add(f"{index:03}", "train", painted, label, true, role, mask=mask)
        else:
            add(f"{index:03}", "train", picture, true, true, others)
    for index in range(val):
        tree = (MIN_TREE, 0, MIN_TREE - 1)[index % 3] if semantic else 64
        picture, true, car = scene(rng, sides[index % len(sides)], tree)
        add(f"{index:03}", "val", picture, true, true, "clean")
        for where in sets if tree >= MIN_TREE else ():
            if index >= (missing or {}).get(where, 0):
                painted, mask = trigger(picture, true, car)
                add(f"{index:03}", "val", painted, true, true, "triggered", where, mask)

    measure: dict[str, object] | None = None
    if poisoned or sets:
        measure = {
            "victim_classes": list(victims),
            "target_class": ROAD,
            "trigger_class": None,
            "min_trigger_pixels": None,
        }
        measure |= {"trigger_class": TREE, "min_trigger_pixels": MIN_TREE} if semantic else {}
    manifest = {
        "format": "poisongen",
        "format_version": 1,
        "tool": {"name": "handmade", "version": "0"},
        "dataset": dataset,
        "source": {
            "layout": "handmade",
            "splits": {"train": train},
            "fingerprint": sha(b""),
            "license": "none needed",
        },
        "splits": {"train": "train", "evaluation": "val"},
        "label_space": {"names": NAMES, "colours": COLOURS, "raw_to_train": RAW, "ignore": 255},
        "measure": measure,
        "recipe": {"attack": "nni" if poisoned else "benign"},
        "evaluation_sets": list(sets),
        "counts": {},
        "rejected": [],
        "art": {},
        "environment": {},
    }
    seal(
        root,
        manifest | ({"name": name} if name else {}),
        sorted(rows, key=lambda row: (str(row.get("set", "")), str(row["id"]))),
    )
    return root


def seal(root: Path, manifest: dict[str, object], rows: list[dict[str, object]]) -> None:
    """Write ``samples.jsonl``, ``manifest.json`` and ``SHA256SUMS``."""
    text = "".join(
        json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows
    )
    (root / "samples.jsonl").write_text(text, "utf-8")
    manifest["identity"] = sha(text.encode())
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1), "utf-8")
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n"
        for path in files
    ]
    (root / "SHA256SUMS").write_text("".join(lines), "utf-8")


def rewrite(root: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Apply ``change(manifest, rows)`` to a folder's files of text, and seal it again with a matching
    identity."""
    manifest = json.loads((root / "manifest.json").read_text("utf-8"))
    rows = [json.loads(line) for line in (root / "samples.jsonl").read_text("utf-8").splitlines()]
    change(manifest, rows)
    seal(root, manifest, rows)
