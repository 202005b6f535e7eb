"""Trainings that are made again, and once killed and gone on with: the same bits?"""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.scripts import determinism
from tests.scripts.gpu.results import Findings, Repeat
from tests.scripts.gpu.stages import Report, Request
from trainer.config import load, resolve_auto


@dataclass(frozen=True)
class Training:
    """A training that can be made again: the options of its command."""

    data: Path
    options: list[str]

    def whole(self, run: Path) -> None:
        """In one go."""
        determinism.go(determinism.train(self.data, run, self.options, 0))

    def killed(self, run: Path) -> int:
        """Killed in an epoch, and gone on with. Returns the number of epochs that were finished then."""
        command = determinism.train(self.data, run, self.options, 0)
        finished = determinism.stop(command, run, signal.SIGKILL)
        determinism.go(command)
        return finished


def repeats(request: Request, report: Report) -> None:
    """Train one model three times, side by side where there are cores; compare with the first.

    Raises RuntimeError: bits differ, or the kill came too late to prove anything.
    """
    began, sizes = time.monotonic(), request.sizes
    changes = [f"model={request.argument}", f"epochs={sizes.epochs}", f"device={request.device}"]
    changes += ["checkpoint_every=1", "threads=1", *sizes.settings]
    folder = request.scratch / "repeats" / request.argument
    data = determinism.poisoned_streets(folder, sizes.pictures, "256x128")
    training = Training(data, [f"--set={text}" for text in changes])
    precision = resolve_auto(load("streets", dict(text.split("=", 1) for text in changes))).precision
    # Each run is called “run”: its panel has the name in it.
    first, second, killed = (folder / name / "run" for name in ("first", "second", "killed"))
    with ThreadPoolExecutor(min(3, len(os.sched_getaffinity(0)))) as threads:
        whole = [threads.submit(training.whole, run) for run in (first, second)]
        finished = threads.submit(training.killed, killed).result()
        for each in whole:
            each.result()

    reference, differing = determinism.bits(first), {}
    for story, run in (("the same command again", second), (f"killed after epoch {finished}", killed)):
        parts = determinism.bits(run).items()
        names = tuple(name for name, value in parts if not determinism.same(reference[name], value))
        differing[story] = names
        seconds = time.monotonic() - began
        made = Repeat(request.argument, story, not names, names, sizes.epochs, precision, seconds)
        report(Findings(repeats=(made,)))
    if any(differing.values()):
        raise RuntimeError(f"not the same bits: {differing}")
    if finished == sizes.epochs:
        raise RuntimeError("killed after the last epoch, which proves nothing of going on")
