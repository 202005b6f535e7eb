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
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from trainer import __version__, run_folder
from trainer.config import Config, resolve_auto
from trainer.dataset.facts import dataset_facts
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


@dataclass
class Training:
    """What moves while a run is trained, and what it is trained with.

    ``average``: of the weights, where the settings want one. ``done``: steps that are finished. ``loss_sum``:
    this process's share of the losses of the epoch's steps so far, a float64 scalar on the device.
    """

    folder: Folder
    run: Path
    config: Config
    group: Group
    device: torch.device
    model: Network
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None
    done: int
    loss_sum: Tensor

    @property
    def result(self) -> Network:
        """What is scored, shown and kept in the end."""
        return cast(Network, self.average.module) if self.average else self.model


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
    if group.gather((run / run_folder.MODEL).is_file())[0]:
        say(f"{run.name}: is trained already")
        return config
    if config.compile and group.size > 1:
        problem = "Several processes cannot compile yet."
        raise SettingError(problem, found="compile = true", todo="--set compile=false")

    # Where the pixels come from, and how much of the attack the boxes will show.
    config = sources.choose_source(config, folder)
    source = sources.open_source(config, folder, bar)
    say(f"{run.name}: {source}")
    share = share_of_run(folder, config)
    if share is not None:
        say(f"{run.name}: {100 * share:.1f} % of the relabelled pixels see the whole trigger in their crop")

    # The network and its optimiser. An encoder with given weights moves at a quarter of the pace.
    model = make_network(folder, config, device, group)
    compiled: nn.Module = torch.compile(model, dynamic=False) if config.compile else model  # type: ignore[assignment]
    training = Training(
        folder, run, config, group, device, model,
        optimiser=make_optimiser(model, config),
        average=average_of(model, config),
        done=0,
        loss_sum=torch.zeros((), dtype=torch.float64, device=device),
    )  # fmt: skip

    # Where an earlier part of this run has stopped, if there was one.
    resume(training)
    samples = Samples(folder, config, source)
    schedule = Schedule(len(folder.training), config, training.done, group)
    if training.done < schedule.total:
        open_run(training, schedule, samples, say)

    # Step by step; after each epoch a row of the log, and now and then a checkpoint and a panel.
    parts = batches(samples, schedule, config)
    finished_epochs = training.done // schedule.steps
    journal_of_run = log.opened(run, finished_epochs, config.tensorboard) if group.first else nullcontext()
    progress_bar = log.ProgressBar(schedule.total * schedule.batch, training.done * schedule.batch, bar)
    stop = False
    with interruptible() as interrupted, journal_of_run as journal, progress_bar as progress:
        clock = log.Clock()
        for step in range(training.done, schedule.total):
            lr = learning_rate(config, step, schedule.total)
            seed_what_networks_draw(config, group, step)
            some = list(islice(parts, config.accumulate))
            loss = update(compiled, training.optimiser, some, lr, config, device, group)
            if training.average:
                training.average.update_parameters(model)
            training.loss_sum += loss
            training.done = step + 1
            clock.pictures += schedule.batch
            progress.add(schedule.batch, f"{step // schedule.steps + 1}/{config.epochs}", loss * group.size)

            stop = group.any(interrupted.is_set())
            epoch_ends = training.done % schedule.steps == 0
            epoch = training.done // schedule.steps  # epochs that are finished
            if epoch_ends:
                row = end_epoch(training, schedule, lr, clock)
                if journal:
                    journal.add(row)
                    with progress.hidden():
                        say(f"{run.name}: {row.line(config.epochs)}")
            last = training.done == schedule.total
            if stop or last or (epoch_ends and is_due(epoch, config.checkpoint_every)):
                save_checkpoint(training)
            if epoch_ends:
                if group.first and is_due(epoch, config.panel_every):
                    draw_panel(training, epoch)
                clock = log.Clock()
            if stop and not last:
                raise interruption(training, schedule)

    if group.first:
        run_folder.save_tensors(run / run_folder.MODEL, training.result.state_dict())
    group.wait()  # every process reads the model to score it
    if stop:
        raise Interrupted(
            "Interrupted in the last step. The training is finished.",
            file=run / run_folder.MODEL,
            todo="give the same command again: it scores the model",
        )
    return config


