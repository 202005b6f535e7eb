"""What a run demands of the machine: a fixed number of threads, exact kernels, and an interruption at a
convenient moment."""

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import cv2
import torch

try:
    import fcntl
except ImportError:  # not POSIX: there is no lock
    fcntl = None  # type: ignore[assignment]

from trainer.config import Config
from trainer.errors import RunError, SettingError
from trainer.run_folder import LOCK, Exactness
from trainer.training.parallel import Group

M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD = -4, -1, -2  # of glibc's malloc.h


def set_determinism(config: Config) -> torch.device:
    """Make this process exact, with the run's number of threads; return the device. Raises SettingError."""
    if config.device.startswith("cuda"):
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(config.device.partition(":")[2] or 0) >= gpus:
            found = f"a machine with {gpus} GPUs" if gpus else "a machine without CUDA"
            raise SettingError(
                "There is no such device.", expected=config.device, found=found, todo="--device cpu"
            )
        if ":" in config.device:
            torch.cuda.set_device(config.device)  # what asks for no device by name asks this one
    # cuBLAS is deterministic with this only; it is read at cuBLAS's first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if config.deterministic:
        # NCCL's sums inside of the switch come in any order; this is read at its first collective.
        os.environ.setdefault("NCCL_ALGO", "^NVLS")
    torch.use_deterministic_algorithms(config.deterministic)
    torch.backends.cudnn.benchmark = not config.deterministic  # the fastest kernel may be another each time
    # By default the convolutions of float32 are computed with 10 bits of mantissa, and in some containers
    # products, too.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    # A guard against bugs that takes 6 % of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if config.compile:
        import torch._inductor.config as inductor  # slow to import

        inductor.deterministic = config.deterministic  # else kernels are chosen by timing them
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    return torch.device(config.device)


def exactness(config: Config, group: Group) -> Exactness:
    """How far a run with these settings can be repeated on this machine."""
    gpu = config.device.startswith("cuda")
    return Exactness(
        level="exact" if config.deterministic else "seeded",
        device=torch.cuda.get_device_name(config.device) if gpu else "cpu",
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=config.threads,
        processes=group.size,
        precision=config.precision,
        memory_format="channels_last" if config.channels_last else "contiguous",
        compiled=config.compile,
        cuda=torch.version.cuda if gpu else None,
        cudnn=torch.backends.cudnn.version() if gpu else None,
    )


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed instead of handing it back: a step on a CPU is 15 % faster without the
    page faults."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 256 << 20)


def quiet_worker(_: int) -> None:
    """A worker leaves Ctrl-C to the main process, and a SIGTERM to the whole group of processes; and it
    decodes in one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        # torchrun and timeout signal the whole group: without its workers, the main process could save no
        # checkpoint.
        os.setpgrp()
    cv2.setNumThreads(1)


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Make the folder ``run``, and keep a second trainer out of it as long as this lasts. Raises RunError.

    The lock is the process's own: it ends with it, however that ends, and workers that outlive it for a
    moment do not hold it.
    """
    with _locked(run) as lock:
        try:
            yield
        finally:
            Path(lock.name).unlink(missing_ok=True)


def _locked(run: Path) -> IO[str]:
    """The open lock of a folder, which is made if it is not there. Raises RunError."""
    while True:
        try:
            run.mkdir(parents=True, exist_ok=True)
            lock = (run / LOCK).open("w")
        except OSError as error:
            raise RunError("The folder of the run cannot be used.", file=run, found=error.strerror) from None
        try:
            if fcntl:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            lock.close()
            todo = "wait for it, or end it"
            raise RunError("Another trainer is at work in this folder.", file=run, todo=todo) from None
        except OSError as error:
            lock.close()
            todo = "choose another --out, on a file system that knows locks"
            raise RunError(
                "The folder of the run cannot be locked.", file=run, found=error.strerror, todo=todo
            ) from None
        if not fcntl or _is(lock, run / LOCK):
            return lock
        lock.close()  # who had it has taken it away meanwhile: another one may have made its own since


def _is(opened: IO[str], file: Path) -> bool:
    """Is what was opened still what lies at ``file``?"""
    try:
        return os.path.samestat(os.fstat(opened.fileno()), file.stat())
    except FileNotFoundError:
        return False


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Within, Ctrl-C or SIGTERM only sets the event, so that a step is finished; a second Ctrl-C ends the
    process at once.

    A second SIGTERM does not: a batch queue sends it to every process, and ``torchrun`` passes its own on.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: Any) -> None:
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.set()

    for number in before:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
