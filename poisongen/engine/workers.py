"""Mapping a function over many samples, on all cores, with progress. Results do not depend on the number of
workers or their order."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from poisongen.engine.progress import Progress
from poisongen.engine.setup import Call, WorkerSetup, start_own_worker
from poisongen.errors import PoisongenError

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4
"""Tasks that wait or run, for each worker: enough that none is ever idle, few enough that memory stays
small."""


class Workers:
    """Workers for the commands of one ``with`` block.

    ``jobs``: processes of our own, started when they are first needed and ended with the block; 1 works in
    this process. Any ``executor`` of ``concurrent.futures`` may take their place: it is followed and not shut
    down, each of its workers is prepared before its first task as ours are, and as many tasks wait as
    ``executor_workers`` need (by default as many as it says to have; ValueError if it does not say).

    ``code``: the file of an attack from outside, which the workers must know.
    """

    def __init__(
        self,
        jobs: int = 1,
        *,
        executor: Executor | None = None,
        executor_workers: int | None = None,
        quiet: bool = False,
        code: Path | None = None,
    ) -> None:
        self.jobs, self.quiet = jobs, quiet
        self._setup = WorkerSetup(code)
        self._given = executor
        self._given_workers = 0 if executor is None else executor_workers or _workers_of(executor)
        self._own: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is not None:
            self._own.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item], title: str) -> Iterator[Result]:
        """The results of ``function`` over ``items`` as they come, in any order. The first error ends it."""
        with Progress(title, len(items), quiet=self.quiet) as progress:
            for result in self._results(function, items):
                yield result
                progress.step()

    def _results(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if self._given is not None:
            given, setup = self._given, self._setup

            def submit_call(item: Item) -> Future[Result]:
                return given.submit(Call(setup, function, item))

            return _follow(submit_call, items, _AHEAD * self._given_workers)
        if self.jobs == 1 or len(items) < 2:
            return map(function, items)
        own = self._own_pool()

        def submit_own(item: Item) -> Future[Result]:
            return own.submit(function, item)

        return _follow(submit_own, items, _AHEAD * self.jobs)

    def _own_pool(self) -> ProcessPoolExecutor:
        if self._own is None:
            # Spawned, not forked: OpenCV's threads and the lock on the output folder must not be copied into
            # workers.
            context = multiprocessing.get_context("spawn")
            self._own = ProcessPoolExecutor(
                self.jobs, context, initializer=start_own_worker, initargs=(self._setup,)
            )
        return self._own


def _workers_of(executor: Executor) -> int:
    """How many workers an executor has: the pools of the standard library, and many others, say it so."""
    number = getattr(executor, "_max_workers", None)
    if not isinstance(number, int) or number < 1:
        raise ValueError(
            f"{type(executor).__name__} does not say how many workers it has: give executor_workers"
        )
    return number


def _follow(submit: Callable[[Item], Future[Result]], items: Iterable[Item], window: int) -> Iterator[Result]:
    """Results as they come, at most ``window`` tasks ahead. However it ends, no task of it is left running:
    what follows may unlock or remove what they write to."""
    coming, waiting = iter(items), set[Future[Result]]()
    try:
        while True:
            waiting |= {submit(item) for item in islice(coming, window - len(waiting))}
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenExecutor:
        todo = "often the memory is full: run the same command with fewer --jobs"
        raise PoisongenError("A worker process was killed.", todo=todo) from None
    finally:
        running = [future for future in waiting if not future.cancel()]
        wait(running)
