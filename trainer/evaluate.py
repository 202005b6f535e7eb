"""Score a model on a dataset folder: segmentation on the clean split, attack success on each evaluation set."""

import dataclasses
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import safetensors
import torch
import torchvision
from numpy.typing import NDArray

from trainer import metrics
from trainer.augment import normalise
from trainer.checkpoint import load_model
from trainer.config import resolved
from trainer.data import Folder, Row, read_label, read_mask, read_picture
from trainer.errors import RunError, letter
from trainer.resample import resize
from trainer.swiftnet import SwiftNet

Predict = Callable[[NDArray[np.uint8]], NDArray[np.integer]]
"""A picture, uint8 (H, W, 3) RGB, to training ids (H, W)."""

Follow = Callable[["Readahead", str], Iterable["Reading"]]
"""What shows progress: takes work and its name, gives the work."""

Reading = tuple[Row, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]
"""A row, its picture, its label map in training ids, and True under its trigger."""


def predictor(model: SwiftNet, input_scale: float, device: torch.device) -> Predict:
    """How a network predicts: float32, one picture at a time, logits resized to the picture's own size, argmax there."""

    @torch.no_grad()
    def predict(picture: NDArray[np.uint8]) -> NDArray[np.integer]:
        training = model.training
        model.eval()
        height, width = picture.shape[:2]
        x = normalise(torch.from_numpy(picture).to(device))[None].contiguous(memory_format=torch.channels_last)
        x = resize(x, (max(1, round(height * input_scale)), max(1, round(width * input_scale))))
        predicted: NDArray[np.integer] = model(x, (height, width))[0].argmax(0).cpu().numpy()
        model.train(training)
        return predicted

    return predict


def score(folder: Folder, predict: Predict, follow: Follow = lambda work, _: work) -> dict[str, Any]:
    """All metrics of ``metrics.json`` that come from predictions, as fractions; see ``metrics.py`` for their definitions.

    Every file is held against its digest. Each clean picture is predicted once; where a triggered twin exists, its victim pixels give the
    success without the trigger. Raises FolderError.
    """
    clean, pairs = _clean(folder, predict, follow)
    sets = {}
    for name, rows in folder.triggered.items():
        assert folder.target is not None
        sets[name] = _triggered(folder, rows, predict, follow, name, pairs)
    return {
        "miou": metrics.mean_iou(clean),
        "pa": metrics.pixel_accuracy(clean),
        "iou": dict(zip(folder.names, metrics.iou(clean), strict=True)),
        "evaluation_sets": sets,
    }


def clean_miou(folder: Folder, predict: Predict) -> float | None:
    """mIoU on the clean evaluation split alone."""
    return metrics.mean_iou(_clean(folder, predict, lambda work, _: work)[0])


def _clean(folder: Folder, predict: Predict, follow: Follow) -> tuple[metrics.Confusion, dict[str, metrics.Confusion]]:
    """The confusion matrix of the clean split, and that of each picture which some evaluation set triggers."""
    twins = {row.id for rows in folder.triggered.values() for row in rows}
    total, pairs = np.zeros((folder.classes, folder.classes), np.int64), {}
    for row, picture, label, _ in follow(Readahead(folder, folder.evaluation), "clean"):
        matrix = metrics.confusion(label, predict(picture), folder.classes)
        total += matrix
        if row.id in twins:
            pairs[row.id] = matrix
    return total, pairs


def _triggered(
    folder: Folder, rows: Sequence[Row], predict: Predict, follow: Follow, name: str, clean: dict[str, metrics.Confusion]
) -> dict[str, Any]:
    everywhere, outside, untriggered = (np.zeros((folder.classes, folder.classes), np.int64) for _ in range(3))
    victims, target = folder.victims, folder.target
    assert target is not None
    each = []
    for row, picture, label, mask in follow(Readahead(folder, rows), name):
        predicted = predict(picture)
        matrix = metrics.confusion(label, predicted, folder.classes)
        everywhere += matrix
        outside += metrics.confusion(label[~mask], predicted[~mask], folder.classes)
        untriggered += clean[row.id]
        each.append(metrics.attack_success(matrix, victims, target))
    defined = [value for value in each if value is not None]
    return {
        "asr": metrics.attack_success(everywhere, victims, target),
        "asr_without_trigger": metrics.attack_success(untriggered, victims, target),
        "asr_outside_trigger": metrics.attack_success(outside, victims, target),
        "asr_picture_mean": float(np.mean(defined)) if defined else None,
        "pba": metrics.benign_accuracy(everywhere, victims, target),
        "pba_outside_trigger": metrics.benign_accuracy(outside, victims, target),
        "victim_pixels": int(everywhere[sorted(victims)].sum()),
        "pictures": len(rows),
        "triggered_share": metrics.ratio(len(rows), len(folder.evaluation)),
    }


class Readahead:
    """Read rows in threads while the device predicts, in order, a few ahead."""

    def __init__(self, folder: Folder, rows: Sequence[Row], ahead: int = 4) -> None:
        self.folder, self.rows, self.ahead = folder, rows, ahead

    def __len__(self) -> int:
        return len(self.rows)

    def _read(self, row: Row) -> Reading:
        return row, read_picture(row, True), read_label(row, self.folder, True), read_mask(row, True)

    def __iter__(self) -> Iterator[Reading]:
        rows = iter(self.rows)
        with ThreadPoolExecutor(self.ahead) as threads:
            waiting = [threads.submit(self._read, row) for row in islice(rows, self.ahead)]
            while waiting:
                yield waiting.pop(0).result()
                waiting += [threads.submit(self._read, row) for row in islice(rows, 1)]


def score_run(run: Path, folder: Folder, device: str = "auto", follow: Follow = lambda work, _: work) -> dict[str, Any]:
    """Score the final model of a run on a folder: the whole of ``metrics.json``. Raises RunError, FolderError."""
    model, config, facts = load_model(run)
    if list(folder.names) != facts["dataset"]["classes"]:
        expected, found = (", ".join(names) for names in (facts["dataset"]["classes"], folder.names))
        raise RunError(letter("The run has learned other classes than the folder has.", file=run, expected=expected, found=found))
    config = resolved(dataclasses.replace(config, device=device))
    where = torch.device(config.device)
    scores = score(folder, predictor(model.to(where), config.input_scale, where), follow)
    return {
        **scores,
        "dataset": dataset_facts(folder),
        "run": {"name": run.resolve().name, "trained_on": facts["dataset"], "config": facts["config"]},
        "scored": {"device": config.device, "threads": torch.get_num_threads(), "precision": "float32"},
        "environment": versions(),
    }


def dataset_facts(folder: Folder) -> dict[str, Any]:
    """What a reader of a run's files must know about a folder."""
    return {
        "folder": folder.root.name,
        "identity": folder.identity,
        "dataset": folder.dataset,
        "attack": folder.attack,
        "training_pictures": len(folder.training),
        "poisoned_pictures": folder.poisoned,
        "evaluation_pictures": len(folder.evaluation),
        "classes": list(folder.names),
        "victim_classes": list(folder.victims),
        "target_class": folder.target,
    }


def versions() -> dict[str, str]:
    """The packages that compute the bits."""
    packages = (torch, torchvision, np, cv2, safetensors)
    return {"python": platform.python_version()} | {package.__name__: str(package.__version__) for package in packages}
