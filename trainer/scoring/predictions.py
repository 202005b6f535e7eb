"""Score label maps that another program predicted: no network, the same figures.

``DIR/<path of the row's image in the folder, without its suffix>.png``, for the clean evaluation split and
for each evaluation set: 8-bit grey, or a palette whose numbers count, of training ids 0 … K-1, in the size of
the row's label map.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.folder import Folder, Row
from trainer.dataset.pictures import read_label
from trainer.errors import FolderError
from trainer.scoring import evaluate, intervals
from trainer.scoring.evaluate import Follow


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
    follow: Follow = lambda work, _: work,
    block: int = intervals.BLOCK,
) -> dict[str, Any]:
    """What ``eval`` writes to ``metrics.json``, of the label maps in ``root``. Raises FolderError.

    ``clean_root``: label maps of the evaluation sets that a model predicted which was trained on no poisoned
    picture. An evaluation set that nobody predicted is left out; its name is in ``left_out``, or
    ``left_out_of_clean_model``.
    """
    predictions, sets = _complete(folder, root)
    scored = dataclasses.replace(folder, triggered=sets)
    values = evaluate.score(scored, _as_it_is, follow, predictions.read, block)
    values["left_out"] = [name for name in folder.triggered if name not in sets]
    if clean_root is not None:
        clean = Predictions(clean_root, scored)
        found = clean.sets()
        if not any(found.values()):
            first = next((clean.file(row) for rows in sets.values() for row in rows), clean_root)
            todo = "predict the triggered pictures with the clean model, too"
            raise FolderError(
                "The clean model has no prediction.", file=first, expected="an evaluation set", todo=todo
            )
        figures = {
            name: evaluate.success_of(
                scored, rows, _as_it_is, follow, clean.read, f"{name}, clean model", block
            )
            for name, rows in found.items()
        }
        values |= {
            "clean_model": {"name": clean_root.resolve().name, "evaluation_sets": figures},
            "left_out_of_clean_model": [name for name in sets if name not in found],
        }
    return {
        **values,
        "dataset": evaluate.dataset_facts(folder),
        "run": {"name": root.resolve().name, "trained_on": None, "config": None},
        "scored": {"predictions": "label maps"},
        "environment": evaluate.versions(),
    }


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
