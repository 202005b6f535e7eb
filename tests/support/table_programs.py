"""Stand-ins for poisongen and the trainer, for tests of what makes tables: no picture, no network, 20 ms.

They write what the runner looks at. The "weights" are a digest of all that shaped them, epoch by epoch, so
that a training that lost or repeated an epoch ends with others. Every call leaves a line in the file
``TABLE_CALLS``; an epoch takes ``TABLE_PACE`` seconds.
"""

import argparse
import fcntl
import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

stopped = threading.Event()


def say(text: str) -> None:
    """A line into the log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def digest(*parts: object) -> str:
    """Of values of JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def replace(file: Path, text: str) -> None:
    """Write it whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    part.replace(file)


def identity_of(data: Path) -> str:
    """Of a dataset."""
    return str(json.loads((data / "manifest.json").read_text())["identity"])


def build(words: argparse.Namespace) -> int:
    """``poisongen build``: the identity is of the options, not of the title."""
    recipe = json.loads(words.recipe.read_text())
    partial = words.out.with_name(f"{words.out.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    time.sleep(float(os.environ.get("TABLE_PACE", "0")))
    replace(partial / "manifest.json", json.dumps({"identity": f"sha256:{digest(recipe['options'])}"}))
    (partial / "samples.jsonl").write_text("")
    partial.rename(words.out)
    return 0


def train(words: argparse.Namespace) -> int:
    """``trainer train``."""
    run, settings = words.out, dict(text.split("=", 1) for text in words.set)
    run.mkdir(parents=True, exist_ok=True)
    lock = (run / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Error: Another trainer is at work in this folder.")
        return 1
    identity, checkpoint, log = identity_of(words.data), run / "checkpoint.safetensors", run / "log.jsonl"
    if settings.get("lr") == "1e+30":
        say("Error: The loss of epoch 1 is not finite.")
        return 1
    epoch, weights = 0, digest(identity, settings, words.preset)
    if checkpoint.exists():
        epoch, weights = json.loads(checkpoint.read_text())
        say(f"going on after epoch {epoch}")
    else:
        config = {**settings, "threads": words.threads, "device": words.device or "cpu"}
        replace(run / "run.json", json.dumps({"config": config, "data": str(words.data.resolve())}))
    rows = log.read_text().splitlines() if log.exists() else []
    replace(log, "".join(f"{row}\n" for row in rows[:epoch]))
    pace = float(os.environ.get("TABLE_PACE", "0"))
    while epoch < int(settings.get("epochs", "1")):
        time.sleep(pace)
        epoch, weights = epoch + 1, digest(weights, epoch)
        with log.open("a") as opened:
            opened.write(json.dumps({"epoch": epoch, "timing": {"seconds": pace}}) + "\n")
        replace(checkpoint, json.dumps([epoch, weights]))
        if stopped.is_set():
            say("Interrupted. A checkpoint is saved.")
            return 130
    replace(run / "model.safetensors", weights)
    return score(run, words.data)


def score(run: Path, data: Path) -> int:
    """Scores of the run on a dataset, and the run's on its own."""
    own = json.loads((run / "run.json").read_text())["data"] == str(data.resolve())
    name = "metrics.json" if own else f"metrics-{identity_of(data)[7:19]}.json"
    scores = {"format": "poisongen scores", "format_version": 2, "dataset": identity_of(data)}
    scores |= {"weights": (run / "model.safetensors").read_text()}
    replace(run / name, json.dumps(scores))
    if own:
        (run / "checkpoint.safetensors").unlink(missing_ok=True)
    return 0


def report(words: argparse.Namespace) -> int:
    """``trainer report``: a line for each file of scores of each run."""
    words.out.mkdir(parents=True, exist_ok=True)
    lines = ["run,scores", *(f"subset {text}," for text in words.subset), *(["intervals,"] * words.intervals)]
    for run in words.runs:
        lines += [f"{run.name},{file.name} {file.read_text()}" for file in sorted(run.glob("metrics*.json"))]
    for name in ("table.md", "table.csv"):
        replace(words.out / name, "".join(f"{line}\n" for line in lines))
    return 0


def words_of(arguments: list[str]) -> argparse.Namespace:
    """The command line, taken apart."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    options: dict[str, dict[str, dict[str, Any]]] = {
        "build": {
            "recipe": {"type": Path}, "--source": {}, "--out": {"type": Path}, "--jobs": {}, "--link": {}
        },
        "train": {
            "data": {"type": Path}, "--out": {"type": Path}, "--preset": {}, "--threads": {}, "--device": {},
            "--set": {"action": "append", "default": []},
        },
        "eval": {"run": {"type": Path}, "--data": {"type": Path}, "--device": {}},
        "report": {
            "runs": {"type": Path, "nargs": "+"}, "--out": {"type": Path},
            "--subset": {"action": "append", "default": []}, "--intervals": {"action": "store_true"},
        },
    }  # fmt: skip
    actions = {"build": build, "train": train, "eval": lambda got: score(got.run, got.data), "report": report}
    for name, given in options.items():
        command = commands.add_parser(name)
        command.set_defaults(action=actions[name])
        for option, how in given.items():
            command.add_argument(option, **how)
    return parser.parse_args(arguments)


def note(number: int, frame: object) -> None:
    """Stop after the epoch."""
    stopped.set()


def main() -> int:
    """The exit code."""
    began = time.monotonic()
    words = words_of(sys.argv[1:])
    if words.action is train:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, note)
    code = int(words.action(words))
    call = {"words": sys.argv[1:], "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "code": code,
            "began": began, "ended": time.monotonic()}  # fmt: skip
    with Path(os.environ["TABLE_CALLS"]).open("a") as calls:
        calls.write(json.dumps(call) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
