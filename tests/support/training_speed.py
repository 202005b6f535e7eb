"""How many pictures a second a network is trained on, from each source in turn.

Turns of all sources alternate, also with steps on one batch that is there already, so that a busy machine
hurts all alike; ratios are within a round.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from trainer.config import Config
from trainer.dataset.folder import Folder
from trainer.networks.weights import build
from trainer.training.augment import Batch
from trainer.training.batches import Samples, Schedule, batches
from trainer.training.machine import set_determinism
from trainer.training.optimise import make_optimiser, update
from trainer.training.sources import Source, choose_source, open_source

NO_LOADING = "no loading"
"""The floor: one batch again and again."""

KINDS = ("files", "cache", "resident")
MOST_STEPS = 200  # of a turn that is as long as a time says


@dataclass(frozen=True)
class Speed:
    """Of one source, a value for each round; ``cpu_ms`` a picture are of this process, not of workers.

    ``workers`` is None where nothing is loaded.
    """

    source: str
    workers: int | None
    pictures_per_second: tuple[float, ...]
    cpu_ms: tuple[float, ...]

    def percent_of(self, floor: "Speed") -> list[float]:
        """Its speed in percent of another's, round by round."""
        pairs = zip(self.pictures_per_second, floor.pictures_per_second, strict=True)
        return [100 * one / other for one, other in pairs]


@dataclass(frozen=True)
class Turn:
    """What one turn took: seconds, and seconds of this process's CPU."""

    seconds: float
    cpu_seconds: float


def loaded(folder: Folder, config: Config, source: Source) -> Iterator[Batch]:
    """The batches of a training, read as the trainer reads them."""
    return batches(Samples(folder, config, source), Schedule(len(folder.training), config), config)


def speeds(
    folder: Folder, config: Config, kinds: Sequence[str], rounds: int, steps: int | None, seconds: float = 2.0
) -> list[Speed]:
    """Train with each of ``kinds`` and without loading, ``rounds`` times in turn after one that is not
    counted.

    A turn has so many ``steps``, or as many as fit into ``seconds`` without loading. Kernels and
    compilation are as the settings say. Raises CacheError, SettingError.
    """
    device = set_determinism(config)
    model = build(folder.classes, "random", 0, config.model).to(device)
    model = model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, config)
    forward: Any = torch.compile(model, dynamic=False) if config.compile else model
    configs = {kind: choose_source(dataclasses.replace(config, pictures=kind), folder) for kind in kinds}
    sources = {kind: open_source(of_kind, folder) for kind, of_kind in configs.items()}
    no_workers = dataclasses.replace(config, workers=0)
    one = next(loaded(folder, no_workers, next(iter(sources.values()))))
    ready = Batch(one.pictures.to(device), one.labels.to(device), *one[2:])
    pictures = one.labels.shape[0]

    def turn(batches: Iterator[Batch], count: int) -> Turn:
        began, worked = time.perf_counter(), time.process_time()
        for batch in itertools.islice(batches, count):
            loss = update(forward, optimiser, [batch], 1e-4, config, device)
        loss.item()  # a GPU is waited for
        return Turn(time.perf_counter() - began, time.process_time() - worked)

    if steps is None:
        turn(itertools.repeat(ready), 2)  # chooses kernels, and compiles
        one_step = turn(itertools.repeat(ready), 3).seconds / 3
        steps = max(1, min(MOST_STEPS, round(seconds / one_step)))
    loaders: dict[str, Callable[[], Iterator[Batch]]] = {NO_LOADING: partial(itertools.repeat, ready)}
    loaders |= {kind: partial(loaded, folder, configs[kind], sources[kind]) for kind in kinds}
    # Workers fill their queue while others train, so each turn begins anew and its first steps, which empty
    # the queue, are not counted.
    first = 4 * max(of_kind.workers for of_kind in configs.values()) or 1
    turns: dict[str, list[Turn]] = {name: [] for name in loaders}
    order = list(loaders)
    for number in range(rounds + 1):
        begin = number % len(order)
        for name in order[begin:] + order[:begin]:
            batches = loaders[name]()
            turn(batches, first)
            timed = turn(batches, steps)
            if number:
                turns[name].append(timed)
    counted = steps * pictures
    return [
        _speed(name, configs[name].workers if name in configs else None, taken, counted)
        for name, taken in turns.items()
    ]


def _speed(source: str, workers: int | None, turns: Sequence[Turn], pictures: int) -> Speed:
    """Of turns of so many pictures each."""
    paces = tuple(pictures / turn.seconds for turn in turns)
    cpu_ms = tuple(1000 * turn.cpu_seconds / pictures for turn in turns)
    return Speed(source, workers, paces, cpu_ms)
