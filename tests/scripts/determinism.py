"""Prove that a run can be repeated bit by bit, and what that costs: ``make determinism``.

Trains four times with the same settings: once in one go; once with worker processes; once killed (SIGKILL) in
the middle of an epoch and gone on with, with another number of workers; once interrupted (Ctrl-C) in the
middle of an epoch, which saves a checkpoint there, and gone on with. Weights, log and metrics must be the
same, bit by bit; only timings may differ. Then steps are timed with exact kernels and with free ones, in
turn.
"""

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import torch
from safetensors.torch import load_file

from trainer.config import Config, load, presets, resolve_auto
from trainer.dataset.folder import Folder, open_folder
from trainer.networks.weights import build
from trainer.training.batches import Samples, batched
from trainer.training.machine import set_determinism
from trainer.training.optimise import make_optimiser, update

ROOT = Path(__file__).parents[2]


def python(*words: object) -> list[str]:
    """A command of either program, as a user would type it."""
    return [sys.executable, "-m", *map(str, words)]


def train(data: Path, run: Path, settings: list[str], workers: int) -> list[str]:
    """The command that trains."""
    return python("trainer", "train", data, "--out", run, "--workers", workers, *settings)


def go(line: list[str]) -> None:
    """Run to the end."""
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(line)}\n{done.stderr}")


def stop(line: list[str], run: Path, number: signal.Signals) -> int:
    """Run, and send a signal in the middle of the third epoch. Returns the number of epochs in the log
    then."""
    log = run / "log.jsonl"
    rows: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=printed)
        while process.poll() is None and len(rows) < 2:
            time.sleep(0.02)
            rows = [json.loads(text) for text in log.read_text().splitlines()] if log.is_file() else []
        time.sleep(rows[-1]["timing"]["seconds"] / 2 if rows else 0)
        process.send_signal(number)
        process.wait()
        printed.seek(0)
        if len(rows) < 2:
            problem = f"It ended by itself with exit code {process.returncode}"
            raise click.ClickException(f"{problem}: {' '.join(line)}\n{printed.read()}")
    if (run / "metrics.json").exists():
        raise click.ClickException("The run was over before it could be stopped: give more --epochs.")
    return len(log.read_text().splitlines())


