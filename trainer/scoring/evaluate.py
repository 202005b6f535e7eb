"""Score a model on a dataset folder: segmentation on the clean split, attack success on each evaluation
set."""

import dataclasses
import json
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import safetensors
import torch
import torchvision
from numpy.typing import NDArray

from trainer.config import resolve_auto, settings_text
from trainer.dataset.facts import dataset_facts
from trainer.dataset.folder import Folder, Row, digest_bytes
from trainer.dataset.pictures import read_label, read_mask, read_picture
from trainer.errors import RunError
from trainer.networks.network import Network
from trainer.networks.resample import resize
from trainer.run_folder import load_model
from trainer.scoring import intervals, metrics
from trainer.scoring.figures import figures_of
from trainer.scoring.picture_counts import (
    CleanCounts,
    PictureCounts,
    SetCounts,
    SuccessCounts,
    table_beside,
    table_digest,
    table_text,
    write_table,
)
from trainer.scoring.scores import FORMAT, VERSION, CleanModel, Scored, Scores, TrainedRun, write_scores
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


def without_progress(work: "Readahead", _: str) -> Iterable[Reading]:
    """Show nothing."""
    return work


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


@dataclass(frozen=True)
class Scoring:
    """How a folder is scored.

    ``read`` gives what ``predict`` wants of a row: its picture, or a prediction that lies in a file.
    ``follow`` shows progress. Intervals come from blocks of ``block`` pictures, see ``intervals.py``. Each
    process of a ``group`` predicts its share of the pictures, and all get the same counts.
    """

    predict: Predict
    read: Read = picture_of
    follow: Follow = without_progress
    block: int = intervals.BLOCK
    group: Group = SINGLE


def count(folder: Folder, scoring: Scoring) -> PictureCounts:
    """Predict every picture of the clean evaluation split and of the evaluation sets once, and count.

    Every file of the folder that is opened is held against its digest. Raises FolderError.
    """
    pool = _clean(folder, scoring)
    lacking = None
    if folder.trigger_class is not None:
        lacking = frozenset(row.id for row in folder.evaluation if folder.lacks_trigger_class(row))
    clean = CleanCounts(tuple(pool.ids), pool.overlaps(), pool.successes(), lacking)
    sets = {name: _triggered(folder, rows, scoring, name) for name, rows in folder.triggered.items()}
    return PictureCounts(clean, sets)


def clean_miou(folder: Folder, predict: Predict, group: Group = SINGLE) -> float | None:
    """mIoU on the clean evaluation split alone."""
    overlaps = _clean(folder, Scoring(predict, group=group)).overlaps()
    return metrics.mean_iou(overlaps.sum(0))


def _pool(folder: Folder) -> metrics.Pool:
    return metrics.Pool(folder.classes, folder.victims, folder.target)


def _clean(folder: Folder, scoring: Scoring) -> metrics.Pool:
    """The clean split."""
    pool, group = _pool(folder), scoring.group
    readings = Readahead(folder, group.share(folder.evaluation), scoring.read)
    for row, seen, label, _ in scoring.follow(readings, "clean"):
        predicted = scoring.predict(seen)
        pool.add(row.id, metrics.confusion(label, predicted, folder.classes))
    return metrics.Pool.joined(group.gather(pool), [row.id for row in folder.evaluation])


def _triggered(folder: Folder, rows: Sequence[Row], scoring: Scoring, name: str) -> SetCounts:
    """An evaluation set, and the same without the pixels under the trigger."""
    everywhere, outside, group = _pool(folder), _pool(folder), scoring.group
    readings = Readahead(folder, group.share(rows), scoring.read)
    for row, seen, label, mask in scoring.follow(readings, name):
        predicted = scoring.predict(seen)
        everywhere.add(row.id, metrics.confusion(label, predicted, folder.classes))
        outside.add(row.id, metrics.confusion(label[~mask], predicted[~mask], folder.classes))
    ids = [row.id for row in rows]
    everywhere = metrics.Pool.joined(group.gather(everywhere), ids)
    outside = metrics.Pool.joined(group.gather(outside), ids)
    defined = not metrics.all_but(folder.victims, folder.target, folder.classes)
    bands = tuple(_band(row) for row in rows)
    return SetCounts(
        ids=tuple(ids),
        success=everywhere.successes(),
        outside=outside.successes(),
        others=everywhere.others() if defined else None,
        others_outside=outside.others() if defined else None,
        bands=bands if any(bands) else None,
    )


