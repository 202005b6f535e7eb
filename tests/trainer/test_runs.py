import errno
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import pytest
import torch

from tests.support import handmade
from trainer import train as training
from trainer.config import Config, load
from trainer.dataset.folder import Folder, open_folder
from trainer.errors import RunError, WeightsError
from trainer.run_folder import load_tensors, read_run, save_tensors
from trainer.scoring import evaluate
from trainer.training import machine
from trainer.training.machine import run_lock

ROOT = Path(__file__).parents[2]
SMALL = {
    "crop": "32x32",
    "batch": 4,
    "epochs": 3,
    "threads": 1,
    "precision": "float32",
    "init": "random",
    "width": 0.25,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return open_folder(
        handmade.write_folder(tmp_path_factory.mktemp("data") / "d", train=8, val=2, size=48, sets=("near",))
    )


def small(**changes: object) -> Config:
    return load("default", SMALL | changes)


def interrupted(folder: Folder, run: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """A run that was broken off in its second epoch."""
    real = training.update

    def update(*arguments):  # type: ignore[no-untyped-def]
        if (run / "log.jsonl").is_file():
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "update", update)
        with pytest.raises(KeyboardInterrupt):
            training.train(folder, run, small(**changes))


@contextmanager
def taken_away_meanwhile(monkeypatch: pytest.MonkeyPatch, run: Path) -> Iterator[None]:
    """Within, the first lock on a file comes when who had it before has just removed it."""
    real, calls = machine.fcntl.lockf, []

    def lockf(*arguments: Any) -> None:
        real(*arguments)
        calls.append(1)
        if len(calls) == 1:
            (run / ".lock").unlink()

    with monkeypatch.context() as patch:
        patch.setattr(machine.fcntl, "lockf", lockf)
        yield
    assert len(calls) == 2


@pytest.mark.long
def test_two_trainers_do_not_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is at work, a second process is told so, and has changed nothing; afterwards, or when the
    first was killed, it may."""
    run = tmp_path / "deep" / "run"
    script = (
        "import sys, pathlib, trainer.training.machine as m\n"
        "with m.run_lock(pathlib.Path(sys.argv[1])): print('in')"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(run)]
    with run_lock(run):
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert "Another trainer is at work" in second.stderr and "in\n" not in second.stdout
    assert list(run.iterdir()) == []
    with taken_away_meanwhile(monkeypatch, run), run_lock(run):
        assert list(run.iterdir()) == [run / ".lock"]  # its own, not the one it has opened first
    (run / ".lock").touch()  # left behind by one that was killed
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "in\n"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the way is told as such, and so is a file system that knows no locks."""
    with monkeypatch.context() as patch:
        patch.setattr(machine.fcntl, "lockf", Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
        with pytest.raises(RunError, match=r"(?s)cannot be locked.*No locks"), run_lock(tmp_path / "run"):
            pass
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be used"), run_lock(tmp_path / "file" / "run"):
        pass


@pytest.mark.long
def test_a_run_says_how_exact_it_is(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """run.json has the level and all that the last bits depend on; going on with other packages makes it
    "mixed", for good."""
    run = tmp_path / "run"
    interrupted(folder, run, monkeypatch)
    facts = json.loads((run / "run.json").read_text())
    assert facts["exactness"] == facts["exactness"] | {
        "level": "exact", "device": "cpu", "threads": 1, "processes": 1, "precision": "float32",
        "memory_format": "channels_last", "compiled": False,
    }  # fmt: skip
    with monkeypatch.context() as patch:
        versions = evaluate.versions() | {"torch": "9.0"}
        patch.setattr(evaluate, "versions", lambda: versions)
        interrupted(folder, run, monkeypatch)
    training.train(folder, run, small())
    assert json.loads((run / "run.json").read_text())["exactness"]["level"] == "mixed"
    (run / "model.safetensors").unlink()  # killed after the last checkpoint
    training.train(folder, run, small())
    assert json.loads((run / "run.json").read_text())["exactness"]["level"] == "mixed"
    assert (run / "model.safetensors").is_file()
    training.train(folder, tmp_path / "free", small(deterministic=False))
    assert json.loads((tmp_path / "free" / "run.json").read_text())["exactness"]["level"] == "seeded"


@pytest.mark.long
def test_a_run_without_first_weights_can_be_given_others(folder: Folder, tmp_path: Path) -> None:
    """Weights that cannot be had are no beginning of a run: the same folder takes the next try, with other
    settings."""
    with pytest.raises(WeightsError):
        training.train(folder, tmp_path / "run", small(init=str(tmp_path / "none.safetensors")))
    training.train(folder, tmp_path / "run", small(epochs=1))
    assert read_run(tmp_path / "run").initial_weights is None
    file = tmp_path / "run" / "model.safetensors"
    training.train(folder, tmp_path / "next", small(epochs=1, init=str(file)))
    recorded = read_run(tmp_path / "next").initial_weights
    assert recorded == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_damaged_checkpoint_is_named(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of another network, without its facts or cut short is an error with its file."""
    run = tmp_path / "run"
    interrupted(folder, run, monkeypatch)
    file = run / "checkpoint.safetensors"
    tensors, facts = load_tensors(file)
    first = next(name for name in tensors if name.startswith("model."))
    damaged = [
        ({name: tensor for name, tensor in tensors.items() if name != first}, facts),
        (tensors | {first: torch.zeros(3)}, facts),
        ({name: tensor for name, tensor in tensors.items() if not name.startswith("optimiser.")}, facts),
        (tensors, {}),
        (tensors, facts | {"step": "many"}),
    ]
    for some_tensors, some_facts in damaged:
        save_tensors(file, some_tensors, some_facts)
        with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
            training.train(folder, run, small())
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        training.train(folder, run, small())


@pytest.mark.long
def test_panels_and_scores_on_the_way_change_no_bit(folder: Folder, tmp_path: Path) -> None:
    """With panels every two epochs and scores in each, the weights are those without."""
    training.train(folder, tmp_path / "plain", small(epochs=4))
    training.train(folder, tmp_path / "run", small(epochs=4, panel_every=2, validate_every=1))
    plain, run = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "run"))
    assert plain == run
    assert sorted(path.name for path in (tmp_path / "run" / "panels").iterdir()) == [
        "epoch-0002.png",
        "epoch-0004.png",
    ]
    assert cv2.imread(str(tmp_path / "run" / "panels" / "epoch-0002.png")).std() > 10
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(0 <= row["miou"] <= 1 for row in rows)


@pytest.mark.long
def test_the_average_is_what_a_run_keeps(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``ema``, the last score in the log is that of the model that is kept."""
    training.train(folder, tmp_path / "run", small(ema=0.7, validate_every=3))
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert evaluate.score_run(tmp_path / "run", folder).scores.miou.value == pytest.approx(last["miou"])
    training.train(folder, tmp_path / "without", small(validate_every=3))
    assert (
        json.loads((tmp_path / "without" / "log.jsonl").read_text().splitlines()[-1])["miou"] != last["miou"]
    )


@pytest.mark.long
def test_tensorboard_shows_the_log(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch once, also after an interruption, with the numbers of log.jsonl."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    interrupted(folder, run, monkeypatch, tensorboard=True)
    training.train(folder, run, small(tensorboard=True))
    shown = EventAccumulator(str(run / "tensorboard"))
    shown.Reload()
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [event.step for event in shown.Scalars("loss")] == [1, 2, 3]
    assert [event.value for event in shown.Scalars("loss")] == pytest.approx([row["loss"] for row in rows])