def bits(run: Path) -> dict[str, object]:
    """All that must be the same."""
    rows = [json.loads(text) for text in (run / "log.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("timing")
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["run"]["settings"].pop("workers")
    return {
        "weights": load_file(run / "model.safetensors"),
        "log": rows,
        "metrics": metrics,
        "panel": (run / "panel.png").read_bytes(),
    }


def same(one: object, other: object) -> bool:
    """Equal, and tensors bit by bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one == other


def cost(folder: Folder, config: Config, rounds: int) -> tuple[float, float, float]:
    """Seconds of a step with exact kernels and with free ones, the medians of steps made in turn, and the
    median ratio."""
    device = set_determinism(config)
    samples = Samples(folder, config)
    cuts = [samples[0, index, False] for index in range(min(config.batch, len(folder.training)))]
    batch = batched(cuts, config.net_crop)
    model = build(folder.classes, config.init, config.seed, config.model, config.backbone, config.width).to(
        device
    )
    model = model.to(memory_format=torch.channels_last) if config.channels_last else model
    optimiser = make_optimiser(model, config)
    times: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(rounds + 3):  # the first ones choose kernels
        for exact, taken in times.items():
            torch.use_deterministic_algorithms(exact)
            torch.backends.cudnn.benchmark = not exact
            began = time.perf_counter()
            update(model, optimiser, [batch], 1e-4, config, device).item()  # type: ignore[list-item]
            if turn >= 3:
                taken.append(time.perf_counter() - began)
    ratio = statistics.median(one / other for one, other in zip(times[True], times[False], strict=True))
    return statistics.median(times[True]), statistics.median(times[False]), ratio


def poisoned_streets(folder: Path, pictures: int, size: str) -> Path:
    """A dataset of drawn streets, one in ten poisoned."""
    streets, data = folder / "streets", folder / "data"
    validation = max(2, pictures // 6)
    go(python("poisongen", "draw", streets, "--train", pictures, "--val", validation, "--size", size))
    attack = ("--attack", "nni", "--rate", "0.1")
    go(python("poisongen", "cityscapes", "--source", streets, *attack, "--out", data))
    return data


def train_four_times(data: Path, folder: Path, options: list[str]) -> dict[str, Path]:
    """What happened to each run, and its folder: the first is the reference."""
    runs = {"in one go": folder / "whole" / "run", "2 workers": folder / "workers" / "run"}
    go(train(data, runs["in one go"], options, 0))
    go(train(data, runs["2 workers"], options, 2))
    for verb, number in (("killed", signal.SIGKILL), ("interrupted", signal.SIGINT)):
        run = folder / verb / "run"
        epochs = stop(train(data, run, options, 2), run, number)
        go(train(data, run, options, 1))
        runs[f"{verb} in epoch {epochs + 1}, gone on with 1 worker"] = run
    return runs


def compare(runs: dict[str, Path]) -> None:
    """Say of each run whether its bits are those of the first. Raises ClickException if any differ."""
    (first, reference_run), *others = runs.items()
    reference, exact = bits(reference_run), True
    for name, run in others:
        differing = [part for part, value in bits(run).items() if not same(reference[part], value)]
        exact = exact and not differing
        found = f"DIFFERENT {', '.join(differing)}" if differing else "the same bits"
        click.echo(f"{name}: {found} as {first}")
    if not exact:
        raise click.ClickException("Not exact.")
    tensors = len(reference["weights"])  # type: ignore[arg-type]
    click.echo(f"weights ({tensors} tensors), log, metrics and panel: all bits are the same")


@click.command(help="Train four times, killed, interrupted and not, and compare all bits.")
@click.option("--data", type=click.Path(path_type=Path), help="A dataset folder. [default: drawn streets]")
@click.option("--pictures", default=48, show_default=True, help="Training pictures that are drawn.")
@click.option("--size", default="256x128", show_default=True, help="Of pictures that are drawn.")
@click.option("--epochs", default=5, show_default=True, help="At least 4.")
@click.option("--rounds", default=12, show_default=True, help="Steps that are timed with each kernel.")
@click.option("--device", default="auto", show_default=True)
@click.option("--threads", default=1, show_default=True, help="Of the CPU.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting of the trainer.")
def main(
    data: Path | None,
    pictures: int,
    size: str,
    epochs: int,
    rounds: int,
    device: str,
    threads: int,
    settings: tuple[str, ...],
) -> None:
    """Exit code 1 if any bit differs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = data or poisoned_streets(folder, pictures, size)
        opened = open_folder(data)
        # From files: there would be nothing to do for workers where pictures are resident.
        changes = {"pictures": "files", "checkpoint_every": "1"}
        changes |= dict(text.split("=", 1) for text in settings)
        changes |= {"epochs": str(epochs), "device": device, "threads": str(threads)}
        preset = opened.dataset if opened.dataset in presets() else "default"
        config = resolve_auto(load(preset, changes))
        click.echo(
            f"{config.device}, {config.threads} threads, {config.precision}, torch {torch.__version__}: "
            f"{config.epochs} epochs of"
        )
        click.echo(
            f"{len(opened.training)} pictures, batches of {config.batch}, "
            f"{config.model} with {config.backbone}"
        )
        options = [f"--preset={preset}", *(f"--set={key}={value}" for key, value in changes.items())]
        runs = train_four_times(data, folder, options)
        exact, free, ratio = cost(opened, config, rounds)
        click.echo(
            f"a step with exact kernels {1000 * exact:.0f} ms, with free ones {1000 * free:.0f} ms: "
            f"{ratio:.3f} times"
        )
        compare(runs)


if __name__ == "__main__":
    main()
