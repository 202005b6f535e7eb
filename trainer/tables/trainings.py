"""What makes two trained models the same, or seeds of the same: their settings without those that change no
result."""

from collections.abc import Mapping
from typing import NamedTuple

from trainer.config import NO_RESULT
from trainer.networks.models import MODELS
from trainer.scoring.scores import Scores, TrainedRun

MODEL, BACKBONE, WIDTH, LOSS = "model", "backbone", "width", "loss"
INIT, IMAGENET, AUTO = "init", "imagenet", "auto"
NETWORK = (MODEL, BACKBONE, WIDTH, LOSS)
"""Settings of a network; each model was published with a loss of its own, so the loss is one of them."""

BETWEEN_SEEDS = ("seed", "device", "threads", *NO_RESULT)
"""Settings in which seeds of one training may differ."""


class Training(NamedTuple):
    """The same for all scores of one training. ``settings`` is None of predictions of another program."""

    identity: str
    settings: tuple[tuple[str, str], ...] | None
    seed: int | None


def training_of(scores: Scores) -> Training:
    """The training whose model was scored."""
    settings = comparable_settings(scores.run)
    ordered = None if settings is None else tuple(sorted(settings.items()))
    return Training(scores.trained_on.identity, ordered, scores.run.seed)


def comparable_settings(run: TrainedRun) -> dict[str, str] | None:
    """The settings that make another training, apart from seeds; None of predictions of another program.

    A loss that the model was published with is ``auto``. Of weights from a file its digest counts, whatever
    the file is called.
    """
    if run.settings is None:
        return None
    settings = dict(run.settings)
    model = MODELS.get(settings.get(MODEL, ""))
    if model and settings.get(LOSS) == model.loss:
        settings[LOSS] = AUTO
    if run.initial_weights and settings.get(INIT) != IMAGENET:
        settings[INIT] = run.initial_weights
    return {key: value for key, value in settings.items() if key not in BETWEEN_SEEDS}


def unlike(one: Scores, other: Scores) -> tuple[bool, bool]:
    """Do two trainings differ in settings, and in seeds? Of several, the least is the most like."""
    differs = comparable_settings(one.run) != comparable_settings(other.run)
    return differs, one.run.seed != other.run.seed


class Network(NamedTuple):
    """What a network is built from, as text; each is empty of predictions of another program."""

    model: str
    backbone: str
    width: str


def network_of(run: TrainedRun) -> Network:
    """The network of a run."""
    settings: Mapping[str, str] = run.settings or {}
    return Network(settings.get(MODEL, ""), settings.get(BACKBONE, ""), settings.get(WIDTH, ""))


def loss_of(run: TrainedRun) -> str:
    """The loss that a run was trained with."""
    settings: Mapping[str, str] = run.settings or {}
    loss = settings.get(LOSS, AUTO)
    model = MODELS.get(settings.get(MODEL, ""))
    return model.loss if model and loss == AUTO else loss
