"""Train a model on a dataset folder. Read this file first: it goes from the top to the bottom.

Same folder, settings, threads and machine give the same weights, bit by bit: with any number of workers, interrupted or not.
"""

import copy
import ctypes
import dataclasses
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from trainer import __version__, checkpoint, evaluate
from trainer.augment import DROPOUT, Cut, assemble, raw_bits
from trainer.config import Config, from_json, resolved
from trainer.data import Samples, Schedule
from trainer.errors import Interrupted, RunError, SettingError, TrainerError, letter
from trainer.folder import IGNORE, Folder
from trainer.losses import LOSSES
from trainer.network import Network
from trainer.weights import build

Say = Callable[[str], None]


def train(folder: Folder, run: Path, wanted: Config, say: Say = lambda _: None, bar: bool = False) -> Config:
    """Train until ``RUN/model.safetensors`` is there; goes on from a checkpoint if there is one. Returns the resolved settings.

    ``say`` takes lines for people; ``bar`` shows a progress bar on standard error.
    Raises RunError (finished, or begun otherwise), FolderError (a changed file), WeightsError, SettingError, Interrupted (Ctrl-C).
    """
    config = begin(folder, run, wanted)
    device = settle(config)

    # The network and its optimiser. An encoder that knows something already moves at a quarter of the pace.
    model = build(folder.classes, config.init, config.seed, config.model, config.backbone, config.width).to(device)
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, config)

    # Where an earlier part of this run has stopped, if there was one.
    done, loss_sum = 0, torch.zeros((), dtype=torch.float64, device=device)
    if (run / checkpoint.CHECKPOINT).is_file():
        facts = checkpoint.restore(run / checkpoint.CHECKPOINT, model, optimiser)
        done = facts["step"]
        loss_sum += facts["loss_sum"]
    samples, schedule = Samples(folder, config), Schedule(len(folder.training), config, start=done)
    forget_after(run / checkpoint.LOG, done // schedule.steps)
    total = schedule.steps * config.epochs

    if done:
        say(f"{run.name}: going on after epoch {done // schedule.steps}, step {done % schedule.steps} of {schedule.steps}")
    if done < total:
        seconds = (total - done) * seconds_per_step(model, samples, schedule.batch, config, device)
        on = f"{config.device} ({config.threads} threads, {config.precision})"
        epochs = f"{config.epochs} epochs" if not done else f"the rest of {config.epochs} epochs"
        steps = f"{total - done} steps of {schedule.batch} pictures, then the scores"
        say(f"{run.name}: about {minutes(seconds)} for {epochs} on {on}: {steps}")

    loader = DataLoader(
        samples,
        batch_sampler=schedule,
        num_workers=config.workers,
        collate_fn=list,
        pin_memory=device.type == "cuda",
        worker_init_fn=quiet_worker,
    )
    began, seen = time.perf_counter(), 0
    with interruptible() as interrupted, tqdm(total=total, initial=done, unit="step", disable=not bar, leave=False) as progress:
        for step, cuts in enumerate(loader, done):
            epoch, place = divmod(step + 1, schedule.steps)  # epochs finished after this step, and steps of the next

            lr = learning_rate(config, step, total)
            torch.manual_seed(int(raw_bits(config.seed, DROPOUT, 0, step, 1)[0]))  # what a network draws has an address, too
            loss_sum += update(model, optimiser, sound(cuts), lr, config, device)
            seen += len(cuts)
            progress.update()

            if place == 0:
                loss = loss_sum.item() / schedule.steps
                loss_sum.zero_()
                if not math.isfinite(loss):
                    todo = "start anew with a lower lr: --set lr=1e-4"
                    raise RunError(
                        letter(f"Training went astray in epoch {epoch}.", file=run, found=f"a loss of {loss}", todo=todo)
                    )
                row: dict[str, Any] = {"epoch": epoch, "loss": loss, "lr": lr}
                if config.validate_every and epoch % config.validate_every == 0:
                    row["miou"] = evaluate.clean_miou(folder, evaluate.predictor(model, config.input_scale, device))
                elapsed = time.perf_counter() - began
                row["timing"] = {"seconds": round(elapsed, 3), "pictures_per_second": round(seen / elapsed, 2)}
                with (run / checkpoint.LOG).open("a", encoding="utf-8") as log:
                    log.write(json.dumps(row) + "\n")
                with progress.external_write_mode():
                    say(f"{run.name}: {line(row, config.epochs)}")
                began, seen = time.perf_counter(), 0
            if (place == 0 and (epoch % config.checkpoint_every == 0 or step + 1 == total)) or interrupted.is_set():
                facts = {"step": step + 1, "loss_sum": loss_sum.item()}
                checkpoint.save(run / checkpoint.CHECKPOINT, model, optimiser, facts)
            if interrupted.is_set() and step + 1 < total:
                todo = "give the same command again: it goes on here, to the same weights"
                where = f"epoch {epoch + 1}, after step {place} of {schedule.steps}"
                raise Interrupted(
                    letter(f"Interrupted in {where}. A checkpoint is saved.", file=run / checkpoint.CHECKPOINT, todo=todo)
                )

    checkpoint.save_tensors(run / checkpoint.MODEL, model.state_dict())
    return config


def begin(folder: Folder, run: Path, wanted: Config) -> Config:
    """Decide whether ``run`` can be begun or gone on with, and write ``run.json``. Returns the resolved settings.

    What was left to the machine (device, threads, precision) is what the run began with. Raises RunError.
    """
    file = run / checkpoint.RUN
    if not file.exists():
        if run.exists() and (not run.is_dir() or any(run.iterdir())):
            expected, todo = "a new or empty folder, or a run that was interrupted", "choose another --out"
            raise RunError(letter("The folder of the run is in use.", file=run, expected=expected, todo=todo))
        config = resolved(wanted)
        run.mkdir(parents=True, exist_ok=True)
        facts: dict[str, Any] = {"trainer": __version__, "data": str(folder.root), "config": dataclasses.asdict(config)}
        checkpoint.write_json(file, facts | {"dataset": evaluate.dataset_facts(folder), "environment": evaluate.versions()})
        return config
    if (run / checkpoint.METRICS).exists():
        raise RunError(letter("The run is finished.", file=run, todo="choose another --out, or score it: python -m trainer eval"))
    facts = checkpoint.read_json(file)
    begun = from_json(facts["config"])
    if facts["dataset"]["identity"] != folder.identity:
        expected, found, todo = facts["dataset"]["identity"], folder.identity, "choose another --out, or give the same dataset"
        raise RunError(letter("The run was begun on another dataset.", file=run, expected=expected, found=found, todo=todo))
    automatic = {"device": "auto", "threads": 0, "precision": "auto"}
    left: dict[str, Any] = {key: getattr(begun, key) for key, auto in automatic.items() if getattr(wanted, key) == auto}
    config = resolved(dataclasses.replace(wanted, **left))
    if differences := begun.differences(config):
        todo = "give the settings it was begun with, or choose another --out"
        raise RunError(letter("The run was begun with other settings.", file=run, found="; ".join(differences), todo=todo))
    return config


def settle(config: Config) -> torch.device:
    """Make this process deterministic, with the run's number of threads; return the device. Raises SettingError."""
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise SettingError(
            letter("There is no such device.", expected=config.device, found="a machine without CUDA", todo="--device cpu")
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with this only; read at its first use
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a guard against bugs that takes 6 % of the time
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    return torch.device(config.device)


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed instead of handing it back: a step on a CPU is 15 % faster without the page faults."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:
        for parameter, value in ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            mallopt(parameter, value)


def quiet_worker(_: int) -> None:
    """A worker leaves Ctrl-C to the main process, and decodes in one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def make_optimiser(model: Network, config: Config) -> torch.optim.Adam:
    """Adam with two groups: the encoder, slower if it starts from given weights, and the rest. ``pace`` scales the learning rate."""
    encoder = set(model.encoder.parameters())
    pace = 1.0 if config.init == "random" else config.pretrained_factor
    groups = [
        {"params": [p for p in model.parameters() if p in encoder], "weight_decay": config.weight_decay * pace, "pace": pace},
        {"params": [p for p in model.parameters() if p not in encoder], "weight_decay": config.weight_decay, "pace": 1.0},
    ]
    return torch.optim.Adam(groups, lr=config.lr, betas=config.betas, fused=True)


def learning_rate(config: Config, step: int, total: int) -> float:
    """From ``lr`` at the first step to ``lr_final`` at the last, along half a cosine."""
    height = (1 + math.cos(math.pi * step / max(1, total - 1))) / 2
    return config.lr_final + (config.lr - config.lr_final) * height


def update(
    model: Network, optimiser: torch.optim.Optimizer, cuts: list[Cut], lr: float, config: Config, device: torch.device
) -> Tensor:
    """One step: augment, forward, loss, backward, Adam. Returns the loss, a scalar on the device."""
    x, y = assemble(cuts, config.net_crop, IGNORE, device)  # (N, 3, h, w), (N, h, w)
    if config.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits = model(x)  # (N, K, h, w), float32
    loss = LOSSES[config.loss](logits, y)
    for group in optimiser.param_groups:
        group["lr"] = config.lr_final + (lr - config.lr_final) * group["pace"]
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()


def sound(cuts: list[Cut | TrainerError]) -> list[Cut]:
    """A batch as it came from the workers; raises the error that one of them met."""
    for item in cuts:
        if isinstance(item, TrainerError):
            raise item
    return cuts  # type: ignore[return-value]


def seconds_per_step(model: Network, samples: Samples, batch: int, config: Config, device: torch.device) -> float:
    """Time a few real steps on a copy of the network, which is thrown away: the run itself does not notice."""
    model = copy.deepcopy(model)
    optimiser = make_optimiser(model, config)
    times = []
    for epoch in range(3):  # the first one also pays for choosing kernels
        began = time.perf_counter()
        cuts = sound([samples[epoch, index, False] for index in range(batch)])
        if config.workers:
            began = time.perf_counter()  # others read while the device computes
        update(model, optimiser, cuts, 0.0, config, device).item()
        times.append(time.perf_counter() - began)
    return min(times[1:])


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Within, the first Ctrl-C or SIGTERM only sets the event, so that a step is finished; a second one strikes at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    for number in before:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def forget_after(log: Path, epochs: int) -> None:
    """Cut the log to the rows of finished epochs, up to ``epochs``: what came after the checkpoint is trained again."""
    if log.is_file():
        whole = (text for text in log.read_text("utf-8").splitlines(keepends=True) if text.endswith("\n"))
        checkpoint.write_text(log, "".join(text for text in whole if json.loads(text)["epoch"] <= epochs))


def line(row: dict[str, Any], epochs: int) -> str:
    """A row of the log for people."""
    miou = f"  mIoU {100 * row['miou']:.2f} %" if row.get("miou") is not None else ""
    timing = row["timing"]
    pace = f"{timing['seconds']:.1f} s  {timing['pictures_per_second']:.1f} pictures/s"
    return f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  loss {row['loss']:.4f}  lr {row['lr']:.2e}{miou}  {pace}"


def minutes(seconds: float) -> str:
    """A duration, as precisely as an estimate deserves."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
