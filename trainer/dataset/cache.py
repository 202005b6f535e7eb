"""The cache: the training pictures and label maps of a folder, decoded, in one HDF5 file, so that a window is
read and no picture decoded.

The file is a head of text, ``HEAD`` bytes (``head -n 2 FILE`` shows it), and HDF5 from there on: two datasets
for each size of picture, ``pictures/HxW`` uint8 (N, H, W, 3) RGB and ``labels/HxW`` uint8 (N, H, W) training
ids, members in the order of ``Folder.training``. One dataset for each picture is as fast while it is open,
but ADE20K would have 40,000 of them; padding to one size would triple ADE20K.

Chunks are at most 256 pixels high and wide, and all alike, so that a picture has no padding to speak of: 3.0
GB of ADE20K-like sizes instead of 3.8. Nothing is compressed: a label map would shrink to nothing, 2 MB of
8.4 a picture, but its window would take 0.9 ms instead of 0.3, beside 0.7 for the picture's. Chunks are read
one at a time: without HDF5's chunk cache a window takes five times as long, while the default size of that
cache, for each dataset, came to 2.6 GB for a few hundred sizes.

The head is looked at before the HDF5 library sees a byte. It tells a cache to use from one of another dataset
or decoder, from a file that was cut short, and from a file of another origin. It is no signature: whoever can
write beside your data could forge it. A library that parses a hostile file is not safe, so take no cache from
others. ``cache DATA --check`` compares every pixel.
"""

import json
import math
import os
import re
import shutil
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from trainer.dataset.folder import Folder, Row, digest_bytes
from trainer.dataset.pictures import Pixels, read_label, read_picture
from trainer.errors import CacheError

VERSION = 1
HEAD = 4096  # bytes; HDF5 calls this a user block
TITLE = b"decoded training pictures, written by python -m trainer cache\n"
CHUNK = 256  # pixels
OPENED = 32  # datasets of pictures, and as many of labels, that are open at once; each has a chunk cache
SETTINGS = {"rdcc_nbytes": CHUNK * CHUNK * 3, "rdcc_nslots": 11, "rdcc_w0": 1.0}  # room for one chunk


def cache_file(folder: Folder, where: str | Path) -> Path:
    """The cache's path: beside the folder for ``auto``, ``where`` itself, or in it if it is a folder. Raises
    CacheError.

    A dataset folder is frozen, so the cache may not lie in it.
    """
    name = f"{folder.root.name}.cache.h5"
    file = folder.root.with_name(name) if where == "auto" else Path(where).resolve()
    file = file / name if file.is_dir() else file
    if file.is_relative_to(folder.root):
        todo = "give another --out"
        raise CacheError("A dataset folder is frozen: nothing is written into it.", file=file, todo=todo)
    return file


def key(folder: Folder) -> dict[str, str]:
    """What decides the cached pixels: the rows, which of them are for training, the meaning of raw ids, and
    this machine's decoders."""
    rows = [[row.id, row.height, row.width, sorted(row.digests.items())] for row in folder.training]
    codecs = re.findall(r"^ *(JPEG|PNG): +(.+)$", cv2.getBuildInformation(), re.MULTILINE)
    return {
        "identity": folder.identity,
        "training rows": digest_bytes(json.dumps(rows).encode()),
        "label space": digest_bytes(folder.lookup.tobytes() + folder.known.tobytes()),
        "decoder": ", ".join(
            [f"OpenCV {cv2.__version__}", *(f"{name} {library}" for name, library in codecs)]
        ),
    }


def require(file: Path, folder: Folder) -> None:
    """Raises CacheError unless ``file`` is a whole cache of this very folder. HDF5 opens nothing here."""
    todo = f"python -m trainer cache {folder.root}"
    if file != cache_file(folder, "auto"):
        todo += f" --out {file}"
    head = _head(file)
    if head is None:
        raise CacheError("There is no cache of the pictures.", file=file, todo=todo)
    differences = []
    for name, value in key(folder).items():
        found = head["key"].get(name, "unknown")
        if found != value:
            differences.append(f"{name}: {found} → {value}")
    if differences:
        raise CacheError(
            "The cache is of another dataset or decoder.",
            file=file,
            found="; ".join(differences),
            todo=f"build it anew: {todo}",
        )
    size = file.stat().st_size
    if size != head["bytes"]:
        raise CacheError(
            "The cache is cut short or grown.",
            file=file,
            expected=f"{head['bytes']:,} bytes",
            found=f"{size:,} bytes",
            todo=f"build it anew: {todo}",
        )


