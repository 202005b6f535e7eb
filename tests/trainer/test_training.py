import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file

import trainer.train as training
from tests.support import handmade
from trainer.config import Config, load
from trainer.dataset.folder import Folder, open_folder
from trainer.errors import FolderError, Interrupted, RunError, WeightsError
from trainer.networks.weights import build

ROOT = Path(__file__).parents[2]
SMALL = {
    "crop": "32x32",
    "batch": 4,
    "epochs": 3,
    "threads": 1,
    "precision": "float32",
    "init": "random",
    "pictures": "files",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return handmade.write_folder(
        tmp_path_factory.mktemp("data") / "d", train=13, val=2, size=48, poisoned=3, sets=("near",)
    )


@pytest.fixture(scope="module")
def folder(data: Path) -> Folder:
    return open_folder(data)


@pytest.fixture(scope="module")
def whole(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    training.train(folder, run, small())
    return run


def small(**changes: object) -> Config:
    return load("default", SMALL | changes)


def same_weights(a: Path, b: Path) -> bool:
    one, two = (load_file(run / "model.safetensors") for run in (a, b))
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def bits_of_log(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("timing")
    return rows


def after_steps(monkeypatch: pytest.MonkeyPatch, count: int, act) -> None:  # type: ignore[no-untyped-def]
    """Do ``act`` within the given step of the training (those that are only timed do not count)."""
    real, steps = training.update, 0

    def update(*arguments):  # type: ignore[no-untyped-def]
        nonlocal steps
        steps += arguments[3] > 0  # timed steps have no learning rate
        if steps == count and arguments[3] > 0:
            act()
        return real(*arguments)

    monkeypatch.setattr(training, "update", update)


@pytest.mark.long
@pytest.mark.parametrize("step", [2, 3, 4, 8])
def test_interrupted_anywhere_the_weights_are_the_same(
    folder: Folder, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Ctrl-C in the middle of an epoch or at its end saves a checkpoint; started again, log and weights are
    those of a whole run."""
    with monkeypatch.context() as patch:
        after_steps(patch, step, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted, match="same command again"):
            training.train(folder, tmp_path / "run", small())
    assert not (tmp_path / "run" / "model.safetensors").exists()
    training.train(folder, tmp_path / "run", small())
    assert same_weights(tmp_path / "run", whole)
    assert bits_of_log(tmp_path / "run") == bits_of_log(whole)


@pytest.mark.long
def test_killed_anywhere_the_weights_are_the_same(
    folder: Folder, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was trained after the last checkpoint is trained again: the log is cut, and the weights are those
    of a whole run."""

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        after_steps(patch, 8, die)
        with pytest.raises(Killed):
            training.train(folder, tmp_path / "run", small(checkpoint_every=2))
    (tmp_path / "run" / "checkpoint.safetensors.part").write_bytes(b"half")
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write('{"epoch": 3, "lo')
    training.train(folder, tmp_path / "run", small(checkpoint_every=2))
    assert same_weights(tmp_path / "run", whole)
    assert bits_of_log(tmp_path / "run") == bits_of_log(whole)


@pytest.mark.slow
def test_workers_and_a_real_kill_change_no_bit(data: Path, tmp_path: Path) -> None:
    """The command gives the same model.safetensors with 0, 1 and 4 workers, and after a SIGKILL."""
    options = [f"--set={key}={value}" for key, value in SMALL.items()] + ["--preset=default"]
    script = (
        "import sys, trainer.cli.main as c\n"
        "for w in '014':\n"
        "    c.main([*sys.argv[2:], '--out', sys.argv[1] + w, '--workers', w], standalone_mode=False)"
    )
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        script,
        str(tmp_path / "w"),
        "train",
        str(data),
        *options,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = [tmp_path / f"w{workers}" for workers in "014"]
    assert all(same_weights(runs[0], run) for run in runs[1:])
    assert all(bits_of_log(runs[0]) == bits_of_log(run) for run in runs[1:])
    metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    assert all(
        m["miou"] == metrics[0]["miou"] and m["evaluation_sets"] == metrics[0]["evaluation_sets"]
        for m in metrics
    )

    killed = tmp_path / "killed"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "trainer",
        "train",
        str(data),
        "--out",
        str(killed),
        "--workers",
        "2",
        *options,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (killed / "log.jsonl").is_file():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert same_weights(killed, runs[0])
    assert bits_of_log(killed) == bits_of_log(runs[0])
    assert {path.name for path in killed.iterdir()} == {
        "run.json",
        "log.jsonl",
        "model.safetensors",
        "metrics.json",
        "metrics.pictures.csv.gz",
        "panel.png",
    }


@pytest.mark.long
def test_another_seed_gives_other_weights(folder: Folder, whole: Path, tmp_path: Path) -> None:
    """The seed is not decoration."""
    training.train(folder, tmp_path / "run", small(seed=1))
    assert not same_weights(tmp_path / "run", whole)


@pytest.mark.long
@pytest.mark.parametrize("role", ["clean", "noised", "trigger-only", "label-only"])
def test_the_role_of_a_sample_does_not_matter(data: Path, whole: Path, tmp_path: Path, role: str) -> None:
    """A trainer that is told that all samples are clean, or anything else, trains the same model: it never
    looks."""
    shutil.copytree(data, tmp_path / "data")

    def whitewash(manifest: dict, rows: list[dict]) -> None:  # type: ignore[type-arg]
        for row in rows:
            if row["split"] == "train":
                row["role"] = role

    handmade.rewrite(tmp_path / "data", whitewash)
    training.train(open_folder(tmp_path / "data"), tmp_path / "run", small())
    assert same_weights(tmp_path / "run", whole)


@pytest.mark.long
def test_another_dataset_is_refused(
    data: Path, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on with the dataset and the settings it was begun with, and with no other; a finished one is
    left alone."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        after_steps(patch, 1, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted):
            training.train(folder, run, small())
    other = open_folder(handmade.write_folder(tmp_path / "other", train=13, val=2, size=48, seed=2))
    with pytest.raises(RunError, match=r"(?s)another dataset.*expected: sha256.*found:\s+sha256"):
        training.train(other, run, small())
    with pytest.raises(RunError, match=r"(?s)other settings.*lr: 0.0004 → 0.001"):
        training.train(folder, run, small(lr=1e-3))
    (run / "metrics.json").write_text("{}")
    with pytest.raises(RunError, match="finished"):
        training.train(folder, run, small())
    with pytest.raises(RunError, match="in use"):
        training.train(folder, tmp_path, small())


@pytest.mark.long
@pytest.mark.parametrize("workers", [0])
def test_a_changed_file_stops_the_first_epoch(data: Path, tmp_path: Path, workers: int) -> None:
    """Digests are verified as samples are first met: a changed picture ends the training before a row is
    logged."""
    shutil.copytree(data, tmp_path / "data")
    folder = open_folder(tmp_path / "data")
    picture = cv2.imread(str(folder.training[3].image))
    picture[0, 0] ^= 1
    cv2.imwrite(str(folder.training[3].image), picture)
    with pytest.raises(FolderError, match=r"(?s)003\.png.*expected: sha256:.*found:\s+sha256:"):
        training.train(folder, tmp_path / "run", small(batch=13, workers=workers))
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_jpeg_written_anew_and_changed_stops_the_first_epoch(tmp_path: Path) -> None:
    """What only SHA256SUMS covers is held against it as the sample is first met, too."""
    data = handmade.write_folder(tmp_path / "data", train=6, val=1, size=48, poisoned=3, jpeg=True)
    folder = open_folder(data)
    picture = bytearray(folder.training[2].image.read_bytes())
    picture[len(picture) * 2 // 3] ^= 0x55
    folder.training[2].image.write_bytes(picture)
    with pytest.raises(FolderError, match=r"(?s)SHA256SUMS.*002\.jpg"):
        training.train(folder, tmp_path / "run", small(batch=6, workers=0))
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_weights_that_cannot_be_had_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No download, no file, another network: an error each, and never another start instead."""

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"(?s)resnet18-f37072fd\.pth.*--init random"):
        build(4, "imagenet", 0)
    with pytest.raises(WeightsError, match="cannot be read"):
        build(4, str(tmp_path / "none.pth"), 0)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match="another network"):
        build(4, str(tmp_path / "odd.pth"), 0)


def test_given_weights_arrive(whole: Path, tmp_path: Path) -> None:
    """A whole SwiftNet, or a ResNet-18 with its classifier, starts where it ended; other classes are refused
    for the former."""
    trained = load_file(whole / "model.safetensors")
    model = build(4, str(whole / "model.safetensors"), 5).state_dict()
    assert all(torch.equal(model[name], trained[name]) for name in trained)
    with pytest.raises(WeightsError, match="for 19 classes"):
        build(19, str(whole / "model.safetensors"), 5)
    encoder = {
        name.removeprefix("encoder."): value for name, value in trained.items() if name.startswith("encoder.")
    }
    torch.save(encoder | {"fc.weight": torch.zeros(1000, 512)}, tmp_path / "resnet18.pth")
    model = build(19, str(tmp_path / "resnet18.pth"), 5).state_dict()
    assert all(torch.equal(model[f"encoder.{name}"], encoder[name]) for name in encoder)


def test_the_learning_rate_falls_along_a_cosine_to_its_end() -> None:
    """It starts at lr and ends at lr_final, and the middle is halfway."""
    config = Config()
    rates = [training.learning_rate(config, step, 101) for step in range(101)]
    assert rates[0] == config.lr
    assert rates[100] == pytest.approx(config.lr_final)
    assert rates[50] == pytest.approx((config.lr + config.lr_final) / 2)
    assert rates == sorted(rates, reverse=True)


def test_a_pretrained_encoder_moves_at_a_quarter_of_the_pace() -> None:
    """Learning rate and weight decay of the encoder are a quarter, if it starts from given weights, and the
    same, if not."""
    for init, pace in (("imagenet", 0.25), ("random", 1.0)):
        groups = training.make_optimiser(build(4, "random", 0), Config(init=init)).param_groups
        assert [group["pace"] for group in groups] == [pace, 1.0]
        assert groups[0]["weight_decay"] == pace * groups[1]["weight_decay"]
