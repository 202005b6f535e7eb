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

ASKED_FOR = 0.9
"""Of the machine's free memory: what ``--set pictures=resident`` takes."""


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
        part_of_picture = picture[rows, columns].copy()
        part_of_label = label[rows, columns].copy()
        return torch.from_numpy(part_of_picture), torch.from_numpy(part_of_label)


class Resident:
    """Every training picture and label map in the memory of the machine or of a GPU; windows are views.
    Digests are checked at once.

    One tensor holds all pictures, one after the other, and one all label maps. Raises FolderError.
    """

    def __init__(self, folder: Folder, device: torch.device, jobs: int, bar: bool = False) -> None:
        self.device = device
        self._sizes = [(row.height, row.width) for row in folder.training]
        areas = [height * width for height, width in self._sizes]
        self._starts = [0, *accumulate(areas)]
        everything = slice(None)
        self._pictures = torch.empty(3 * sum(areas), dtype=torch.uint8, device=device)
        self._labels = torch.empty(sum(areas), dtype=torch.uint8, device=device)
        decoded_rows = with_progress(decoded(folder, jobs), folder, "loading", bar)
        for index, (picture, label) in enumerate(decoded_rows):
            place_of_picture, place_of_label = self.window(index, everything, everything, check=False)
            place_of_picture.copy_(torch.from_numpy(picture))
            place_of_label.copy_(torch.from_numpy(label))

    def __str__(self) -> str:
        where = "memory" if self.device.type == "cpu" else f"the memory of {self._labels.device}"
        gigabytes = (len(self._pictures) + len(self._labels)) / 1e9
        return f"pictures in {where}, {gigabytes:.1f} GB"

    def window(self, index: int, rows: slice, columns: slice, check: bool) -> tuple[Tensor, Tensor]:
        height, width = self._sizes[index]
        start, end = self._starts[index], self._starts[index + 1]
        picture = self._pictures[3 * start : 3 * end].view(height, width, 3)
        label = self._labels[start:end].view(height, width)
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
        pictures = _fastest(config, folder)
    if pictures == "cache":
        require(cache_file(folder, config.cache), folder)
    if pictures == "resident":
        _require_room(config, folder)
        return dataclasses.replace(config, pictures=pictures, workers=0)
    return dataclasses.replace(config, pictures=pictures)


def _fastest(config: Config, folder: Folder) -> str:
    """What ``auto`` is for this folder, on this machine."""
    if _memory_with_room(config, folder, OF_MACHINE):
        return "resident"
    return "files" if _why_no_cache(config, folder) else "cache"


def _require_room(config: Config, folder: Folder) -> None:
    """Raises SettingError: it is known how much memory is free, and the pictures do not fit."""
    free = free_memory()
    if free and not _memory_with_room(config, folder, ASKED_FOR):
        raise SettingError(
            "The pictures do not fit into memory.",
            expected=f"{_bytes(folder) / 1e9:.1f} GB",
            found=f"{free / 1e9:.1f} GB free",
            todo="--set pictures=cache",
        )


def open_source(config: Config, folder: Folder, bar: bool = False) -> Source:
    """The source that resolved settings name. Raises FolderError (a resident picture is not what it was),
    CacheError."""
    if config.pictures == "cache":
        return Cache(folder, cache_file(folder, config.cache))
    if config.pictures == "resident":
        device = _memory_with_room(config, folder, ASKED_FOR) or torch.device("cpu")
        return Resident(folder, device, config.threads, bar)
    reason = _why_no_cache(config, folder)
    return Files(folder, f" ({reason})" if reason else "")


def _why_no_cache(config: Config, folder: Folder) -> str:
    """Why there is no cache to use; empty if there is one."""
    try:
        require(cache_file(folder, config.cache), folder)
    except CacheError as error:
        return f"{error.problem.removesuffix('.')}: {error.file}"
    return ""


def _bytes(folder: Folder) -> int:
    """Of all training pictures and label maps, decoded."""
    return sum(4 * row.height * row.width for row in folder.training)


def _memory_with_room(config: Config, folder: Folder, share: float) -> torch.device | None:
    """The memory that has room for all pictures: a third of what is free on the GPU, or ``share`` of what is
    free on the machine; None if neither has."""
    needed, device = _bytes(folder), torch.device(config.device)
    if device.type == "cuda":
        free_on_gpu, _ = torch.cuda.mem_get_info(device)
        if needed <= OF_GPU * free_on_gpu:
            return device
    copies = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # each process of one training (torchrun) has one
    return torch.device("cpu") if needed * copies <= share * free_memory() else None


def free_memory() -> int:
    """Bytes that this process could still take: of the machine, or of what a container or batch job may use.
    0 if that is unknown."""
    try:
        machine = Path("/proc/meminfo").read_text()
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    found = re.search(r"^MemAvailable: +(\d+) kB", machine, re.MULTILINE)
    free: list[float] = [1024 * int(found[1])] if found else [0]
    for group in groups:
        _, kind, path = group.split(":", 2)
        if kind in ("", "memory"):
            free += _unused_by_levels(kind, path)
    return max(0, int(min(free)))


def _unused_by_levels(kind: str, path: str) -> list[float]:
    """What a control group and each of those above it leave. ``kind``: memory, or empty for version 2."""
    root = Path("/sys/fs/cgroup") / kind
    limit, usage = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes") if kind else ("memory.max", "memory.current")
    )
    group = root / path.lstrip("/")
    levels = [level for level in (group, *group.parents) if level.is_relative_to(root)]
    return [_unused(level, limit, usage) for level in levels]


def _unused(level: Path, limit: str, usage: str) -> float:
    """What a control group leaves: its limit less what is used, but for the files that it holds in memory;
    inf if it has no limit."""
    try:
        statistics = (level / "memory.stat").read_text()
        of_files = re.findall(r"^(?:in)?active_file (\d+)", statistics, re.MULTILINE)
        most, used = int((level / limit).read_text()), int((level / usage).read_text())
    except (OSError, ValueError):  # no such level, or the word "max"
        return float("inf")
    return most - used + sum(map(int, of_files))
