"""Score label maps that another program predicted: no network, the same figures.

``DIR/<path of the row's image in the folder, without its suffix>.png``, for the clean evaluation split and
for each evaluation set: 8-bit grey, or a palette whose numbers count, of training ids 0 … K-1, in the size of
the row's label map.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.facts import dataset_facts
from trainer.dataset.folder import Folder, Row
from trainer.dataset.pictures import read_label
from trainer.errors import FolderError
from trainer.scoring import intervals
from trainer.scoring.evaluate import Follow, Result, Scoring, assemble, count, success_of, without_progress
from trainer.scoring.figures import success
from trainer.scoring.picture_counts import SuccessCounts
from trainer.scoring.scores import CleanModel, CleanSet, Scored, TrainedRun


class Predictions:
    """A folder of predicted label maps for a dataset folder."""

    def __init__(self, root: Path, folder: Folder) -> None:
        self.root, self.folder = root, folder
        self._plain = dataclasses.replace(
            folder, lookup=np.arange(256, dtype=np.uint8), known=np.ones(256, np.bool_)
        )

    def file(self, row: Row) -> Path:
        """Where the prediction of a row lies."""
        return self.root / row.image.relative_to(self.folder.root).with_suffix(".png")

    def read(self, row: Row) -> NDArray[np.uint8]:
        """The prediction of a row, uint8 (H, W) training ids. Raises FolderError: another size or kind of
        pixels, an unknown id."""
        file = self.file(row)
        predicted = read_label(dataclasses.replace(row, label=file), self._plain, False)
        if (predicted >= self.folder.classes).any():
            unknown = np.unique(predicted[predicted >= self.folder.classes])
            expected = (
                f"training ids, 0 … {self.folder.classes - 1}: every pixel is predicted, none is ignored"
            )
            found = ", ".join(f"id {number}" for number in unknown[:5])
            raise FolderError("A prediction has an unknown class.", file=file, expected=expected, found=found)
        return predicted

    def has(self, rows: Sequence[Row], what: str) -> bool:
        """Is there a prediction for each of these rows? False if for none. Raises FolderError if for some
        only."""
        missing = [file for row in rows if not (file := self.file(row)).is_file()]
        if not missing or len(missing) == len(rows):
            return not missing
        expected, found = (
            f"a prediction for each of {len(rows)} pictures",
            f"{len(missing)} are missing; this is the first",
        )
        todo = "predict them too; an evaluation set may be left out as a whole"
        raise FolderError(
            f"Predictions of {what} are not complete.",
            file=missing[0],
            expected=expected,
            found=found,
            todo=todo,
        )

    def sets(self) -> dict[str, tuple[Row, ...]]:
        """The evaluation sets that are predicted; an empty one needs no prediction. Raises FolderError for a
        part of one."""
        return {
            name: rows
            for name, rows in self.folder.triggered.items()
            if self.has(rows, f"the evaluation set {name}")
        }


def score_predictions(
    folder: Folder,
    root: Path,
    clean_root: Path | None = None,
    follow: Follow = without_progress,
    block: int = intervals.BLOCK,
    method: str | None = None,
    seed: int | None = None,
) -> Result:
    """What ``eval`` gives, of the label maps in ``root``. Raises FolderError.

    ``clean_root``: label maps of the evaluation sets that a model predicted which was trained on no poisoned
    picture. An evaluation set that nobody predicted is left out; its name is in ``left_out``, or
    ``left_out_of_clean_model``. ``method``, ``seed``: what the user says of the other program.
    """
    predictions, sets = _complete(folder, root)
    predicted = dataclasses.replace(folder, triggered=sets)
    counts = count(predicted, Scoring(_as_it_is, predictions.read, follow, block))
    clean_model: CleanModel | None = None
    left_out_of_clean: tuple[str, ...] = ()
    if clean_root is not None:
        clean_counts = _of_clean_model(predicted, clean_root, follow)
        figures = {name: CleanSet(success(one.success, block)) for name, one in clean_counts.items()}
        clean_model = CleanModel(clean_root.resolve().name, figures)
        counts = dataclasses.replace(counts, clean_model=clean_counts)
        left_out_of_clean = tuple(name for name in sets if name not in clean_counts)
    run = TrainedRun(name=root.resolve().name, method=method, seed=seed)
    result = assemble(predicted, counts, run, Scored(device="predictions"), block, clean_model)
    scores = dataclasses.replace(
        result.scores,
        dataset=dataset_facts(folder),
        left_out=tuple(name for name in folder.triggered if name not in sets),
        left_out_of_clean_model=left_out_of_clean,
    )
    return Result(scores, counts)


def _of_clean_model(folder: Folder, root: Path, follow: Follow) -> dict[str, SuccessCounts]:
    """The success of a clean model on each evaluation set that it has predicted. Raises FolderError: on
    none."""
    clean = Predictions(root, folder)
    found = clean.sets()
    if not any(found.values()):
        rows = [row for members in folder.triggered.values() for row in members]
        first = clean.file(rows[0]) if rows else root
        problem, todo = (
            "The clean model has no prediction.",
            "predict the triggered pictures with the clean model, too",
        )
        raise FolderError(problem, file=first, expected="an evaluation set", todo=todo)
    scoring = Scoring(_as_it_is, clean.read, follow)
    return {name: success_of(folder, rows, scoring, f"{name}, clean model") for name, rows in found.items()}


def _complete(folder: Folder, root: Path) -> tuple[Predictions, dict[str, tuple[Row, ...]]]:
    """Predictions with their evaluation sets; every file that must be there is."""
    predictions = Predictions(root, folder)
    if not predictions.has(folder.evaluation, "the clean evaluation split"):
        file, found = predictions.file(folder.evaluation[0]), f"none of {len(folder.evaluation)} predictions"
        expected = "a prediction for each picture of the clean evaluation split; this is the first"
        todo = "give the folder that mirrors the dataset folder: see python -m trainer score --help"
        raise FolderError("There are no predictions.", file=file, expected=expected, found=found, todo=todo)
    return predictions, predictions.sets()


def _as_it_is(labels: NDArray[np.uint8]) -> NDArray[np.integer]:
    return labels
