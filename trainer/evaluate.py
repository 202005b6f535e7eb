"""Score a model on a dataset folder: segmentation on the clean split, attack success on each evaluation set."""

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

from trainer import intervals, metrics
from trainer.augment import normalise
from trainer.checkpoint import load_model, write_text
from trainer.config import resolved
from trainer.errors import RunError, letter
from trainer.folder import Folder, Row
from trainer.network import Network
from trainer.pictures import read_label, read_mask, read_picture
from trainer.places import Place, places, recipe
from trainer.resample import resize

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


def score(
    folder: Folder,
    predict: Predict,
    follow: Follow = lambda work, _: work,
    read: Read = picture_of,
    block: int = intervals.BLOCK,
) -> dict[str, Any]:
    """All metrics of ``metrics.json`` that come from predictions, as fractions; see ``metrics.py`` for their definitions.

    ``read`` gives what ``predict`` wants of a row: its picture, or a prediction that lies in a file. Every file of the folder that is
    opened is held against its digest. Each clean picture is predicted once. The success without the trigger is that on the clean twins
    of a set's pictures; where the trigger is the presence of a class, there are none, and it is that on the pictures without the class.
    Intervals come from blocks of ``block`` pictures, see ``intervals.py``. Raises FolderError.
    """
    clean = _clean(folder, predict, follow, read)
    whole = clean.overlaps().sum(0)
    scores = {
        "miou": metrics.mean_iou(whole),
        "miou_interval": intervals.mean_iou_interval(clean.overlaps(), block),
        "pa": metrics.pixel_accuracy(whole),
        "pa_interval": intervals.accuracy_interval(clean.overlaps(), block),
        "iou": dict(zip(folder.names, metrics.iou(whole), strict=True)),
    }
    lacking = frozenset(row.id for row in folder.evaluation if folder.lacks_trigger_class(row))
    if folder.trigger_class is not None:
        rest = clean.overlaps(lacking)
        scores |= {
            "miou_without_trigger_class": metrics.mean_iou(rest.sum(0)),
            "miou_without_trigger_class_interval": intervals.mean_iou_interval(rest, block),
            "pa_without_trigger_class": metrics.pixel_accuracy(rest.sum(0)),
            "pa_without_trigger_class_interval": intervals.accuracy_interval(rest, block),
            "pictures_without_trigger_class": len(rest),
        }
    where, shared, sets = places(folder), _shared(folder), {}
    for name, rows in folder.triggered.items():
        everywhere, outside = _triggered(folder, rows, predict, follow, read, name)
        sets[name] = _figures(folder, rows, everywhere, outside, clean, lacking, shared, where, block)
    if shared is not None:
        scores["shared_pictures"] = len(shared)
    return {**scores, "intervals": intervals.facts(block), "evaluation_sets": sets}


def clean_miou(folder: Folder, predict: Predict) -> float | None:
    """mIoU on the clean evaluation split alone."""
    return metrics.mean_iou(_clean(folder, predict, lambda work, _: work, picture_of).overlaps().sum(0))


def _clean(folder: Folder, predict: Predict, follow: Follow, read: Read) -> metrics.Pool:
    """The clean split."""
    pool = metrics.Pool(folder.classes, folder.victims, folder.target)
    for row, seen, label, _ in follow(Readahead(folder, folder.evaluation, read), "clean"):
        pool.add(row.id, metrics.confusion(label, predict(seen), folder.classes))
    return pool


def _triggered(
    folder: Folder, rows: Sequence[Row], predict: Predict, follow: Follow, read: Read, name: str
) -> tuple[metrics.Pool, metrics.Pool]:
    """An evaluation set, and the same without the pixels under the trigger."""
    everywhere, outside = (metrics.Pool(folder.classes, folder.victims, folder.target) for _ in range(2))
    for row, seen, label, mask in follow(Readahead(folder, rows, read), name):
        predicted = predict(seen)
        everywhere.add(row.id, metrics.confusion(label, predicted, folder.classes))
        outside.add(row.id, metrics.confusion(label[~mask], predicted[~mask], folder.classes))
    return everywhere, outside


def success_of(
    folder: Folder, rows: Sequence[Row], predict: Predict, follow: Follow, read: Read, name: str, block: int
) -> dict[str, Any]:
    """ASR alone of an evaluation set, with its interval and counts: what is said of a clean model."""
    pool, _ = _triggered(folder, rows, predict, follow, read, name)
    return {**_success("asr", pool.successes(), block), "per_picture": _listed(pool.ids, pool.successes())}


def _shared(folder: Folder) -> Set[str] | None:
    """The ids that all evaluation sets have, apart from empty sets; sets are compared by these. None where they do not differ."""
    ids = [{row.id for row in rows} for rows in folder.triggered.values() if rows]
    return set.intersection(*ids) if any(members != ids[0] for members in ids) else None


