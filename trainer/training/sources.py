"""Where training pixels come from: files that are decoded each time, the cache of decoded pictures, or
memory. The same pixels, bit by bit.

A window of 768² from 2048×1024 takes some 60 ms from files, 1 ms from the cache, and nothing from memory.
"""

import dataclasses
import os
import re
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from trainer.config import Config
from trainer.dataset.cache import Cache, cache_file, decoded, require, with_progress
from trainer.dataset.folder import Folder
from trainer.dataset.pictures import read_label, read_picture
from trainer.errors import CacheError, SettingError

OF_MACHINE, OF_GPU = 1 / 4, 1 / 3
"""Of the free memory: what ``auto`` takes. So the whole of Cityscapes, 25 GB, fits a GPU of 80 GB."""


class Source(Protocol):
    """What ``Samples`` reads from. ``str`` of it is a line for people; ``device`` is where the windows
    lie."""

    device: torch.device

    def window(self, index: int, rows: slice, columns: slice, check: bool) -> tuple[Tensor, Tensor]:
        """The window of picture ``index`` of ``Folder.training``: uint8 (h, w, 3) RGB, and uint8 (h, w)
        training ids.

        ``check``: the digests have not been checked in this run. Raises FolderError, CacheError.
        """
        ...


class Files:
    """Decodes the whole picture and label map for each window. ``why`` completes the line for people."""

    def __init__(self, folder: Folder, why: str = "") -> None:
        self.folder, self.why, self.device = folder, why, torch.device("cpu")

    def __str__(self) -> str:
        return f"pictures from files, decoded each time{self.why}"

    def window(self, index: int, rows: slice, columns: slice, check: bool) -> tuple[Tensor, Tensor]:
        row = self.folder.training[index]
        picture, label = read_picture(row, check), read_label(row, self.folder, check)
        # Copied, so that neither memory nor the way out of a worker process is filled with whole pictures.
        return torch.from_numpy(picture[rows, columns].copy()), torch.from_numpy(label[rows, columns].copy())


class Resident:
    """Every training picture and label map in the memory of the machine or of a GPU; windows are views.
    Digests are checked at once.

    One tensor holds all pictures, one after the other, and one all label maps. Raises FolderError.
    """

    def __init__(self, folder: Folder, device: torch.device, jobs: int, bar: bool = False) -> None:
        self.device = device
        self._sides = [(row.height, row.width) for row in folder.training]
        self._starts = [0, *accumulate(height * width for height, width in self._sides)]
        self._pictures = torch.empty(3 * self._starts[-1], dtype=torch.uint8, device=device)
        self._labels = torch.empty(self._starts[-1], dtype=torch.uint8, device=device)
        everything = slice(None)
        for index, arrays in enumerate(with_progress(decoded(folder, jobs), folder, "loading", bar)):
            for view, array in zip(self.window(index, everything, everything, False), arrays, strict=True):
                view.copy_(torch.from_numpy(array))

    def __str__(self) -> str:
        where = "memory" if self._labels.device.type == "cpu" else f"the memory of {self._labels.device}"
        return f"pictures in {where}, {(len(self._pictures) + len(self._labels)) / 1e9:.1f} GB"

    def window(self, index: int, rows: slice, columns: slice, check: bool) -> tuple[Tensor, Tensor]:
        height, width = self._sides[index]
        start, end = self._starts[index : index + 2]
        picture, label = (
            self._pictures[3 * start : 3 * end].view(height, width, 3),
            self._labels[start:end].view(height, width),
        )
        return picture[rows, columns], label[rows, columns]


def choose_source(config: Config, folder: Folder) -> Config:
    """Resolved settings with ``pictures`` decided, and no workers where pictures are resident: there is
    nothing to do for them.

    ``auto`` is resident if that takes a quarter of the machine's free memory or a third of the GPU's, else a
    fresh cache, else files. Raises CacheError: a cache is asked for, and there is none of this folder.
    SettingError: memory is asked for, and there is not enough.
    """
    pictures = config.pictures
    if pictures == "auto":
        pictures = (
            "resident"
            if _home(config, folder, OF_MACHINE)
            else "files"
            if _no_cache(config, folder)
            else "cache"
        )
    if pictures == "cache":
        require(cache_file(folder, config.cache), folder)
    if pictures == "resident":
        if (free := free_memory()) and not _home(config, folder, 0.9):
            expected, found = f"{_bytes(folder) / 1e9:.1f} GB", f"{free / 1e9:.1f} GB free"
            problem = "The pictures do not fit into memory."
            raise SettingError(problem, expected=expected, found=found, todo="--set pictures=cache")
        return dataclasses.replace(config, pictures=pictures, workers=0)
    return dataclasses.replace(config, pictures=pictures)


def open_source(config: Config, folder: Folder, bar: bool = False) -> Source:
    """The source that settled settings name. Raises FolderError (a resident picture is not what it was),
    CacheError."""
    if config.pictures == "cache":
        return Cache(folder, cache_file(folder, config.cache))
    if config.pictures == "resident":
        return Resident(folder, _home(config, folder, 0.9) or torch.device("cpu"), config.threads, bar)
    return Files(folder, _no_cache(config, folder))


def _no_cache(config: Config, folder: Folder) -> str:
    """Why there is no cache to use, in brackets, or nothing."""
    try:
        require(cache_file(folder, config.cache), folder)
    except CacheError as error:
        problem, file, *_ = str(error).splitlines()
        return f" ({problem.removesuffix('.')}: {file.partition(':')[2].strip()})"
    return ""


def _bytes(folder: Folder) -> int:
    return sum(4 * row.height * row.width for row in folder.training)


def _home(config: Config, folder: Folder, share: float) -> torch.device | None:
    """The memory that has room for all pictures: the GPU's, or up to ``share`` of the machine's free memory;
    None if neither has."""
    needed, device = _bytes(folder), torch.device(config.device)
    if device.type == "cuda" and needed <= OF_GPU * torch.cuda.mem_get_info(device)[0]:
        return device
    # Several processes of one training (torchrun) hold a copy each.
    return (
        torch.device("cpu")
        if needed * int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= share * free_memory()
        else None
    )


def free_memory() -> int:
    """Bytes that this process could still take: of the machine, or of what a container or batch job may use.
    0 if that is unknown."""
    try:
        found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    free: list[float] = [1024 * int(found[1])] if found else [0]
    for group in groups:
        _, kind, path = group.split(":", 2)
        if kind in ("", "memory"):
            root = Path("/sys/fs/cgroup") / kind
            names = (
                ("memory.max", "memory.current")
                if kind == ""
                else ("memory.limit_in_bytes", "memory.usage_in_bytes")
            )
            below = root / path.lstrip("/")
            free += [
                _unused(level, *names) for level in (below, *below.parents) if level.is_relative_to(root)
            ]
    return max(0, int(min(free)))


def _unused(level: Path, limit: str, usage: str) -> float:
    """What a control group leaves: its limit less what is used, but for the files that it holds in memory;
    inf if it has no limit."""
    try:
        held = sum(
            int(number)
            for number in re.findall(
                r"^(?:in)?active_file (\d+)", (level / "memory.stat").read_text(), re.MULTILINE
            )
        )
        return int((level / limit).read_text()) - int((level / usage).read_text()) + held
    except (OSError, ValueError):  # no such level, or the word "max"
        return float("inf")