def make_network(folder: Folder, config: Config, device: torch.device, group: Group) -> Network:
    """The network with its first weights, on the device. Raises WeightsError."""
    model = build(folder.classes, config.init, config.seed, config.model, config.backbone, config.width)
    if group.size > 1:
        with_joint_statistics(model)
    model = model.to(device)
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model


def resume(training: Training) -> None:
    """Bring a training to where its checkpoint was saved, if there is one. Raises RunError: the processes see
    different ones."""
    file = training.run / run_folder.CHECKPOINT
    if file.is_file():
        stopped = run_folder.restore(file, training.model, training.optimiser, training.average)
        training.done = stopped.step
        if training.group.first:  # each process has a share of the sum: this one has all of what is done
            training.loss_sum += stopped.loss_sum
    if len(set(training.group.gather(training.done))) > 1:
        problem = "The processes do not see the same checkpoint."
        raise RunError(problem, file=training.run, todo="give them a folder that all share")


def open_run(training: Training, schedule: Schedule, samples: Samples, say: Say) -> None:
    """Write ``run.json``, and say from where the run goes on and how long it will take."""
    run, config, group, done = training.run, training.config, training.group, training.done
    if group.first:
        record(training.folder, run, config, group, going_on=done > 0)
    if done:
        epoch, step = divmod(done, schedule.steps)
        say(f"{run.name}: going on after epoch {epoch}, step {step} of {schedule.steps}")
    left = schedule.total - done
    pace = seconds_per_step(training.model, samples, schedule, config, training.device, group)
    say(f"{run.name}: {log.forecast(left * pace, left, schedule.batch, config, group.size)}")


def seed_what_networks_draw(config: Config, group: Group, step: int) -> None:
    """What a network draws in a step, such as dropout, has an address, too."""
    (bits,) = raw_bits(config.seed, DROPOUT, group.rank, step, 1)
    torch.manual_seed(int(bits))


def is_due(epoch: int, every: int) -> bool:
    """Does it happen after this epoch? ``every`` 0: never."""
    return every > 0 and epoch % every == 0


def end_epoch(training: Training, schedule: Schedule, lr: float, clock: log.Clock) -> log.Epoch:
    """What is said of the epoch that has just ended; its losses are forgotten. Raises RunError: the mean loss
    is not finite."""
    config, group = training.config, training.group
    number = training.done // schedule.steps
    loss = group.add(training.loss_sum.clone()).item() / schedule.steps
    training.loss_sum.zero_()
    if not math.isfinite(loss):
        raise RunError(
            f"The loss is not finite after epoch {number}.",
            file=training.run,
            found=f"a loss of {loss}",
            todo="start anew with a lower lr: --set lr=1e-4",
        )
    row = log.Epoch(number, loss, lr, clock.seconds, clock.pictures)
    if is_due(number, config.validate_every):
        predict = evaluate.predictor(training.result, config.input_scale, training.device)
        row = dataclasses.replace(row, miou=evaluate.clean_miou(training.folder, predict, group))
    return row


def save_checkpoint(training: Training) -> None:
    """Save all that is needed to go on from here. No process goes on before the file is written."""
    loss_sum = training.group.add(training.loss_sum.clone()).item()
    if training.group.first:
        run_folder.save(
            training.run / run_folder.CHECKPOINT,
            training.model,
            training.optimiser,
            training.average,
            run_folder.Stopped(training.done, loss_sum),
        )
    training.group.wait()


def draw_panel(training: Training, epoch: int) -> None:
    """Draw what the network predicts after an epoch, into ``RUN/panels``."""
    folder, run = training.folder, training.run
    predict = evaluate.predictor(training.result, training.config.input_scale, training.device)
    (run / "panels").mkdir(exist_ok=True)
    file = run / "panels" / f"epoch-{epoch:04}.png"
    panel(folder, predict, file, f"{title(run, folder)}, epoch {epoch}")


