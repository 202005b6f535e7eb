import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.support import handmade
from trainer.errors import SettingError
from trainer.scoring.scores import read_scores
from trainer.training import parallel
from trainer.training.parallel import SINGLE, Group, with_joint_statistics

ROOT = Path(__file__).parents[2]
SETTINGS = [
    "crop=40x40",
    "batch=4",
    "epochs=3",
    "threads=1",
    "precision=float32",
    "init=random",
    "workers=0",
    "width=0.25",
]
OPTIONS = ["--preset", "default", *(f"--set={setting}" for setting in SETTINGS)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return handmade.write_folder(
        tmp_path_factory.mktemp("data") / "d", train=13, val=5, size=48, poisoned=3, sets=("near", "far")
    )


def processes(count: int) -> list[str]:
    """What starts ``count`` of them on this machine, without a port that somebody else may have."""
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={count}",
    ]


def go(command: list[str]) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def children(parent: int) -> list[int]:
    """The processes that a process has started, by their numbers."""
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    return [int(pid) for pid, ppid in map(str.split, table.splitlines()) if int(ppid) == parent]


def scores(run: Path) -> tuple[object, ...]:
    """All figures of a run, and the digest of what was counted in each picture."""
    found = read_scores(run / "metrics.json")
    return found.miou, found.pa, found.iou, found.evaluation_sets, found.picture_counts


@pytest.mark.long
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_step_as_one(data: Path, tmp_path: Path, accumulate: int) -> None:
    """Five steps of a network in float64 on two processes are those of one: loss, weights and what
    normalisation has counted."""
    module = ["-m", "tests.support.joint", str(data)]
    go([sys.executable, *module, str(tmp_path / "one"), str(accumulate)])
    go([*processes(2), *module, str(tmp_path / "two"), str(accumulate)])
    one, two = (torch.load(tmp_path / name) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], two[name], rtol=1e-6, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert len(set(one["losses"].tolist())) == 5


@pytest.mark.slow
def test_two_processes_train_resume_and_score_exactly(data: Path, tmp_path: Path) -> None:
    """``torchrun`` gives the same bits again, also after both processes were killed; and one process scores
    that model the same."""
    command = [*processes(2), "-m", "trainer", "train", str(data), *OPTIONS, "--out"]
    table = go([*command, str(tmp_path / "a" / "run")])
    assert table.count("| nni ") == 2  # one process prints: a line for each of the two sets

    killed = tmp_path / "b" / "run"
    process = subprocess.Popen(
        [*command, str(killed)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (killed / "log.jsonl").is_file():
        time.sleep(0.02)
    for number in [*children(process.pid), process.pid]:
        os.kill(number, signal.SIGKILL)
    process.wait()
    assert not (killed / "metrics.json").exists()
    go([*command, str(killed)])
    one, other = (load_file(run / "model.safetensors") for run in (tmp_path / "a" / "run", killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert scores(tmp_path / "a" / "run") == scores(killed)
    facts = json.loads((killed / "run.json").read_text())
    assert facts["exactness"]["level"] == "exact" and facts["exactness"]["processes"] == 2

    before = scores(killed)
    go([sys.executable, "-m", "trainer", "eval", str(killed), "--data", str(data)])
    assert scores(killed) == before


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are GPUs, also if nobody named a device, a process takes the one of its number; one GPU for
    several is refused."""
    begun: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", begun.append)
    monkeypatch.setattr(parallel.dist, "init_process_group", begun.append)
    monkeypatch.setattr(parallel.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(parallel.dist, "destroy_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    for device in ("auto", "cuda", "cpu"):
        with parallel.joined(device) as group:
            assert group == Group(1, 2)
    assert begun == [1, "cpu:gloo,cuda:nccl"] * 2 + ["gloo"]
    with pytest.raises(SettingError, match="cannot share a GPU"), parallel.joined("cuda:0"):
        pass
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(SettingError, match="cannot share a GPU"), parallel.joined("auto"):
        pass


def test_shares_are_a_partition() -> None:
    """Each piece of work is in exactly one share, whatever does not come out even; alone, all of it is one's
    own."""
    for count in range(12):
        for size in (1, 2, 3, 5):
            shares = [Group(rank, size).share(range(count)) for rank in range(size)]
            assert sorted(piece for share in shares for piece in share) == list(range(count))
    assert SINGLE.gather("all") == ["all"]
    assert SINGLE.add(torch.tensor([3.0])).tolist() == [3.0]


def test_joint_normalisation_keeps_names_and_values() -> None:
    """A converted network has the same state by the same names, and predicts the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), nn.BatchNorm2d(4))
    model(torch.randn(5, 3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    before, predicted = {name: value.clone() for name, value in model.state_dict().items()}, model.eval()(x)
    with_joint_statistics(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model.eval()(x), predicted)
    assert not any(type(module) is nn.BatchNorm2d for module in model.modules())
