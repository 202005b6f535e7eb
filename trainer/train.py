"""Train a model on a dataset folder. Read this file first: it goes from the top to the bottom.

Same folder, settings, threads and machine give the same weights, bit by bit: with any number of workers,
interrupted or not.
"""

import copy
import dataclasses
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from trainer import __version__
from trainer import run_folder as checkpoint
from trainer.config import Config, resolve_auto
from trainer.dataset.folder import Folder
from trainer.errors import Interrupted, RunError, SettingError
from trainer.networks.network import Network
from trainer.networks.weights import build, digest
from trainer.randomness import DROPOUT, raw_bits
from trainer.scoring import evaluate
from trainer.scoring.panel import panel, title
from trainer.training import log, sources
from trainer.training.batches import Samples, Schedule, batched, batches, raise_if_error
from trainer.training.machine import exactness, interruptible, set_determinism
from trainer.training.optimise import average_of, learning_rate, make_optimiser, update
from trainer.training.parallel import SINGLE, Group, with_joint_statistics
from trainer.training.trigger_in_crops import share_of_run

Say = Callable[[str], None]


def train(
    folder: Folder,
    run: Path,
    wanted: Config,
    say: Say = lambda _: None,
    bar: bool = False,
    group: Group = SINGLE,
) -> Config:
    """Train until ``RUN/model.safetensors`` is there; goes on from a checkpoint if there is one. Returns the
    resolved settings.

    ``say`` takes lines for people; ``bar`` shows a progress bar on standard error. In a ``group``, every
    process calls this. Raises RunError (finished, or begun otherwise), FolderError (a changed file),
    CacheError, WeightsError, SettingError, Interrupted (Ctrl-C).
    """
    config: Config = group.gather(begin(folder, run, wanted) if group.first else None)[0]
    device = set_determinism(config)
    if group.gather((run / checkpoint.MODEL).is_file())[0]:
        say(f"{run.name}: is trained already")
        return config
    if config.compile and group.size > 1:
        raise SettingError(
            "Several processes cannot compile yet.", found="compile = true", todo="--set compile=false"
        )
    config = sources.choose_source(config, folder)
    source = sources.open_source(config, folder, bar)
    say(f"{run.name}: {source}")
    if (share := share_of_run(folder, config)) is not None:
        say(f"{run.name}: {100 * share:.1f} % of the relabelled pixels see the whole trigger in their crop")

    # The network and its optimiser. An encoder that knows something already moves at a quarter of the pace.
    model = build(folder.classes, config.init, config.seed, config.model, config.backbone, config.width)
    if group.size > 1:
        with_joint_statistics(model)
    model = model.to(device)
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimiser, average = make_optimiser(model, config), average_of(model, config)
    compiled: nn.Module = torch.compile(model, dynamic=False) if config.compile else model  # type: ignore[assignment]
    result: Network = average.module if average else model  # type: ignore[assignment]  # what is scored, shown and kept in the end

    # Where an earlier part of this run has stopped, if there was one.
    done, loss_sum = 0, torch.zeros((), dtype=torch.float64, device=device)
    if (run / checkpoint.CHECKPOINT).is_file():
        facts = checkpoint.restore(run / checkpoint.CHECKPOINT, model, optimiser, average)
        done = facts["step"]
        loss_sum += facts["loss_sum"] if group.first else 0  # each process holds its own share
    if len(set(group.gather(done))) > 1:
        raise RunError(
            "The processes do not see the same checkpoint.",
            file=run,
            todo="give them a folder that all share",
        )
    samples, schedule = Samples(folder, config, source), Schedule(len(folder.training), config, done, group)
    total = schedule.steps * config.epochs
    if group.first and done < total:
        remember(folder, run, config, group, going_on=done > 0)

    if done:
        say(
            f"{run.name}: going on after epoch {done // schedule.steps}, step {done % schedule.steps} of {schedule.steps}"
        )
    if done < total:
        pace = seconds_per_step(model, samples, schedule, config, device, group)
        say(
            f"{run.name}: {log.forecast((total - done) * pace, total - done, schedule.batch, config, group.size)}"
        )

    # Step by step; after each epoch a row of the log, and now and then a checkpoint and a panel.
    parts, stop = batches(samples, schedule, config), False
    with (
        interruptible() as interrupted,
        log.opened(run, done // schedule.steps, config.tensorboard)
        if group.first
        else nullcontext() as journal,
        tqdm(
            total=total * schedule.batch,
            initial=done * schedule.batch,
            unit=" pictures",
            disable=not bar,
            leave=False,
        ) as progress,
    ):
        began, seen, shown = time.perf_counter(), 0, 0.0
        for step in range(done, total):
            epoch, place = divmod(
                step + 1, schedule.steps
            )  # epochs finished after this step, and steps of the next

            lr = learning_rate(config, step, total)
            address = raw_bits(config.seed, DROPOUT, group.rank, step, 1)
            torch.manual_seed(int(address[0]))  # what a network draws has an address, too
            loss = update(
                compiled, optimiser, list(islice(parts, config.accumulate)), lr, config, device, group
            )
            if average:
                average.update_parameters(model)
            loss_sum += loss
            seen += schedule.batch
            progress.update(schedule.batch)
            if bar and time.perf_counter() - shown > 1:  # a GPU has to be waited for to know the loss
                progress.set_postfix(
                    epoch=f"{step // schedule.steps + 1}/{config.epochs}",
                    loss=f"{loss.item() * group.size:.3f}",
                )
                shown = time.perf_counter()

            stop = group.any(interrupted.is_set())
            if place == 0:
                mean = group.add(loss_sum.clone()).item() / schedule.steps
                loss_sum.zero_()
                if not math.isfinite(mean):
                    found, todo = f"a loss of {mean}", "start anew with a lower lr: --set lr=1e-4"
                    raise RunError(
                        f"Training went astray in epoch {epoch}.", file=run, found=found, todo=todo
                    )
                row = log.row(epoch, mean, lr, time.perf_counter() - began, seen)
                predict = evaluate.predictor(result, config.input_scale, device)
                if config.validate_every and epoch % config.validate_every == 0:
                    row["miou"] = evaluate.clean_miou(folder, predict, group)
                if journal:
                    journal.add(row)
                    with progress.external_write_mode():
                        say(f"{run.name}: {log.line(row, config.epochs)}")
            if (place == 0 and (epoch % config.checkpoint_every == 0 or step + 1 == total)) or stop:
                facts = {"step": step + 1, "loss_sum": group.add(loss_sum.clone()).item()}
                if group.first:
                    checkpoint.save(run / checkpoint.CHECKPOINT, model, optimiser, average, facts)
                group.gather(None)  # nobody leaves before it is there
            if place == 0:
                if config.panel_every and epoch % config.panel_every == 0 and group.first:
                    (run / "panels").mkdir(exist_ok=True)
                    panel(
                        folder,
                        predict,
                        run / "panels" / f"epoch-{epoch:04}.png",
                        f"{title(run, folder)}, epoch {epoch}",
                    )
                began, seen = time.perf_counter(), 0
            if stop and step + 1 < total:
                todo = "give the same command again: it goes on here, to the same weights"
                where = f"epoch {epoch + 1}, after step {place} of {schedule.steps}"
                raise Interrupted(
                    f"Interrupted in {where}. A checkpoint is saved.",
                    file=run / checkpoint.CHECKPOINT,
                    todo=todo,
                )

    if group.first:
        checkpoint.save_tensors(run / checkpoint.MODEL, result.state_dict())
    group.gather(None)  # nobody goes on to score it before it is there
    if stop:
        todo = "give the same command again: it scores the model"
        raise Interrupted(
            "Interrupted in the last step. The training is finished.", file=run / checkpoint.MODEL, todo=todo
        )
    return config


def begin(folder: Folder, run: Path, wanted: Config) -> Config:
    """Decide whether ``run`` can be begun or gone on with. Returns the resolved settings. Raises RunError,
    SettingError.

    What was left to the machine (device, threads, precision) is what the run began with. A run that has
    trained nothing yet that would be lost may begin anew, with any settings.
    """
    if wanted.tensorboard:
        log.require_tensorboard()
    file = run / checkpoint.RUN
    if not file.exists():
        if run.exists() and (not run.is_dir() or any(path.name != checkpoint.LOCK for path in run.iterdir())):
            expected, todo = "a new or empty folder, or a run that was interrupted", "choose another --out"
            raise RunError("The folder of the run is in use.", file=run, expected=expected, todo=todo)
        return resolve_auto(wanted)
    if (run / checkpoint.METRICS).exists():
        raise RunError(
            "The run is finished.", file=run, todo="choose another --out, or score it: python -m trainer eval"
        )
    if not any((run / name).exists() for name in (checkpoint.CHECKPOINT, checkpoint.MODEL)):
        return resolve_auto(wanted)
    facts = checkpoint.read_json(file)
    begun = checkpoint.settings_of(facts, run)
    if facts["dataset"]["identity"] != folder.identity:
        expected, found, todo = (
            facts["dataset"]["identity"],
            folder.identity,
            "choose another --out, or give the same dataset",
        )
        raise RunError(
            "The run was begun on another dataset.", file=run, expected=expected, found=found, todo=todo
        )
    automatic = {"device": "auto", "threads": 0, "precision": "auto"}
    left: dict[str, Any] = {
        key: getattr(begun, key) for key, auto in automatic.items() if getattr(wanted, key) == auto
    }
    config = resolve_auto(dataclasses.replace(wanted, **left))
    if differences := begun.differences(config):
        todo = "give the settings it was begun with, or choose another --out"
        raise RunError(
            "The run was begun with other settings.", file=run, found="; ".join(differences), todo=todo
        )
    return config


def remember(folder: Folder, run: Path, config: Config, group: Group, going_on: bool) -> None:
    """Write ``run.json`` when a run begins; when it goes on with other packages or processes, note there that
    it is not exact."""
    file, exact = run / checkpoint.RUN, exactness(config, group)
    if not going_on:
        run.mkdir(parents=True, exist_ok=True)
        facts: dict[str, Any] = {
            "trainer": __version__,
            "data": str(folder.root),
            "config": dataclasses.asdict(config),
        }
        facts |= {
            "dataset": evaluate.dataset_facts(folder),
            "environment": evaluate.versions(),
            "exactness": exact,
        }
        facts |= {"initial_weights": digest(config.init, config.backbone)}
        checkpoint.write_json(file, facts)
        return
    facts = checkpoint.read_json(file)
    now = {"environment": evaluate.versions(), "exactness": exact}
    if facts.get("exactness", {}).get("level") != "mixed" and any(
        facts.get(key) != value for key, value in now.items()
    ):
        checkpoint.write_json(file, facts | {"exactness": exact | {"level": "mixed"}})


def seconds_per_step(
    model: Network, samples: Samples, schedule: Schedule, config: Config, device: torch.device, group: Group
) -> float:
    """Time a few real steps on a copy of the network, which is thrown away: the run itself does not
    notice."""
    model = copy.deepcopy(model)
    optimiser = make_optimiser(model, config)
    times = []
    for epoch in range(3):  # the first one also pays for choosing kernels
        began = time.perf_counter()
        cuts = [samples[epoch, index, False] for index in range(schedule.part)]
        parts = [raise_if_error(batched(cuts, config.net_crop))] * config.accumulate
        if config.workers:
            began = time.perf_counter()  # others read while the device computes
        update(model, optimiser, parts, 0.0, config, device, group).item()
        times.append(time.perf_counter() - began)
    return min(times[1:])
