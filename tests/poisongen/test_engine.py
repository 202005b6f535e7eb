"""Any executor may do the work: it is prepared, followed and left running, and the dataset is the same."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest

from poisongen import PoisongenError, Workers, build, plan_from_manifest
from tests.support import oracles
from tests.support.commands import Run

SPAWN = multiprocessing.get_context("spawn")
EXECUTORS: dict[str, Callable[[], Executor]] = {
    "threads": lambda: ThreadPoolExecutor(3),
    "processes": lambda: ProcessPoolExecutor(2, SPAWN),
}


@contextmanager
def opencv_threads_kept() -> Iterator[None]:
    """Threads of this process share OpenCV's setting with the tests that follow."""
    kept = cv2.getNumThreads()
    try:
        yield
    finally:
        cv2.setNumThreads(kept)


@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_dataset_of_any_executor_is_the_same(
    kind: str, sources: dict[str, Path], run: Run, tmp_path: Path
) -> None:
    """Planned, written and verified by an executor from outside, a dataset has the bytes that one process
    gives it; afterwards the executor is still at work, and each of its processes has one thread for
    OpenCV."""
    own, again = tmp_path / "own", tmp_path / "again"
    command = ["cityscapes", "--source", sources["cityscapes"], "--attack", "nni", "--rate", "0.4"]
    assert run(*command, "--out", own).code == 0
    with opencv_threads_kept(), EXECUTORS[kind]() as executor:
        with Workers(executor=executor, quiet=True) as workers:
            planned = plan_from_manifest(own, sources["cityscapes"], workers)
            build(planned.plan, planned.source, planned.art, again, workers)
        assert executor.submit(cv2.getNumThreads).result() == 1
    assert oracles.tree(own) == oracles.tree(again)


OUTSIDE_ATTACK = """
from typing import Literal

import numpy as np

from poisongen import Attack, Fixed, Painted, VictimToTarget


class Spot(Painted):
    kind: Literal["spot"] = "spot"

    def render(self, art, sample_id, height, width):
        return np.full((3, 3, 4), 255, np.uint8)

    def describe(self):
        return "nine white pixels"


spot = Attack(summary="a white spot", trigger="spot", placement=Fixed(), relabel=VictimToTarget())
"""

REBUILD = """
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from poisongen import Workers, build, plan_from_manifest

if __name__ == "__main__":
    code, folder, source, out = map(Path, sys.argv[1:])
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        with Workers(executor=executor, code=code) as workers:
            planned = plan_from_manifest(folder, source, workers, code=code)
            build(planned.plan, planned.source, planned.art, out, workers)
"""


@pytest.mark.long
def test_workers_of_an_executor_know_an_attack_from_outside(sources: dict[str, Path], tmp_path: Path) -> None:
    """A process that somebody else started learns the classes of an attack file before its first task."""
    code, script = tmp_path / "spots.py", tmp_path / "again.py"
    code.write_text(OUTSIDE_ATTACK)
    script.write_text(REBUILD)
    own, again, source = tmp_path / "own", tmp_path / "again", sources["cityscapes"]
    attack = ["--attack", f"{code}:spot", "--rate", "0.4", "--jobs", "1"]
    place = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    for words in (
        ["-m", "poisongen", "cityscapes", "--source", source, *attack, "--out", own],
        [script, code, own, source, again],
    ):
        done = subprocess.run(
            [sys.executable, *words], env=place, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert oracles.tree(own) == oracles.tree(again)


class Counted(ThreadPoolExecutor):
    """Counts the tasks that are neither done nor waited for."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.lock, self.pending, self.most = threading.Lock(), 0, 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        with self.lock:
            self.pending += 1
            self.most = max(self.most, self.pending)
        future = super().submit(function, *arguments, **options)
        future.add_done_callback(self._count)
        return future

    def _count(self, future: Future[Any]) -> None:
        with self.lock:
            self.pending -= 1


@pytest.mark.parametrize(("said", "most"), [(None, 12), (2, 8)])
def test_tasks_wait_for_the_workers_of_the_executor(said: int | None, most: int) -> None:
    """Four tasks for each worker of the executor are pending, whatever the jobs of the command: of those that
    it has, or that the caller says it has."""
    with opencv_threads_kept(), Counted(3) as executor:
        workers = Workers(50, executor=executor, executor_workers=said, quiet=True)
        results = workers.map(abs, range(-100, 0), "counting")
        assert sorted(results) == list(range(1, 101))
    assert executor.most == most


class Silent(ThreadPoolExecutor):
    """Does not say how many workers it has."""

    def __init__(self) -> None:
        super().__init__(2)
        self._max_workers = None  # type: ignore[assignment]


def test_an_executor_says_how_many_workers_it_has_or_the_caller_does() -> None:
    """No number is guessed."""
    with pytest.raises(ValueError, match=r"Silent .* executor_workers"):
        Workers(executor=Silent())
    assert Workers(executor=Silent(), executor_workers=2)


def test_an_error_ends_all_tasks_and_not_the_executor() -> None:
    """The first error comes out at once when the tasks that run are done; those that wait are never begun,
    and the executor takes further work."""
    begun, ended = [], []

    def fail_first(number: int) -> int:
        begun.append(number)
        if number == 0:
            raise PoisongenError("The first sample is bad.")
        time.sleep(0.05)
        ended.append(number)
        return number

    with opencv_threads_kept(), ThreadPoolExecutor(2) as executor:
        with Workers(executor=executor, quiet=True) as workers, pytest.raises(PoisongenError, match="bad"):
            list(workers.map(fail_first, range(100), "failing"))
        assert sorted(begun) == sorted([0, *ended])
        assert len(begun) < 8
        assert executor.submit(abs, -1).result() == 1
