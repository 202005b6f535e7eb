import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support import handmade
from trainer import train as training
from trainer.config import Config, load
from trainer.dataset.folder import IGNORE, Folder, open_folder
from trainer.errors import SettingError
from trainer.networks.weights import build
from trainer.training.augment import Batch, assemble, collate
from trainer.training.batches import Samples, Schedule, batched
from trainer.training.optimise import average_of, learning_rate, make_optimiser, update
from trainer.training.parallel import Group

CPU = torch.device("cpu")
SMALL = {
    "crop": "32x32",
    "batch": 4,
    "epochs": 3,
    "threads": 1,
    "precision": "float32",
    "init": "random",
    "workers": 0,
    "loss": "cross-entropy",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return open_folder(
        handmade.write_folder(tmp_path_factory.mktemp("data") / "d", train=9, val=2, size=48, poisoned=3)
    )


class Plain(nn.Module):
    """A network in which no picture changes another's logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def batch_of(folder: Folder, config: Config, indices: range) -> Batch:
    found = batched([Samples(folder, config)[0, index, True] for index in indices], config.net_crop)
    assert isinstance(found, Batch)
    return found


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": list(model.parameters()), "pace": 1.0}], lr=1.0)


@pytest.mark.parametrize("loss", ["cross-entropy", "boundary-focal"])
def test_parts_of_a_batch_add_up_to_its_mean(folder: Folder, loss: str) -> None:
    """Computed in parts with unequal shares of labelled pixels, a step is that of the whole batch, not the
    mean of the parts' means."""
    config = load("default", SMALL | {"scale": "[0.5, 3]", "loss": loss})
    whole, parts = Plain(), Plain()
    one = update(whole, sgd(whole), [batch_of(folder, config, range(6))], 0.1, config, CPU)
    pieces = [batch_of(folder, config, range(2)), batch_of(folder, config, range(2, 6))]
    labelled = [
        int((assemble(piece, IGNORE, CPU)[1] != IGNORE).sum()) / (2 + 2 * (place == 1))
        for place, piece in enumerate(pieces)
    ]
    assert abs(labelled[0] / labelled[1] - 1) > 0.05  # else the mean of means would do
    other = update(parts, sgd(parts), pieces, 0.1, config, CPU)
    assert one.item() == pytest.approx(other.item(), rel=1e-5)
    for p, q in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_a_step_goes_down_the_gradient_of_torchs_mean(folder: Folder) -> None:
    """A step of plain descent is -lr times the gradient of torch's own mean cross-entropy."""
    config = load("default", SMALL | {"lr_final": 0})
    batch = batch_of(folder, config, range(5))
    model, oracle = Plain(), Plain()
    x, y = assemble(batch, IGNORE, CPU)
    F.cross_entropy(oracle(x), y, ignore_index=IGNORE).backward()
    update(model, sgd(model), [batch], 0.1, config, CPU)
    for p, q in zip(model.parameters(), oracle.parameters(), strict=True):
        assert q.grad is not None
        torch.testing.assert_close(p, q - 0.1 * q.grad, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_whole_gradient(folder: Folder) -> None:
    """With ``clip``, a longer gradient keeps its direction and gets this length; a shorter one stays as it
    is."""
    batch = batch_of(folder, load("default", SMALL), range(4))
    steps = []
    for clip in (0.0, 1e-3, 1e3):
        model, before = Plain(), Plain()
        update(model, sgd(model), [batch], 1.0, load("default", SMALL | {"clip": clip, "lr_final": 0}), CPU)
        steps.append(
            torch.cat(
                [(q - p).flatten() for p, q in zip(model.parameters(), before.parameters(), strict=True)]
            )
        )
    free, short, long = steps
    assert free.norm() > 0.01
    assert short.norm().item() == pytest.approx(1e-3, rel=1e-2)
    assert F.cosine_similarity(free, short, 0).item() == pytest.approx(1, abs=1e-4)
    assert torch.equal(free, long)


def test_an_encoder_without_pace_stands_still(folder: Folder) -> None:
    """With pretrained_factor = 0, steps move the rest alone, although lr never falls to 0."""
    config = load("default", SMALL | {"init": "given", "pretrained_factor": 0})
    model = build(4, "random", 0, width=0.25)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimiser, batch = make_optimiser(model, config), batch_of(folder, config, range(4))
    for _ in range(2):
        update(model, optimiser, [batch], 1e-3, config, CPU)
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if not name.startswith("encoder.")}


def test_the_average_forgets_at_its_pace() -> None:
    """After steps w₁, w₂, … the average is w₁, then d · average + (1 - d) · w, of weights and of what
    normalisation has counted."""
    model = build(4, "random", 0)
    average = average_of(model, Config(ema=0.8))
    assert average is not None and average_of(model, Config()) is None
    names = (
        next(name for name, _ in model.named_parameters()),
        next(n for n, b in model.named_buffers() if n.endswith("_var")),
    )
    expected: dict[str, Tensor] = {}
    for step in range(4):
        with torch.no_grad():
            for value in (*model.parameters(), *model.buffers()):
                value.add_(step + 1)
        average.update_parameters(model)
        for name in names:
            value = model.state_dict()[name].clone()
            expected[name] = 0.8 * expected[name] + 0.2 * value if name in expected else value
    for name in names:
        torch.testing.assert_close(average.module.state_dict()[name], expected[name])


@pytest.mark.long
def test_every_feature_survives_an_interruption(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Average, clipping, warm-up, poly and parts: a run stopped in mid-epoch goes on to the bits of an
    uninterrupted one, and differs from a run without them."""
    settings = {"ema": 0.9, "clip": 1.0, "warmup": 2, "schedule": "poly", "accumulate": 2}
    config = load("default", SMALL | settings)
    training.train(folder, tmp_path / "whole", config)
    real, count = training.update, 0

    def stopped(*arguments):  # type: ignore[no-untyped-def]
        nonlocal count
        count += arguments[3] > 0
        if count == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "update", stopped)
        with pytest.raises(KeyboardInterrupt):
            training.train(folder, tmp_path / "run", config)
    training.train(folder, tmp_path / "run", config)
    whole, run = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "run"))
    assert whole == run
    for key, value in settings.items():
        training.train(
            folder, tmp_path / key, load("default", SMALL | {k: v for k, v in settings.items() if k != key})
        )
        assert (tmp_path / key / "model.safetensors").read_bytes() != whole, (
            f"{key} = {value} changes nothing"
        )


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_the_learning_rate_rises_then_falls(schedule: str, warmup: int) -> None:
    """It rises evenly from above 0 to lr, and falls from there to lr_final, which it reaches at the last
    step."""
    config = Config(schedule=schedule, warmup=warmup, lr=0.5, lr_final=0.01)
    rates = [learning_rate(config, step, 50) for step in range(50)]
    assert max(rates) == rates[warmup] == 0.5
    assert rates[:warmup] == pytest.approx([0.5 * (step + 1) / (warmup + 1) for step in range(warmup)])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_poly_is_the_papers_power() -> None:
    """lr · (1 - t)^0.9, with t from 0 to 1; and a run shorter than its warm-up still ends."""
    config = Config(schedule="poly", lr=1.0, lr_final=0)
    assert learning_rate(config, 30, 101) == pytest.approx(math.exp(0.9 * math.log(0.7)))
    assert all(0 <= learning_rate(Config(warmup=100), step, 3) <= 4e-4 for step in range(3))


def without_checks(batch: Sequence[tuple[int, int, bool]]) -> list[tuple[int, int]]:
    """Epoch and picture of each address of a batch."""
    return [(epoch, index) for epoch, index, _ in batch]


@pytest.mark.parametrize(("accumulate", "size"), [(1, 2), (2, 1), (2, 2), (1, 4)])
def test_processes_share_one_global_order(accumulate: int, size: int) -> None:
    """Put together, the parts of all processes are the batches of one, each picture once, at any start;
    digests are checked by each."""
    settings = {"batch": 8, "epochs": 3, "accumulate": accumulate}
    for start in (0, 2):
        whole = Schedule(19, load("default", settings | {"accumulate": 1}), start)
        plain = [without_checks(batch) for batch in whole]
        each = [
            list(Schedule(19, load("default", settings), start, Group(rank, size))) for rank in range(size)
        ]
        assert {len(parts) for parts in each} == {
            len(Schedule(19, load("default", settings), start, Group(0, size)))
        }
        for step, batch in enumerate(plain):
            parts = [parts[step * accumulate + piece] for piece in range(accumulate) for parts in each]
            assert [address for part in parts for address in without_checks(part)] == batch
        for parts in each:
            met = [index for part in parts for _, index, check in part if check]
            assert sorted(met) == sorted({index for part in parts for _, index, _ in part})


def test_a_batch_that_cannot_be_parted_is_refused() -> None:
    """Parts of unequal size would need another order: a clear error instead."""
    with pytest.raises(SettingError, match="multiple of 6"):
        Schedule(100, load("default", {"batch": 8, "accumulate": 2}), 0, Group(0, 3))


def test_a_damaged_picture_is_the_parts_error(tmp_path: Path) -> None:
    """The first error among the cuts of a part comes out of it, whole."""
    root = handmade.write_folder(tmp_path / "d", train=4, val=1, size=48)
    folder = open_folder(root)
    folder.training[2].image.write_bytes(b"no picture")
    config = load("default", SMALL)
    found = batched([Samples(folder, config)[0, index, True] for index in range(4)], config.net_crop)
    assert not isinstance(found, Batch)
    assert "no picture" in str(found)
    assert collate([Samples(folder, config)[0, 0, True]], config.net_crop).pictures.shape[0] == 1  # type: ignore[list-item]
