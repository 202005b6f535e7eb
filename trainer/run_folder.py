"""What a run keeps on disk. Weights and optimiser states are safetensors, facts are JSON; nothing is pickled.

::

    RUN/run.json                 settings, dataset and machine, written before the first step
    RUN/log.jsonl                a row for each epoch
    RUN/checkpoint.safetensors   all that is needed to go on; removed when the run is finished
    RUN/model.safetensors        the final weights
    RUN/metrics.json             the scores on the run's own folder; with it the run is finished
    RUN/metrics-….json           the scores on other folders, by the first digits of their identity
    RUN/panel.png                a picture for people
    RUN/panels/                  the same after some epochs, if wanted
    RUN/tensorboard/             what TensorBoard shows, if wanted

Weights, settings and scores are written beside their place and renamed, so one with a final name is whole.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from trainer.config import Config, check_settings
from trainer.dataset.facts import DatasetFacts, facts_of_recipe
from trainer.errors import RunError, SettingError, printable
from trainer.networks.models import make
from trainer.networks.network import Network
from trainer.typed_json import Count, NotThisType, parse, plain

RUN, LOG, CHECKPOINT, MODEL, METRICS = (
    "run.json",
    "log.jsonl",
    "checkpoint.safetensors",
    "model.safetensors",
    "metrics.json",
)
LOCK = ".lock"  # there while a trainer is at work


@contextmanager
def _in_place(file: Path) -> Iterator[Path]:
    """A name to write to, which takes the place of ``file`` when all is on the disk."""
    part = file.with_name(f"{file.name}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(file)
    except (OSError, SafetensorError) as error:  # the latter is what a full disk is to safetensors
        found = error.strerror if isinstance(error, OSError) else error
        raise RunError(
            "A file cannot be written.", file=file, found=found, todo="make room and start again"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with _in_place(file) as part:
        part.write_text(text, "utf-8")


def write_bytes(file: Path, data: bytes) -> None:
    """Write bytes, whole or not at all. Raises RunError."""
    with _in_place(file) as part:
        part.write_bytes(data)


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write JSON for people: indented, in the order given."""
    write_text(file, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """Read an object of JSON that a run wrote. Raises RunError."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found = error.strerror if isinstance(error, OSError) else error
        todo = "give the folder of a run"
        raise RunError(
            "A run's file cannot be read.", file=file, expected="a JSON object", found=found, todo=todo
        ) from None
    if not isinstance(value, dict):
        problem, found = "A run's file holds something else.", type(value).__name__
        todo = "give the folder of a run"
        raise RunError(problem, file=file, expected="a JSON object", found=found, todo=todo)
    return value


def save_tensors(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None) -> None:
    """Write named tensors, and facts as JSON in the file's own header."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"facts": json.dumps(facts or {})}
    with _in_place(file) as part:
        save_file(on_cpu, part, metadata)


def load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The inverse of ``save_tensors``, on the CPU. Raises RunError."""
    try:
        with safe_open(file, "pt") as opened:
            names, facts = list(opened.keys()), (opened.metadata() or {}).get("facts", "{}")
            return {name: opened.get_tensor(name) for name in names}, json.loads(facts)
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(
            "A file of weights cannot be read.", file=file, expected="safetensors", found=error
        ) from None


class Stopped(NamedTuple):
    """How far a training was when its checkpoint was saved: steps, and the losses of the epoch's steps so
    far, summed over the processes."""

    step: int
    loss_sum: float


def save(
    file: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None,
    stopped: Stopped,
) -> None:
    """Save all that training needs to go on: weights, the optimiser's state of each, and their average if
    there is one."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        tensors |= {f"optimiser.{key}.{name}": state for key, state in optimiser.state[parameter].items()}
    if average:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    save_tensors(file, tensors, stopped._asdict())


def restore(
    file: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: nn.Module | None
) -> Stopped:
    """Bring model, optimiser and average to where ``save`` left them, in the memory layout that they have
    now. Raises RunError: the checkpoint is of another network, or damaged."""
    tensors, facts = load_tensors(file)
    try:
        if average:
            average.load_state_dict(_below("average.", tensors))
        model.load_state_dict(_below("model.", tensors))
        for name, parameter in model.named_parameters():
            state = optimiser.state[parameter]
            for key in ("exp_avg", "exp_avg_sq"):
                saved = tensors[f"optimiser.{key}.{name}"]
                state[key] = torch.empty_like(parameter).copy_(saved)
            state["step"] = tensors[f"optimiser.step.{name}"].to(parameter.device)
        return Stopped(int(facts["step"]), float(facts["loss_sum"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            "The checkpoint does not fit the run.",
            file=file,
            found=str(error).partition("\n")[0],
            todo="remove it to start anew",
        ) from None


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Exactness:
    """How far a training can be repeated, and what its last bits depend on.

    ``level``: "exact": the same machine, packages and values of these keys give the same weights, bit by bit;
    "seeded": the same draws, but kernels that may add in another order (``deterministic = false``); "mixed":
    the run went on with other packages or processes. ``cuda``, ``cudnn``: versions, of a GPU.
    """

    level: str
    device: str
    instructions: str
    threads: Count
    processes: Count
    precision: str
    memory_format: str
    compiled: bool
    cuda: str | None = None
    cudnn: Count | None = None


@dataclass(frozen=True)
class RunFacts:
    """What ``run.json`` says, written before the first step.

    ``trainer``: version; ``data``: absolute path of the dataset folder on the machine that trained;
    ``environment``: package → version; ``initial_weights``: digest of the file that training began with, None
    for random weights.
    """

    trainer: str
    data: str
    config: Config
    dataset: DatasetFacts
    environment: Mapping[str, str]
    exactness: Exactness
    initial_weights: str | None = None


def read_run(run: Path) -> RunFacts:
    """What the folder of a run says of it. Raises RunError: no run, damaged, of another version."""
    file = run / RUN
    values = read_json(file)
    try:
        return parse(RunFacts, _as_now(values))
    except NotThisType as error:
        todo = "give a run of this version of the trainer"
        expected = f"“{error.where}”: {error.expected}"
        problem = "What is recorded of a run cannot be read."
        raise RunError(problem, file=file, expected=expected, found=error.found, todo=todo) from None


def _as_now(values: dict[str, Any]) -> dict[str, Any]:
    """``run.json`` of a former version as one of this, since models that were trained then can still be
    scored."""
    config, dataset = values.get("config"), values.get("dataset")
    if isinstance(config, dict):
        config = {"loss": "cross-entropy"} | config  # there was one loss
    if isinstance(dataset, dict) and "recipe" in dataset:  # it recorded the recipe instead of what it tells
        name, attack, identity = (str(dataset.get(key)) for key in ("name", "attack", "identity"))
        told = facts_of_recipe(dataset["recipe"], name, attack, identity, [])
        kept = {key: value for key, value in dataset.items() if key not in ("recipe", "poisoned_pictures")}
        dataset = kept | {"family": told.family, "own_set": told.own_set, "settings": dict(told.settings)}
    return values | {"config": config, "dataset": dataset}


def write_run(run: Path, facts: RunFacts) -> None:
    """Write ``run.json``, whole or not at all. Raises RunError."""
    write_json(run / RUN, plain(facts))


def load_model(run: Path) -> tuple[Network, RunFacts]:
    """The final model of a run, and the facts of ``run.json``. Raises RunError."""
    facts = read_run(run)
    if not (run / MODEL).is_file():
        problem, expected = "The run has no final model.", "the weights of a finished run"
        todo = "finish it: give its train command again"
        raise RunError(problem, file=run / MODEL, expected=expected, found="no file", todo=todo)
    config = facts.config
    try:
        check_settings(config)  # before a network of any size is built
        model = make(config.model, len(facts.dataset.classes), config.backbone, config.width)
        model.load_state_dict(load_tensors(run / MODEL)[0])
    except (KeyError, TypeError, RuntimeError, SettingError) as error:
        problem, found = "The run's model does not fit its settings.", str(error).replace("\n", " ")[:200]
        expected, todo = f"settings of {MODEL} in {RUN}", "train the run again, into another folder"
        raise RunError(problem, file=run, expected=expected, found=printable(found), todo=todo) from None
    return model.to(memory_format=torch.channels_last), facts