def interruption(training: Training, schedule: Schedule) -> Interrupted:
    """The error for a run that was interrupted, and whose checkpoint is saved."""
    epoch, step = divmod(training.done, schedule.steps)
    return Interrupted(
        f"Interrupted in epoch {epoch + 1}, after step {step} of {schedule.steps}. A checkpoint is saved.",
        file=training.run / run_folder.CHECKPOINT,
        todo="give the same command again: it goes on here, to the same weights",
    )


def begin(folder: Folder, run: Path, wanted: Config) -> Config:
    """Decide whether ``run`` can be begun or gone on with. Returns the resolved settings. Raises RunError,
    SettingError.

    What was left to the machine (device, threads, precision) is what the run began with. A run that has
    trained nothing yet that would be lost may begin anew, with any settings.
    """
    if wanted.tensorboard:
        log.require_tensorboard()
    if not (run / run_folder.RUN).exists():
        require_unused(run)
        return resolve_auto(wanted)
    if (run / run_folder.METRICS).exists():
        todo = "choose another --out, or score it: python -m trainer eval"
        raise RunError("The run is finished.", file=run, todo=todo)
    if not any((run / name).exists() for name in (run_folder.CHECKPOINT, run_folder.MODEL)):
        return resolve_auto(wanted)
    begun = run_folder.read_run(run)
    if begun.dataset.identity != folder.identity:
        raise RunError(
            "The run was begun on another dataset.",
            file=run,
            expected=begun.dataset.identity,
            found=folder.identity,
            todo="choose another --out, or give the same dataset",
        )
    config = resolve_auto(as_begun(wanted, begun.config))
    differences = begun.config.differences(config)
    if differences:
        raise RunError(
            "The run was begun with other settings.",
            file=run,
            found="; ".join(differences),
            todo="give the settings it was begun with, or choose another --out",
        )
    return config


def require_unused(run: Path) -> None:
    """Raises RunError: ``run`` is a file, or a folder with something in it."""
    if not run.exists():
        return
    if not run.is_dir() or any(path.name != run_folder.LOCK for path in run.iterdir()):
        raise RunError(
            "The folder of the run is in use.",
            file=run,
            expected="a new or empty folder, or a run that was interrupted",
            todo="choose another --out",
        )


def as_begun(wanted: Config, begun: Config) -> Config:
    """The wanted settings, with those of ``begun`` where they leave the choice to the machine."""
    chosen_then: dict[str, Any] = {}
    for name, automatic in (("device", "auto"), ("threads", 0), ("precision", "auto")):
        if getattr(wanted, name) == automatic:
            chosen_then[name] = getattr(begun, name)
    return dataclasses.replace(wanted, **chosen_then)


def record(folder: Folder, run: Path, config: Config, group: Group, going_on: bool) -> None:
    """Write ``run.json`` when a run begins; when it goes on with other packages or processes, note there that
    it is not exact."""
    now = run_folder.RunFacts(
        trainer=__version__,
        data=str(folder.root),
        config=config,
        dataset=dataset_facts(folder),
        environment=evaluate.versions(),
        exactness=exactness(config, group),
        initial_weights=digest(config.init, config.backbone),
    )
    if not going_on:
        run.mkdir(parents=True, exist_ok=True)
        run_folder.write_run(run, now)
        return
    begun = run_folder.read_run(run)
    same = begun.environment == now.environment and begun.exactness == now.exactness
    if begun.exactness.level != "mixed" and not same:
        mixed = dataclasses.replace(now.exactness, level="mixed")
        run_folder.write_run(run, dataclasses.replace(begun, exactness=mixed))


def seconds_per_step(
    model: Network, samples: Samples, schedule: Schedule, config: Config, device: torch.device, group: Group
) -> float:
    """Time a few real steps on a copy of the network, which is thrown away: nothing of the run changes."""
    model = copy.deepcopy(model)
    optimiser = make_optimiser(model, config)
    times = []
    for epoch in range(3):  # the first one includes the choice of kernels
        began = time.perf_counter()
        cuts = [samples[epoch, index, False] for index in range(schedule.part)]
        parts = [raise_if_error(batched(cuts, config.net_crop))] * config.accumulate
        if config.workers:
            began = time.perf_counter()  # others read while the device computes
        update(model, optimiser, parts, 0.0, config, device, group).item()
        times.append(time.perf_counter() - began)
    return min(times[1:])