def _head(file: Path) -> dict[str, Any] | None:
    """The head of a cache of this version, None if there is no file. Raises CacheError for any other file."""
    foreign = CacheError(
        "This file is no cache that this trainer wrote.",
        file=file,
        todo="move it away, or name another place",
    )
    try:
        with file.open("rb") as opened:
            title, line = opened.readline(HEAD), opened.readline(HEAD)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CacheError("The cache cannot be read.", file=file, found=error.strerror) from None
    if title != TITLE:
        raise foreign
    try:
        head: dict[str, Any] = json.loads(line)
        known = type(head["bytes"]) is int and all(type(value) is str for value in head["key"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        known = False
    if not known:
        raise foreign
    return head if head.get("version") == VERSION else head | {"key": {}}


def places(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Where each row lies: the name of its size, and its number among the rows of that size."""
    members: dict[str, int] = {}
    found = []
    for row in rows:
        size = f"{row.height}x{row.width}"
        members[size] = members.get(size, -1) + 1
        found.append((size, members[size]))
    return found


class Cache:
    """Windows from the cache ``file`` of a folder; a ``Source``. Raises CacheError, also later, if the file
    is not what it should be.

    Each process opens the file when it first reads, and closes it before it forks, so that no process has
    inherited an open one. A cache that is built anew meanwhile takes another file's name; this one stays
    whole until it is closed.
    """

    def __init__(self, folder: Folder, file: Path) -> None:
        require(file, folder)
        self.file, self.device = file, torch.device("cpu")
        self._places = places(folder.training)
        self._shapes = {f"{row.height}x{row.width}": (row.height, row.width) for row in folder.training}
        self._counts = {
            size: number + 1 for size, number in self._places
        }  # the last one of each size has the largest number
        self._prepare()

    def _prepare(self) -> None:
        self._h5: h5py.File | None = None
        self._opened: dict[str, tuple[h5py.Dataset, h5py.Dataset]] = {}
        self._lock = threading.Lock()
        _CACHES.add(self)

    def __str__(self) -> str:
        return f"windows of decoded pictures from {self.file}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_h5", "_opened", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    def window(self, index: int, rows: slice, columns: slice, check: bool) -> tuple[Tensor, Tensor]:
        """A window of a training picture; ``check`` asks for nothing more, since digests were checked when
        the cache was built."""
        size, number = self._places[index]
        try:
            with self._lock:
                pictures, labels = self._datasets(size)
                picture, label = pictures[number, rows, columns], labels[number, rows, columns]
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            todo = "remove it, and build it anew: python -m trainer cache"
            raise CacheError("The cache cannot be read.", file=self.file, found=error, todo=todo) from None
        return torch.from_numpy(picture), torch.from_numpy(label)

    def close(self) -> None:
        """Close the file; the next window opens it again."""
        with self._lock:
            self._opened.clear()
            if self._h5 is not None:
                self._h5.close()
            self._h5 = None

    def _datasets(self, size: str) -> tuple[h5py.Dataset, h5py.Dataset]:
        if size not in self._opened:
            if self._h5 is None:
                # No file is changed under its final name, so there is nothing to lock, and a place that
                # cannot lock will do.
                self._h5 = h5py.File(self.file, "r", locking=False, **SETTINGS)
            if len(self._opened) == OPENED:
                del self._opened[next(iter(self._opened))]
            shape = self._counts[size], *self._shapes[size]
            self._opened[size] = (
                self._plain(f"pictures/{size}", (*shape, 3)),
                self._plain(f"labels/{size}", shape),
            )
        return self._opened[size]

    def _plain(self, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
        """A dataset that lies in this very file, in chunks, without filters, which could be code from
        elsewhere."""
        assert self._h5 is not None
        group, _, size = name.partition("/")
        links = self._h5.get(group, getlink=True), self._h5[group].get(size, getlink=True)
        dataset = self._h5[name]
        plan = dataset.id.get_create_plist()
        if (
            not all(type(link) is h5py.HardLink for link in links)
            or (dataset.shape, dataset.dtype) != (shape, np.uint8)
            or plan.get_layout() != h5py.h5d.CHUNKED
            or plan.get_nfilters()
        ):
            raise ValueError(f"{name} is not as it was written")
        return dataset


_CACHES: weakref.WeakSet[Cache] = weakref.WeakSet()


def _close_all() -> None:
    for cache in list(_CACHES):
        cache.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_all)


def build(folder: Folder, file: Path, jobs: int, bar: bool = False) -> bool:
    """Write the cache of a folder, unless a fresh one is there; False then. Raises FolderError for a changed
    file, CacheError.

    A file of another origin is left alone. Work goes on in ``FILE.part``, which is renamed when all is on the
    disk.
    """
    if _head(file) is not None:
        with suppress(CacheError):
            require(file, folder)
            return False
    found = places(folder.training)
    needed = sum(row.height * row.width * 4 for row in folder.training)
    with _part(file, needed) as part:
        with h5py.File(part, "w", userblock_size=HEAD, locking=False) as h5:
            for row, (size, number) in reversed(list(zip(folder.training, found, strict=True))):
                if f"pictures/{size}" not in h5:  # the last of its size
                    shape, chunk = (
                        (number + 1, row.height, row.width),
                        (1, _side(row.height), _side(row.width)),
                    )
                    h5.create_dataset(f"pictures/{size}", (*shape, 3), np.uint8, chunks=(*chunk, 3))
                    h5.create_dataset(f"labels/{size}", shape, np.uint8, chunks=chunk)
            work = decoded(folder, jobs)
            for (size, number), (picture, label) in zip(
                found, with_progress(work, folder, "caching", bar), strict=True
            ):
                h5[f"pictures/{size}"][number], h5[f"labels/{size}"][number] = picture, label
        head = {"version": VERSION, "bytes": part.stat().st_size, "key": key(folder)}
        with part.open("r+b") as opened:
            opened.write(TITLE + json.dumps(head).encode() + b"\n")
            os.fsync(opened.fileno())
        part.replace(file)
    return True


def compare(folder: Folder, file: Path, jobs: int, bar: bool = False) -> None:
    """Hold every picture and label map of the cache against its file, pixel by pixel. Raises CacheError, or
    FolderError: a changed file."""
    cache, everything = Cache(folder, file), slice(None)
    for index, pixels in enumerate(with_progress(decoded(folder, jobs), folder, "comparing", bar)):
        for held, own in zip(cache.window(index, everything, everything, False), pixels, strict=True):
            if not np.array_equal(held.numpy(), own):
                found, todo = folder.training[index].id, "remove it and build it anew"
                raise CacheError(
                    "The cache holds another picture than the folder.", file=file, found=found, todo=todo
                )


def decoded(folder: Folder, jobs: int) -> Iterator[tuple[Pixels, Pixels]]:
    """Picture and label map of every training row, held against their digests, in order. Raises FolderError.

    In threads: reading, hashing and decoding let go of Python's lock, and processes would have to start and
    to send 8 MB a picture.
    """

    def read(row: Row) -> tuple[Pixels, Pixels]:
        return read_picture(row, True), read_label(row, folder, True)

    waiting: deque[Future[tuple[Pixels, Pixels]]] = deque()
    with ThreadPoolExecutor(jobs) as threads:
        try:
            for row in folder.training:
                waiting.append(threads.submit(read, row))
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def with_progress(work: Iterable[Any], folder: Folder, name: str, shown: bool) -> Iterable[Any]:
    """Work on every training picture, with a progress bar if it is to be shown."""
    return tqdm(work, name, len(folder.training), unit="picture", disable=not shown, leave=False)  # type: ignore[no-any-return, unused-ignore]


def _side(length: int) -> int:
    """The side of chunks that cover a length in equal parts."""
    return math.ceil(length / math.ceil(length / CHUNK))


@contextmanager
def _part(file: Path, needed: int) -> Iterator[Path]:
    """``FILE.part``, empty and locked; it is removed unless it was renamed. Raises CacheError: no room, no
    right, or another writer."""
    part, todo = file.with_name(f"{file.name}.part"), "name another place: --out FILE"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as lock:
            if os.name == "posix":
                import fcntl

                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    problem = "Another process is building this cache."
                    raise CacheError(problem, file=part, todo="wait for it") from None
            try:
                free = shutil.disk_usage(file.parent).free
                if free < needed:
                    expected, found = f"{needed / 1e9:.1f} GB free", f"{free / 1e9:.1f} GB"
                    raise CacheError(
                        "There is no room for the cache.",
                        file=file,
                        expected=expected,
                        found=found,
                        todo=todo,
                    )
                yield part
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        problem = "The cache cannot be written here."
        raise CacheError(problem, file=file, found=error.strerror or error, todo=todo) from None
