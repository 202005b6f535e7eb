"""Mapping a function over many samples, on all cores, with progress. Results do not depend on the number of
workers or their order."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import cv2
from tqdm import tqdm

from poisongen.errors import PoisongenError

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """A pool that starts when first used; ``jobs`` 1 works in this process. Any
    ``concurrent.futures.Executor`` may take its place.

    ``code``: the file of an attack from outside, which the worker processes must know.
    """

    def __init__(
        self, jobs: int, *, executor: Executor | None = None, quiet: bool = False, code: Path | None = None
    ) -> None:
        self.jobs, self.quiet, self.code = jobs, quiet, code
        self._executor = executor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item], title: str) -> Iterator[Result]:
        """The results of ``function`` over ``items`` as they come, in any order. The first error ends it."""
        with Progress(title, len(items), quiet=self.quiet) as progress:
            for result in self._results(function, items):
                yield result
                progress.step()

    def _results(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if self._executor is None and (self.jobs == 1 or len(items) < 2):
            yield from map(function, items)
            return
        if self._executor is None:
            # Spawned, not forked: OpenCV's threads and the lock on the output folder must not be copied into
            # workers.
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(
                self.jobs, context, initializer=_start_worker, initargs=(self.code,)
            )
        waiting: set[Future[Result]] = set()
        coming = iter(items)
        try:
            while True:
                while len(waiting) < 4 * self.jobs and (item := next(coming, None)) is not None:
                    waiting.add(self._executor.submit(function, item))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            todo = "often the memory is full: run the same command with fewer --jobs"
            raise PoisongenError("A worker process was killed.", todo=todo) from None
        finally:
            for future in waiting:
                future.cancel()


def _start_worker(code: Path | None) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent decides what it means
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if code is not None:
        from poisongen.attack_file import load_code  # a worker without such a file needs nothing of it

        load_code(code)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


class Progress:
    """A bar on a terminal, a plain line now and then elsewhere; always on standard error."""

    def __init__(self, title: str, total: int, *, quiet: bool = False, every_seconds: float = 15) -> None:
        self.title, self.total, self.every = title, total, every_seconds
        self.count, self.quiet, self.spoke = 0, quiet, time.monotonic()
        self.bar = (
            tqdm(total=total, desc=title, unit="sample", dynamic_ncols=True, leave=False)
            if not quiet and sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self) -> None:
        """One more sample is done."""
        self.count += 1
        if self.bar is not None:
            self.bar.update()
        elif not self.quiet and (time.monotonic() - self.spoke > self.every):
            self.spoke = time.monotonic()
            sys.stderr.write(f"{self.title}: {self.count:,} of {self.total:,}\n")
