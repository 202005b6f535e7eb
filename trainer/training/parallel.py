"""One training on several processes (``torchrun``): what they must agree on, and nothing else.

Each process takes its part of every batch, in one global order; gradients, the statistics of normalisation
layers and confusion counts are those of the whole. Gradients are added in one flat piece:
DistributedDataParallel would hide some of the traffic behind the computation, but arranges its pieces anew
after the first step, so that an interrupted run would add in another order than an uninterrupted one.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.errors import SettingError

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """``size`` processes, of which this one is number ``rank``. Number 0 writes files and prints."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Is this the process that writes files and prints?"""
        return self.rank == 0

    def add(self, value: Tensor) -> Tensor:
        """``value`` summed over the processes, in place; of integers it is the same in whatever order."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Is it so for one of the processes? The same answer for all."""
        return bool(self.add(torch.tensor(int(flag)))) if self.size > 1 else flag

    def gather(self, value: Any) -> list[Any]:
        """What every process gives, in the order of their numbers; each gets all."""
        values: list[Any] = [value]
        if self.size > 1:
            values = [None] * self.size
            dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self.gather(None)

    def share(self, work: Sequence[T]) -> Sequence[T]:
        """This process's part of some work: each piece is in exactly one part."""
        return work[self.rank :: self.size]

    def share_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by the sum over the processes."""
        if self.size > 1:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            flat = self.add(torch.cat([gradient.flatten() for gradient in gradients]))
            sizes = [gradient.numel() for gradient in gradients]
            for gradient, total in zip(gradients, flat.split(sizes), strict=True):
                gradient.copy_(total.view(gradient.shape))


SINGLE = Group()


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """The group that ``torchrun`` started this process in, or ``SINGLE``: gloo between CPUs, NCCL between
    GPUs, one for each process.

    ``device`` is that of the settings, auto as well. Raises SettingError: one GPU for all, or fewer GPUs than
    processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield SINGLE
        return
    gpu = device != "cpu" and torch.cuda.is_available()
    if gpu:
        number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if device.startswith("cuda:") or number >= gpus:
            raise SettingError(
                "The processes cannot share a GPU.",
                expected="--device cuda, and a GPU for each process",
                found=f"--device {device}, and {gpus} GPUs",
            )
        torch.cuda.set_device(number)
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    try:
        yield Group(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


class _Total(torch.autograd.Function):
    """The sum over the processes. The gradient is a sum, too: every process's result has used this process's
    value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class JointBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with the statistics of the whole batch, of which each process holds a part.

    torch's SyncBatchNorm does the same on GPUs only; this one is tested on a CPU. Mean and variance of the
    parts are joined in float64.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = (part.double() for part in torch.var_mean(wide, (0, 2, 3), correction=0))  # (C,)
        count = torch.full_like(mean, x.numel() / x.shape[1])
        own_sums = torch.stack([count, count * mean, count * (variance + mean**2)])  # (3, C)
        sums: Tensor = _Total.apply(own_sums)
        count, total, squares = sums
        mean = total / count
        variance = squares / count - mean**2
        with torch.no_grad():
            assert (
                self.running_mean is not None
                and self.running_var is not None
                and self.num_batches_tracked is not None
            )
            self.num_batches_tracked += 1
            momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.to(self.running_mean), momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), momentum)
        scale = self.weight * (variance + self.eps).rsqrt()  # (C,), float64
        shift = self.bias - mean * scale
        normalised: Tensor = wide * scale.to(wide)[:, None, None] + shift.to(wide)[:, None, None]
        return normalised.to(x.dtype)


def with_joint_statistics(module: nn.Module) -> nn.Module:
    """Turn the BatchNorm2d of a network into JointBatchNorm, in place: the same parameters by the same names.
    Returns it."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            joint = JointBatchNorm(
                child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
            )
            joint.load_state_dict(child.state_dict())
            setattr(module, name, joint.to(child.weight).train(child.training))
        else:
            with_joint_statistics(child)
    return module