def _figures(
    folder: Folder,
    rows: Sequence[Row],
    everywhere: metrics.Pool,
    outside: metrics.Pool,
    clean: metrics.Pool,
    lacking: Set[str],
    shared: Set[str] | None,
    where: Mapping[tuple[str, str], Place],
    block: int,
) -> dict[str, Any]:
    """What is said of one evaluation set. ``lacking``: ids of the pictures without the trigger class, where there is one."""
    target = folder.target
    assert target is not None
    untriggered = lacking if folder.trigger_class is not None else frozenset(row.id for row in rows)
    success, without = everywhere.successes(), clean.successes(untriggered)
    each = [value for value in map(metrics.attack_success, success) if value is not None]
    values: dict[str, Any] = {
        **_success("asr", success, block),
        **_success("asr_without_trigger", without, block),
        **_difference(everywhere, clean, untriggered, block),
        **_success("asr_outside_trigger", outside.successes(), block),
        "asr_picture_mean": float(np.mean(each)) if each else None,
        "asr_picture_above_half": metrics.ratio(sum(value > 0.5 for value in each), len(each)),
        "pba": metrics.benign_accuracy(everywhere.matrix, folder.victims, target),
        "pba_outside_trigger": metrics.benign_accuracy(outside.matrix, folder.victims, target),
        "victim_pixels": int(success[:, 1].sum()),
        "pictures": len(rows),
        "triggered_share": metrics.ratio(len(rows), len(folder.evaluation)),
    }
    if shared is not None:
        values |= _success("asr_on_shared_pictures", everywhere.successes(shared), block)
    if folder.trigger_class is not None:
        values["unpaired_pictures"] = int((without[:, 1] > 0).sum())
    if bands := _bands(rows, where):
        own = np.array([bands.get(identifier, "") for identifier in everywhere.ids])
        values["distance_bands"] = {
            name: {
                # The blocks are those of the whole set: neighbours in a band are no neighbours in time.
                **_success("asr", np.where(inside[:, None], success, 0), block),
                "pictures": int(inside.sum()),
                "victim_pixels": int(success[inside, 1].sum()),
            }
            for name in metrics.BANDS
            if (inside := own == name).any()
        }
    values["per_picture"] = _listed(everywhere.ids, success) | {
        "as_target_outside_trigger": outside.successes()[:, 0].tolist(),
        "victim_pixels_outside_trigger": outside.successes()[:, 1].tolist(),
    }
    if bands:
        values["per_picture"]["distance_band"] = [bands.get(identifier) for identifier in everywhere.ids]
    values["per_picture_without_trigger"] = _listed([key for key in clean.ids if key in untriggered], without)
    return values


def _success(name: str, counts: NDArray[np.int64], block: int) -> dict[str, Any]:
    """A share pooled over pictures, (N, 2), and its interval."""
    return {name: metrics.attack_success(counts.sum(0)), f"{name}_interval": intervals.ratio_interval(counts, block)}


def _difference(everywhere: metrics.Pool, clean: metrics.Pool, untriggered: Set[str], block: int) -> dict[str, Any]:
    """ASR less ASR without trigger, each picture beside its twin, or where there are no twins all of them in the order of their ids."""
    ids = sorted({*everywhere.ids, *untriggered})
    pairs = [dict(zip(pool.ids, pool.successes(), strict=True)) for pool in (everywhere, clean)]
    nothing = np.zeros(2, np.int64)
    table = np.array(
        [
            [*pairs[0].get(identifier, nothing), *(pairs[1][identifier] if identifier in untriggered else nothing)]
            for identifier in ids
        ],
        np.int64,
    ).reshape(len(ids), 4)
    one, other = (metrics.attack_success(half) for half in np.split(table.sum(0), 2))
    return {
        "asr_difference": None if one is None or other is None else one - other,
        "asr_difference_interval": intervals.difference_interval(table, block),
    }


def _bands(rows: Sequence[Row], where: Mapping[tuple[str, str], Place]) -> dict[str, str]:
    """Id → band of the distance from trigger to victim, of the rows that have a distance."""
    found = ((row, where.get((row.set, row.id))) for row in rows)
    return {
        row.id: metrics.band(place.distance_sq, row.height) for row, place in found if place and place.distance_sq is not None
    }


def _listed(ids: Sequence[str], counts: NDArray[np.int64]) -> dict[str, list[Any]]:
    """Counts of each picture, so that no figure needs another prediction."""
    return {"id": list(ids), "as_target": counts[:, 0].tolist(), "victim_pixels": counts[:, 1].tolist()}


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
    run: Path, folder: Folder, device: str = "auto", follow: Follow = lambda work, _: work, block: int = intervals.BLOCK
) -> dict[str, Any]:
    """Score the final model of a run on a folder: the whole of ``metrics.json``. Raises RunError, FolderError."""
    model, config, facts = load_model(run)
    if list(folder.names) != facts["dataset"]["classes"]:
        expected, found = (", ".join(names) for names in (facts["dataset"]["classes"], folder.names))
        raise RunError(letter("The run has learned other classes than the folder has.", file=run, expected=expected, found=found))
    config = resolved(dataclasses.replace(config, device=device))
    where = torch.device(config.device)
    scores = score(folder, predictor(model.to(where), config.input_scale, where), follow, block=block)
    return {
        **scores,
        "dataset": dataset_facts(folder),
        "run": {"name": run.resolve().name, "trained_on": facts["dataset"], "config": facts["config"]},
        "scored": {"device": config.device, "threads": torch.get_num_threads(), "precision": "float32"},
        "environment": versions(),
    }


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Scores as JSON for people, with a list of numbers or names on one line."""
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    # A line break in a string is written as two characters, so these are real lists.
    item = r'(?:null|[-+.0-9eE]+|"[^"\\]*")'
    lists = re.compile(rf"\[\n\s*{item}(?:,\n\s*{item})*\n\s*\]")
    return lists.sub(lambda found: re.sub(r"(?<=\[)\n\s*|\n\s*(?=\]$)", "", re.sub(r",\n\s*", ", ", found[0])), text) + "\n"


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
    return {"python": platform.python_version()} | {package.__name__: str(package.__version__) for package in packages}
