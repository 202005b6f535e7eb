"""Score a model on a dataset folder: segmentation on the clean split, attack success on each evaluation set."""

import dataclasses
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
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
from trainer.errors import RunError, letter
from trainer.folder import Folder, Row
from trainer.pictures import read_label, read_mask, read_picture
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

    Every file is held against its digest. Each clean picture is predicted once. The success without the trigger is that on the clean twins
    of a set's pictures; where the trigger is the presence of a class, there are none, and it is that on the pictures without the class.
    Raises FolderError.
    """
    without = {row.id for row in folder.evaluation if folder.lacks_trigger_class(row)}
    untriggered = {name: {row.id for row in rows} for name, rows in folder.triggered.items()}
    if folder.trigger_class is not None:
        untriggered = dict.fromkeys(untriggered, without)
    clean, parts = _clean(folder, predict, follow, [without, *untriggered.values()])
    scores = {
        "miou": metrics.mean_iou(clean.matrix),
        "pa": metrics.pixel_accuracy(clean.matrix),
        "iou": dict(zip(folder.names, metrics.iou(clean.matrix), strict=True)),
    }
    if folder.trigger_class is not None:
        scores |= {
            "miou_without_trigger_class": metrics.mean_iou(parts[0].matrix),
            "pa_without_trigger_class": metrics.pixel_accuracy(parts[0].matrix),
            "pictures_without_trigger_class": parts[0].pictures,
        }
    shared = _shared(folder)
    sets = {}
    for (name, rows), twins in zip(folder.triggered.items(), parts[1:], strict=True):
        sets[name] = _triggered(folder, rows, predict, follow, name, twins, shared)
    if shared is not None:
        scores["shared_pictures"] = len(shared)
    return {**scores, "evaluation_sets": sets}


def clean_miou(folder: Folder, predict: Predict) -> float | None:
    """mIoU on the clean evaluation split alone."""
    return metrics.mean_iou(_clean(folder, predict, lambda work, _: work, [])[0].matrix)


def _clean(
    folder: Folder, predict: Predict, follow: Follow, parts: Sequence[Set[str]]
) -> tuple[metrics.Pool, list[metrics.Pool]]:
    """The clean split pooled, and each of its ``parts``, which are sets of ids."""
    whole, pools = metrics.Pool(folder.classes), [metrics.Pool(folder.classes) for _ in parts]
    for row, picture, label, _ in follow(Readahead(folder, folder.evaluation), "clean"):
        matrix = metrics.confusion(label, predict(picture), folder.classes)
        whole.add(matrix, folder.victims)
        for ids, pool in zip(parts, pools, strict=True):
            if row.id in ids:
                pool.add(matrix, folder.victims)
    return whole, pools


def _shared(folder: Folder) -> Set[str] | None:
    """The ids that all evaluation sets have, apart from empty sets; sets are compared by these. None where they do not differ."""
    ids = [{row.id for row in rows} for rows in folder.triggered.values() if rows]
    return set.intersection(*ids) if any(members != ids[0] for members in ids) else None


def _triggered(
    folder: Folder, rows: Sequence[Row], predict: Predict, follow: Follow, name: str, clean: metrics.Pool, shared: Set[str] | None
) -> dict[str, Any]:
    everywhere, outside, compared = (metrics.Pool(folder.classes) for _ in range(3))
    victims, target = folder.victims, folder.target
    assert target is not None
    each = []
    for row, picture, label, mask in follow(Readahead(folder, rows), name):
        predicted = predict(picture)
        matrix = metrics.confusion(label, predicted, folder.classes)
        everywhere.add(matrix, victims)
        outside.add(metrics.confusion(label[~mask], predicted[~mask], folder.classes), victims)
        if shared and row.id in shared:
            compared.add(matrix, victims)
        each.append(metrics.attack_success(matrix, victims, target))
    defined = [value for value in each if value is not None]
    values: dict[str, Any] = {
        "asr": metrics.attack_success(everywhere.matrix, victims, target),
        "asr_without_trigger": metrics.attack_success(clean.matrix, victims, target),
        "asr_outside_trigger": metrics.attack_success(outside.matrix, victims, target),
        "asr_picture_mean": float(np.mean(defined)) if defined else None,
        "pba": metrics.benign_accuracy(everywhere.matrix, victims, target),
        "pba_outside_trigger": metrics.benign_accuracy(outside.matrix, victims, target),
        "victim_pixels": int(everywhere.matrix[sorted(victims)].sum()),
        "pictures": len(rows),
        "triggered_share": metrics.ratio(len(rows), len(folder.evaluation)),
    }
    if shared is not None:
        values["asr_on_shared_pictures"] = metrics.attack_success(compared.matrix, victims, target)
    if folder.trigger_class is not None:
        values["unpaired_pictures"] = clean.with_victim
    return values


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
        "name": folder.name,
        "attack": folder.attack,
        "training_pictures": len(folder.training),
        "poisoned_pictures": folder.poisoned,
        "training_roles": folder.roles,
        "evaluation_pictures": len(folder.evaluation),
        "classes": list(folder.names),
        "victim_classes": list(folder.victims),
        "target_class": folder.target,
        "trigger_class": folder.trigger_class,
        "min_trigger_pixels": folder.min_trigger_pixels if folder.trigger_class is not None else None,
    }


def versions() -> dict[str, str]:
    """The packages that compute the bits."""
    packages = (torch, torchvision, np, cv2, safetensors)
    return {"python": platform.python_version()} | {package.__name__: str(package.__version__) for package in packages}
