"""Scoring a folder with a function that predicts, for tests."""

from trainer.dataset.folder import Folder
from trainer.scoring import intervals
from trainer.scoring.evaluate import Predict, Result, Scoring, assemble, count
from trainer.scoring.scores import Scored, Scores, TrainedRun


def result_of(folder: Folder, predict: Predict, block: int = intervals.BLOCK) -> Result:
    """What scoring gives of a model that predicts so."""
    counts = count(folder, Scoring(predict, block=block))
    return assemble(folder, counts, TrainedRun("a model"), Scored("cpu"), block)


def score(folder: Folder, predict: Predict, block: int = intervals.BLOCK) -> Scores:
    """The figures of a model that predicts so."""
    return result_of(folder, predict, block).scores
