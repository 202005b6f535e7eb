"""The model of a finished run, ready to predict."""

from pathlib import Path
from typing import NamedTuple

from trainer import run_folder
from trainer.config import Config
from trainer.scoring.evaluate import Predict, predictor
from trainer.training.machine import set_determinism


class TrainedModel(NamedTuple):
    """How a run's model predicts, and the names of its classes."""

    predict: Predict
    class_names: tuple[str, ...]


def trained_model(run: Path, config: Config) -> TrainedModel:
    """The model of ``run`` on the device of ``config``. Raises RunError."""
    model, facts = run_folder.load_model(run)
    device = set_determinism(config)  # float32 as in scoring
    predict = predictor(model.to(device), facts.config.input_scale, device)
    return TrainedModel(predict, facts.dataset.classes)
