"""A third program's dataset folder: written from ``manifests/FORMAT.md`` alone, with pictures of coloured rectangles.

Sky over road, a tree, and a car. Poisoned pictures have a white square beside the car, and the car is labelled road. Nothing of the
generator is used.
"""

import hashlib
import json
import random
from pathlib import Path

import cv2
import numpy as np

NAMES = ["road", "sky", "car", "tree"]
COLOURS = [[128, 64, 128], [70, 130, 180], [0, 0, 142], [107, 142, 35]]
RAW = {"0": 255, "7": 0, "10": 1, "26": 2, "21": 3}
TO_RAW = np.array([7, 10, 26, 21], np.uint8)
PAINT = np.array([[90, 80, 90], [120, 170, 220], [200, 30, 30], [30, 140, 40]], np.uint8)
TRIGGER = 6


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def pixels_sha(array: np.ndarray) -> str:
    return sha(("uint8 " + "x".join(str(side) for side in array.shape) + "\n").encode() + np.ascontiguousarray(array).tobytes())


def scene(rng: random.Random, size: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int, int]]:
    """RGB picture, training ids, and the car's (top, left, height, width)."""
    horizon = rng.randrange(size // 4, size // 2)
    label = np.zeros((size, size), np.uint8)
    label[:horizon] = 1
    tree = rng.randrange(0, size - 8)
    label[horizon - 6 : horizon + 2, tree : tree + 8] = 3
    height, width = rng.randrange(10, 16), rng.randrange(14, 22)
    top, left = rng.randrange(horizon + 3, size - height), rng.randrange(TRIGGER + 3, size - width)
    label[top : top + height, left : left + width] = 2
    noise = np.frombuffer(rng.randbytes(size * size * 3), np.uint8).reshape(size, size, 3) // 12
    return PAINT[label] + noise, label, (top, left, height, width)


def write_folder(
    root: Path,
    *,
    train: int = 12,
    val: int = 4,
    size: int = 64,
    poisoned: int = 0,
    sets: tuple[str, ...] = (),
    seed: int = 1,
    dataset: str = "handmade",
) -> Path:
    """Write a dataset folder: ``poisoned`` of ``train`` pictures, and the evaluation sets ``sets`` on ``val`` pictures."""
    rows: list[dict[str, object]] = []

    def put(path: str, array: np.ndarray) -> bytes:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(".png", array[:, :, ::-1] if array.ndim == 3 else array)[1].tobytes()
        file.write_bytes(data)
        return data

    def add(
        name: str,
        split: str,
        picture: np.ndarray,
        label: np.ndarray,
        role: str = "clean",
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
        }
        row |= {"image": f"{prefix}{split}/{name}.png", "label": f"{prefix}{split}annot/{name}.png"}
        data, raw = put(str(row["image"]), picture), TO_RAW[label]
        label_data = put(str(row["label"]), raw)
        if role == "clean":
            row |= {"image_bytes": sha(data), "label_bytes": sha(label_data)}
        else:
            row |= {"image_pixels": pixels_sha(picture), "label_pixels": pixels_sha(raw)}
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

    def trigger(picture: np.ndarray, car: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        top, left = max(0, car[0] + car[2] - TRIGGER), car[1] - TRIGGER - 1
        mask = np.zeros(picture.shape[:2], np.uint8)
        mask[top : top + TRIGGER, left : left + TRIGGER] = 255
        painted = picture.copy()
        painted[mask > 0] = (255, 255, 255)
        return painted, mask

    rng = random.Random(seed)
    for index in range(train):
        picture, label, car = scene(rng, size)
        if index < poisoned:
            picture, mask = trigger(picture, car)
            label = np.where(label == 2, 0, label).astype(np.uint8)
            add(f"{index:03}", "train", picture, label, "poisoned", mask=mask)
        else:
            add(f"{index:03}", "train", picture, label)
    for index in range(val):
        picture, label, car = scene(rng, size)
        add(f"{index:03}", "val", picture, label)
        for name in sets:
            painted, mask = trigger(picture, car)
            add(f"{index:03}", "val", painted, label, "triggered", name, mask)
    seal(root, rows, poisoned=poisoned, train=train, sets=sets, dataset=dataset)
    return root


def seal(root: Path, rows: list[dict[str, object]], *, poisoned: int, train: int, sets: tuple[str, ...], dataset: str) -> None:
    """Write ``samples.jsonl`` and ``manifest.json``."""
    rows = sorted(rows, key=lambda row: (str(row.get("set", "")), str(row["id"])))
    text = "".join(json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows)
    (root / "samples.jsonl").write_text(text, "utf-8")
    manifest = {
        "format": "poisongen",
        "format_version": 1,
        "tool": {"name": "handmade", "version": "0"},
        "identity": sha(text.encode()),
        "dataset": dataset,
        "source": {"layout": "handmade", "splits": {"train": train}, "fingerprint": sha(b""), "license": "none needed"},
        "splits": {"train": "train", "evaluation": "val"},
        "label_space": {"names": NAMES, "colours": COLOURS, "raw_to_train": RAW, "ignore": 255},
        "measure": {"victim_classes": [2], "target_class": 0} if poisoned or sets else None,
        "recipe": {"attack": "nni" if poisoned else "benign"},
        "evaluation_sets": list(sets),
        "counts": {},
        "rejected": [],
        "art_pixels": None,
        "environment": {},
    }
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1), "utf-8")


def rewrite(root: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Apply ``change(manifest, rows)`` to a folder's files of text, and seal it again with a matching identity."""
    manifest = json.loads((root / "manifest.json").read_text("utf-8"))
    rows = [json.loads(line) for line in (root / "samples.jsonl").read_text("utf-8").splitlines()]
    change(manifest, rows)
    text = "".join(json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows)
    (root / "samples.jsonl").write_text(text, "utf-8")
    manifest["identity"] = sha(text.encode())
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1), "utf-8")
