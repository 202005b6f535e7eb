"""A few steps of a network in float64, as one of several processes or alone; what becomes of it goes to a
file. Run by test_parallel.py."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.config import load, resolve_auto
from trainer.dataset.folder import open_folder
from trainer.training.batches import Samples, Schedule, batched
from trainer.training.machine import set_determinism
from trainer.training.optimise import update
from trainer.training.parallel import joined, with_joint_statistics


class Small(nn.Module):
    """Two convolutions with what lies between them, and as many logits as pixels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers = (
            nn.Conv2d(3, 5, 3, padding=1),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Conv2d(5, classes, 3, padding=1),
        )
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.double())


def main(data: str, out: str, accumulate: str) -> None:
    folder = open_folder(Path(data))
    settings = {
        "crop": "40x40",
        "scale": "[0.5, 3]",
        "batch": 4,
        "epochs": 2,
        "threads": 1,
        "precision": "float32",
    }
    config = resolve_auto(
        load("default", settings | {"init": "random", "accumulate": accumulate, "device": "cpu"})
    )
    device = set_determinism(config)
    torch.manual_seed(0)
    model = Small(folder.classes).double()
    with joined(config.device) as group:
        if group.size > 1:
            with_joint_statistics(model)
        optimiser = torch.optim.SGD([{"params": list(model.parameters()), "pace": 1.0}], lr=0.1)
        samples, schedule = Samples(folder, config), iter(Schedule(len(folder.training), config, 0, group))
        losses = []
        for _ in range(5):
            parts = []
            for _ in range(config.accumulate):
                cuts = [samples[address] for address in next(schedule)]
                parts.append(batched(cuts, config.net_crop))
            losses.append(
                group.add(update(model, optimiser, parts, 0.1, config, device, group).double()).item()
            )  # type: ignore[arg-type]
        if group.first:
            torch.save({"losses": torch.tensor(losses), **model.state_dict()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
