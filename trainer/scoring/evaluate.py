"""Score a model on a dataset folder: segmentation on the clean split, attack success on each evaluation
set."""

import dataclasses
import json
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
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

from trainer.config import resolve_auto
from trainer.dataset.folder import Folder, Row, digest_bytes
from trainer.dataset.pictures import read_label, read_mask, read_picture
from trainer.dataset.placements import Placement, read_placements, recipe
from trainer.errors import RunError
from trainer.networks.network import Network
from trainer.networks.resample import resize
from trainer.run_folder import load_model, write_text
from trainer.scoring import figures, intervals, metrics
from trainer.training.augment import normalise
from trainer.training.parallel import SINGLE, Group
from trainer.training.trigger_in_crops import share_of_run

Predict = Callable[[NDArray[np.uint8]], NDArray[np.integer]]
"""A picture, uint8 (H, W, 3) RGB, to training ids (H, W)."""

Read = Callable[[Row], NDArray[np.uint8]]
"""A row to what ``Predict`` takes: for a network the picture. Runs in threads."""

Follow = Callable[["Readahead", str], Iterable["Reading"]]
"""What shows progress: takes work and its name, gives the work."""

Reading = tuple[Row, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]
"""A row, what was read for its prediction, its label map in training ids, and True under its trigger."""


def picture_of(row: Row) -> NDArray[np.uint8]:
    """The picture of a row, held against its digest."""
    return read_picture(row, True)


def predictor(model: Network, input_scale: float, device: torch.device) -> Predict:
    """How a network predicts: float32, one picture at a time, logits resized to the picture's own size,
    argmax there."""

    @torch.no_grad()
    def predict(picture: NDArray[np.uint8]) -> NDArray[np.integer]:
        training = model.training
        model.eval()
        height, width = picture.shape[:2]
        x = normalise(torch.from_numpy(picture).to(device))[None].contiguous(
            memory_format=torch.channels_last
        )
        x = resize(x, (max(1, round(height * input_scale)), max(1, round(width * input_scale))))
        predicted: NDArray[np.integer] = model(x, (height, width))[0].argmax(0).to(torch.uint8).cpu().numpy()
        model.train(training)
        return predicted

    return predict


def score(
    folder: Folder,
    predict: Predict,
    follow: Follow = lambda work, _: work,
    read: Read = picture_of,
    block: int = intervals.BLOCK,
    group: Group = SINGLE,
) -> dict[str, Any]:
    """All metrics of ``metrics.json`` that come from predictions, as fractions; see ``metrics.py`` for their
    definitions.

    ``read`` gives what ``predict`` wants of a row: its picture, or a prediction that lies in a file. Every
    file of the folder that is opened is held against its digest. Each clean picture is predicted once. The
    success without the trigger is that on the clean twins of a set's pictures; where the trigger is the
    presence of a class, there are none, and it is that on the pictures without the class. Intervals come from
    blocks of ``block`` pictures, see ``intervals.py``. Each process of a ``group`` predicts its share of the
    pictures, and all return the same. Raises FolderError.
    """
    clean = _clean(folder, predict, follow, read, group)
    scores = {
        **figures.segmentation(clean.overlaps(), block),
        "iou": dict(zip(folder.names, metrics.iou(clean.overlaps().sum(0)), strict=True)),
    }
    lacking = frozenset(row.id for row in folder.evaluation if folder.lacks_trigger_class(row))
    if folder.trigger_class is not None:
        rest = clean.overlaps(lacking)
        scores |= figures.segmentation(rest, block, "_without_trigger_class")
        scores["pictures_without_trigger_class"] = len(rest)
        scores[figures.LACKING] = [identifier for identifier in clean.ids if identifier in lacking]
    shared = figures.shared_ids([row.id for row in rows] for rows in folder.triggered.values())
    where, sets = read_placements(folder), {}
    for name, rows in folder.triggered.items():
        everywhere, outside = _triggered(folder, rows, predict, follow, read, name, group)
        counts = _counts(folder, rows, everywhere, outside, clean, lacking, where)
        values = figures.of_set(
            counts, len(folder.evaluation), shared, folder.trigger_class is not None, block
        )
        sets[name] = {"identity": identity_of(rows), **values, **figures.written(counts)}
    if shared is not None:
        scores["shared_pictures"] = len(shared)
    each = {"id": clean.ids, "overlaps": figures.packed(clean.overlaps())}
    return {**scores, "intervals": intervals.facts(block), "per_picture": each, "evaluation_sets": sets}


def clean_miou(folder: Folder, predict: Predict, group: Group = SINGLE) -> float | None:
    """mIoU on the clean evaluation split alone."""
    return metrics.mean_iou(
        _clean(folder, predict, lambda work, _: work, picture_of, group).overlaps().sum(0)
    )


def _clean(folder: Folder, predict: Predict, follow: Follow, read: Read, group: Group) -> metrics.Pool:
    """The clean split."""
    pool = metrics.Pool(folder.classes, folder.victims, folder.target)
    for row, seen, label, _ in follow(Readahead(folder, group.share(folder.evaluation), read), "clean"):
        pool.add(row.id, metrics.confusion(label, predict(seen), folder.classes))
    return metrics.Pool.joined(group.gather(pool), [row.id for row in folder.evaluation])


