"""Pictures a second of crops out of large drawn streets: from files, cache and memory, without loading."""

import dataclasses
import resource
import statistics
import time

import cv2
import torch

from tests.scripts import bench_trainer, determinism
from tests.scripts.gpu.results import Findings, Kernels, Speed, Streets
from tests.scripts.gpu.stages import Report, Request
from tests.support import training_speed
from trainer.config import Config, load, resolve_auto
from trainer.dataset import cache
from trainer.dataset.folder import open_folder

FOLDER = "large"
MOST_DRAWN = 32  # a street of 2048×1024 takes a core some 2 seconds; each core draws one or two


def settings(request: Request) -> Config:
    """A SwiftNet-18 from random weights, as the trainer resolves it for the device."""
    sizes = request.sizes
    changes = {"epochs": 10000, "batch": sizes.batch, "crop": f"{sizes.crop}x{sizes.crop}"}
    changes |= {"init": "random", "device": request.device, "threads": sizes.threads}
    return resolve_auto(load("default", changes))


def streets(request: Request, report: Report) -> None:
    """Draw on all cores, freeze, and decode into a cache."""
    sizes, threads = request.sizes, settings(request).threads
    drawn, began = min(MOST_DRAWN, 2 * threads), time.monotonic()
    place = request.scratch / FOLDER
    folder, pictures = bench_trainer.dataset(place, None, sizes.names, sizes.drawn, drawn)
    frozen = time.monotonic()
    cache.build(folder, cache.cache_file(folder, "auto"), threads)
    built = time.monotonic()
    report(Findings(streets=(Streets(pictures, threads, frozen - began, built - frozen),)))


def speed(request: Request, report: Report) -> None:
    """Time training with the kernels that ``argument`` names: exact or free, compiled or not.

    Not compiled: from all sources; then a step with exact kernels is held against one with free ones.
    Compiled: resident pictures only, since the time goes into compiling.
    """
    sizes, exact = request.sizes, request.argument.startswith("exact")
    compiled = request.argument.endswith("compiled")
    config = dataclasses.replace(settings(request), deterministic=exact, compile=compiled)
    folder = open_folder(request.scratch / FOLDER / "data")
    cv2.setNumThreads(1)
    kinds = ("resident",) if compiled else training_speed.KINDS
    measured = training_speed.speeds(folder, config, kinds, sizes.rounds, None, sizes.turn_seconds)
    memory = peak_memory(config)
    for each in measured:
        paces = each.pictures_per_second
        found = Speed(
            kernels="exact" if exact else "free",
            compiled=compiled,
            source=each.source,
            workers=each.workers,
            batch=config.batch,
            crop=config.crop[0],
            pictures_per_second=statistics.median(paces),
            lowest=min(paces),
            highest=max(paces),
            percent_of_no_loading=statistics.median(each.percent_of(measured[0])),
            peak_memory_gb=memory,
        )
        report(Findings(speeds=(found,)))
    if request.argument == "exact":
        exact_seconds, free_seconds, ratio = determinism.cost(folder, config, 2 * sizes.rounds)
        report(Findings(kernels=(Kernels(1000 * exact_seconds, 1000 * free_seconds, ratio),)))


def peak_memory(config: Config) -> float:
    """GB that were taken at once: of the GPU by torch; on a CPU by this process."""
    if config.device.startswith("cuda"):
        return torch.cuda.max_memory_reserved(config.device) / 1e9
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
