"""What a worker must do before its first sample, and calls that see to it in workers that somebody else
started."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerSetup:
    """Prepares the process that it is called in: one thread for OpenCV, and the classes of an attack from
    outside.

    ``code``: the file of such an attack. Raises RecipeError or SourceError if it cannot be run or read.
    """

    code: Path | None = None

    def __call__(self) -> None:
        cv2.setNumThreads(1)
        if self.code is not None:
            from poisongen.attack_file import load_code  # a worker without such a file needs nothing of it

            load_code(self.code)


def start_own_worker(setup: WorkerSetup) -> None:
    """The initialiser of a process that this program started, and that ends with it."""
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    setup()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


@dataclass(frozen=True)
class Call(Generic[Item, Result]):
    """``function(item)`` in a worker of somebody else's: a thread of this process, a process, another
    machine.

    On its way to another process it is packed, because that process can read neither the function nor the
    item before it knows the classes of an attack from outside.
    """

    setup: WorkerSetup
    function: Callable[[Item], Result]
    item: Item

    def __call__(self) -> Result:
        _prepare_once(self.setup)
        return self.function(self.item)

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedCall, (self.setup, pickle.dumps((self.function, self.item)))


@dataclass(frozen=True)
class PackedCall:
    """A ``Call`` that has reached its worker; ``packed``: function and item."""

    setup: WorkerSetup
    packed: bytes

    def __call__(self) -> Any:
        _prepare_once(self.setup)
        function, item = pickle.loads(self.packed)
        return function(item)


_prepared: set[WorkerSetup] = set()
_preparing = threading.Lock()


def _prepare_once(setup: WorkerSetup) -> None:
    """Run ``setup`` if this process has not done so; threads wait for the one that does."""
    with _preparing:
        if setup not in _prepared:
            setup()
            _prepared.add(setup)