def _triggered(
    folder: Folder,
    rows: Sequence[Row],
    predict: Predict,
    follow: Follow,
    read: Read,
    name: str,
    group: Group = SINGLE,
) -> tuple[metrics.Pool, metrics.Pool]:
    """An evaluation set, and the same without the pixels under the trigger."""
    everywhere, outside = (metrics.Pool(folder.classes, folder.victims, folder.target) for _ in range(2))
    for row, seen, label, mask in follow(Readahead(folder, group.share(rows), read), name):
        predicted = predict(seen)
        everywhere.add(row.id, metrics.confusion(label, predicted, folder.classes))
        outside.add(row.id, metrics.confusion(label[~mask], predicted[~mask], folder.classes))
    ids = [row.id for row in rows]
    return metrics.Pool.joined(group.gather(everywhere), ids), metrics.Pool.joined(group.gather(outside), ids)


def success_of(
    folder: Folder, rows: Sequence[Row], predict: Predict, follow: Follow, read: Read, name: str, block: int
) -> dict[str, Any]:
    """ASR alone of an evaluation set, with its interval and counts: what is said of a clean model."""
    pool, _ = _triggered(folder, rows, predict, follow, read, name)
    return {
        **figures.success("asr", pool.successes(), block),
        "per_picture": figures.listed(pool.ids, pool.successes()),
    }


def identity_of(rows: Sequence[Row]) -> str:
    """A digest of an evaluation set: sets of two folders with the same one are the same pictures, labels and
    masks."""
    return digest_bytes(json.dumps([[row.id, row.digests] for row in rows], sort_keys=True).encode())


def _counts(
    folder: Folder,
    rows: Sequence[Row],
    everywhere: metrics.Pool,
    outside: metrics.Pool,
    clean: metrics.Pool,
    lacking: Set[str],
    where: Mapping[tuple[str, str], Placement],
) -> figures.Counts:
    """What was counted of one evaluation set. ``lacking``: ids of the pictures without the trigger class,
    where there is one."""
    untriggered = lacking if folder.trigger_class is not None else frozenset(row.id for row in rows)
    found = ((row, where.get((row.set, row.id))) for row in rows)
    bands = {
        row.id: metrics.band(place.distance_sq, row.height)
        for row, place in found
        if place and place.distance_sq is not None
    }
    defined = not metrics.all_but(folder.victims, folder.target, folder.classes)
    return figures.Counts(
        ids=everywhere.ids,
        success=everywhere.successes(),
        outside=outside.successes(),
        others=everywhere.others() if defined else None,
        others_outside=outside.others() if defined else None,
        bands=[bands.get(identifier) for identifier in everywhere.ids] if bands else None,
        untriggered=[identifier for identifier in clean.ids if identifier in untriggered],
        without=clean.successes(untriggered),
    )


class Readahead:
    """Read rows in threads while the device predicts, in order, a few ahead."""

    def __init__(self, folder: Folder, rows: Sequence[Row], read: Read, ahead: int = 4) -> None:
        self.folder, self.rows, self.read, self.ahead = folder, rows, read, ahead

    def __len__(self) -> int:
        return len(self.rows)

    def _read(self, row: Row) -> Reading:
        return row, self.read(row), read_label(row, self.folder, True), read_mask(row, True)

    def __iter__(self) -> Iterator[Reading]:
        rows = iter(self.rows)
        with ThreadPoolExecutor(self.ahead) as threads:
            waiting = [threads.submit(self._read, row) for row in islice(rows, self.ahead)]
            while waiting:
                yield waiting.pop(0).result()
                waiting += [threads.submit(self._read, row) for row in islice(rows, 1)]


def score_run(
    run: Path,
    folder: Folder,
    device: str = "auto",
    follow: Follow = lambda work, _: work,
    block: int = intervals.BLOCK,
    group: Group = SINGLE,
) -> dict[str, Any]:
    """Score the final model of a run on a folder: the whole of ``metrics.json``. Raises RunError,
    FolderError."""
    model, config, facts = load_model(run)
    if list(folder.names) != facts["dataset"]["classes"]:
        expected, found = (", ".join(names) for names in (facts["dataset"]["classes"], folder.names))
        raise RunError(
            "The run has learned other classes than the folder has.", file=run, expected=expected, found=found
        )
    config = resolve_auto(dataclasses.replace(config, device=device))
    where = torch.device(config.device)
    scores = score(
        folder, predictor(model.to(where), config.input_scale, where), follow, block=block, group=group
    )
    return {
        **scores,
        "dataset": dataset_facts(folder),
        "run": {"name": run.resolve().name, "trained_on": facts["dataset"], "config": facts["config"]}
        | (
            {"trigger_in_crops": share_of_run(folder, config)}
            if folder.identity == facts["dataset"]["identity"]
            else {}
        )
        | {key: facts[key] for key in ("initial_weights",) if facts.get(key)},
        "scored": {"device": config.device, "threads": torch.get_num_threads(), "precision": "float32"},
        "environment": versions(),
    }


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Scores as JSON for people, with a list of numbers or names on one line."""
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    # A line break in a string is written as two characters, so these are real lists.
    item = r'(?:null|[-+.0-9eE]+|"[^"\\]*")'
    lists = re.compile(rf"\[\n\s*{item}(?:,\n\s*{item})*\n\s*\]")
    return (
        lists.sub(
            lambda found: re.sub(r"(?<=\[)\n\s*|\n\s*(?=\]$)", "", re.sub(r",\n\s*", ", ", found[0])), text
        )
        + "\n"
    )


def write_metrics(file: Path, metrics: Mapping[str, Any]) -> None:
    """Write scores as a file, whole or not at all."""
    write_text(file, metrics_text(metrics))


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
        "recipe": recipe(folder),
    }


def versions() -> dict[str, str]:
    """The packages that compute the bits."""
    packages = (torch, torchvision, np, cv2, safetensors)
    return {"python": platform.python_version()} | {
        package.__name__: str(package.__version__) for package in packages
    }