def _band(row: Row) -> str | None:
    """The band of the distance from trigger to victim; None where the row has none."""
    if row.placement is None or row.placement.distance_sq is None:
        return None
    return metrics.band(row.placement.distance_sq, row.height)


def success_of(folder: Folder, rows: Sequence[Row], scoring: Scoring, name: str) -> SuccessCounts:
    """The success of a clean model on an evaluation set."""
    counts = _triggered(folder, rows, scoring, name)
    return SuccessCounts(counts.ids, counts.success)


def identity_of(rows: Sequence[Row]) -> str:
    """A digest of an evaluation set: sets of two folders with the same one are the same pictures, labels and
    masks."""
    return digest_bytes(json.dumps([[row.id, row.digests] for row in rows], sort_keys=True).encode())


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


@dataclass(frozen=True)
class Result:
    """What scoring gives: the figures for ``metrics.json``, and the counts for the table beside it."""

    scores: Scores
    counts: PictureCounts


def assemble(
    folder: Folder,
    counts: PictureCounts,
    run: TrainedRun,
    scored: Scored,
    block: int,
    clean_model: CleanModel | None = None,
) -> Result:
    """Figures and facts of a model that was scored on a folder."""
    identities = {name: identity_of(rows) for name, rows in folder.triggered.items()}
    figures = figures_of(counts, folder.names, identities, block)
    scores = Scores(
        format=FORMAT,
        format_version=VERSION,
        miou=figures.miou,
        pa=figures.pa,
        iou=figures.iou,
        evaluation_sets=figures.evaluation_sets,
        dataset=dataset_facts(folder),
        run=run,
        intervals=intervals.facts(block),
        scored=scored,
        environment=versions(),
        picture_counts=table_digest(table_text(counts)),
        without_trigger_class=figures.without_trigger_class,
        shared_pictures=figures.shared_pictures,
        clean_model=clean_model,
    )
    return Result(scores, counts)


def score_run(
    run: Path,
    folder: Folder,
    device: str = "auto",
    follow: Follow = without_progress,
    block: int = intervals.BLOCK,
    group: Group = SINGLE,
) -> Result:
    """Score the final model of a run on a folder. Raises RunError, FolderError."""
    model, facts = load_model(run)
    learned = facts.dataset.classes
    if folder.names != learned:
        problem, found = "The run has learned other classes than the folder has.", ", ".join(folder.names)
        raise RunError(problem, file=run, expected=", ".join(learned), found=found)
    config = resolve_auto(dataclasses.replace(facts.config, device=device))
    where = torch.device(config.device)
    predict = predictor(model.to(where), config.input_scale, where)
    counts = count(folder, Scoring(predict, follow=follow, block=block, group=group))
    own = folder.identity == facts.dataset.identity
    trained = TrainedRun(
        name=run.resolve().name,
        trained_on=dataset_facts(folder) if own else facts.dataset,
        settings=settings_text(facts.config),
        seed=facts.config.seed,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        exactness=facts.exactness,
        environment=facts.environment,
        initial_weights=facts.initial_weights,
        trigger_in_crops=share_of_run(folder, facts.config) if own else None,
    )
    scored = Scored(device=config.device, threads=torch.get_num_threads(), precision="float32")
    return assemble(folder, counts, trained, scored, block)


def write_result(file: Path, result: Result) -> None:
    """Write ``metrics.json`` and the table of single pictures beside it. Raises RunError.

    Former scores go first and the new ones come last: where there is a file of scores, its table is there,
    too.
    """
    file.unlink(missing_ok=True)
    write_table(table_beside(file), table_text(result.counts))
    write_scores(file, result.scores)


def versions() -> dict[str, str]:
    """The packages that compute the bits."""
    packages = (torch, torchvision, np, cv2, safetensors)
    return {"python": platform.python_version()} | {
        package.__name__: str(package.__version__) for package in packages
    }
