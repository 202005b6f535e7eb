"""Augmentation in two halves: a box is cut out of each picture, and the device resizes, flips and normalises
the batch of boxes at once.

Every draw has an address, (seed, epoch, index), so that neither workers, nor order, nor an interruption
changes one. Only the raw 64-bit output of a Philox generator is used: NumPy promises its bits for ever, not
the distributions on top of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1], as torchvision's weights expect
STD = (0.229, 0.224, 0.225)

ORDER, BOX, DROPOUT = 0, 1, 3  # purposes of a draw; 2 is that of intervals.py


def raw_bits(seed: int, purpose: int, epoch: int, index: int, count: int) -> NDArray[np.uint64]:
    """``count`` uniform 64-bit integers at an address. The seed and purpose are Philox's key, epoch and index
    open its counter."""
    counter = np.array([0, 0, index, epoch], np.uint64)
    return np.random.Philox(key=np.array([seed, purpose], np.uint64), counter=counter).random_raw(count)


def fraction(bits: np.uint64) -> float:
    """A uniform number in [0, 1): the upper 53 bits over 2⁵³, exact."""
    return (int(bits) >> 11) * 2.0**-53


def below(bits: np.uint64, bound: int) -> int:
    """A uniform integer in 0 … bound - 1: the upper half of bits · bound (biased by less than bound ÷
    2⁶⁴)."""
    return int(bits) * bound >> 64


def order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The permutation of 0 … count - 1 in which an epoch visits its samples: the ranks of ``count`` draws."""
    return np.argsort(raw_bits(seed, ORDER, epoch, 0, count), kind="stable")


@dataclass(frozen=True)
class Box:
    """A window on a picture, in its pixels; it may reach over every border. ``flip``: mirrored, left to
    right."""

    top: int
    left: int
    height: int
    width: int
    flip: bool

    def inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the part that lies on a picture of this size; a drawn box always has one."""
        rows = slice(max(0, self.top), min(height, self.top + self.height))
        return rows, slice(max(0, self.left), min(width, self.left + self.width))


def draw_box(
    seed: int,
    epoch: int,
    index: int,
    size: tuple[int, int],
    crop: tuple[int, int],
    scale: tuple[float, float],
    flip: bool,
) -> Box:
    """The box of one sample in one epoch: the crop's size times U(scale), flipped half of the time.

    Along each axis it lies uniformly within the picture (of ``size`` = height, width) or, where it is larger,
    around it.
    """
    bits = raw_bits(seed, BOX, epoch, index, 4)
    factor = scale[0] + (scale[1] - scale[0]) * fraction(bits[0])
    height, width = (max(1, round(side * factor)) for side in crop)
    top, left = (
        min(0, old - new) + below(draw, abs(old - new) + 1)
        for draw, old, new in zip(bits[1:3], size, (height, width), strict=True)
    )
    return Box(top, left, height, width, flip and fraction(bits[3]) < 0.5)


@dataclass(frozen=True)
class Cut:
    """The part of a box that lies on the picture, and where in the box that is.

    ``picture`` is uint8 (h, w, 3) RGB, ``label`` uint8 (h, w) training ids; ``top`` and ``left`` count from
    the box's corner.
    """

    picture: Tensor
    label: Tensor
    box: Box
    top: int
    left: int


class Axis(NamedTuple):
    """How one axis of N cuts becomes that of the network's picture, of ``new`` samples.

    ``samples`` int64 and ``weight`` float32 (N, new, T): the samples of the cut that enter a new one, and how
    much; what lies outside of the picture has no weight. ``nearest`` int64 (N, new): the sample in which the
    centre of the new one lies, -1 outside of the picture.
    """

    samples: Tensor
    weight: Tensor
    nearest: Tensor


class Batch(NamedTuple):
    """Cuts, padded at the lower right to one size: ``pictures`` uint8 (N, H, W, 3), ``labels`` uint8 (N, H,
    W), and what is done to them.

    What the padding holds has no meaning: no index points there.
    """

    pictures: Tensor
    labels: Tensor
    rows: Axis
    columns: Axis


def collate(cuts: Sequence[Cut], crop: tuple[int, int]) -> Batch:
    """Put cuts into one batch, to be seen by the network as ``crop`` = (height, width). The indices are
    computed here, in float64.

    Where pictures lie on a GPU, the indices lie in pinned memory: the way to it then does not wait for what
    the GPU is at.
    """
    (height, width), device = (
        (max(sides) for sides in zip(*(cut.label.shape for cut in cuts), strict=True)),
        cuts[0].label.device,
    )
    pictures = torch.empty(len(cuts), height, width, 3, dtype=torch.uint8, device=device)
    labels = torch.empty(len(cuts), height, width, dtype=torch.uint8, device=device)
    for place, cut in enumerate(cuts):
        h, w = cut.label.shape
        pictures[place, :h, :w], labels[place, :h, :w] = cut.picture, cut.label
    rows = _axis([(cut.box.height, cut.top, cut.label.shape[0], False) for cut in cuts], crop[0])
    columns = _axis([(cut.box.width, cut.left, cut.label.shape[1], cut.box.flip) for cut in cuts], crop[1])
    if device.type == "cuda":
        rows, columns = (Axis(*(part.pin_memory() for part in axis)) for axis in (rows, columns))
    return Batch(pictures, labels, rows, columns)


def _axis(sides: Sequence[tuple[int, int, int, bool]], new: int) -> Axis:
    """The resizing of each (length of the box, first sample and number of samples that the cut has of it,
    flip) to ``new`` samples.

    Sample j of a box lies at j + ½ and weighs 1 - distance ÷ max(1, length ÷ new), as in ``resize_matrix``;
    the weights of a new sample sum to 1 over the box.
    """
    length, first, count, flip = (
        torch.tensor(values)[:, None] for values in zip(*sides, strict=True)
    )  # (N, 1)
    step = length.double() / new
    reach = step.clamp(min=1)
    centres = (torch.arange(new, dtype=torch.float64) + 0.5) * step  # (N, new)
    centres = torch.where(flip, centres.flip(1), centres)
    samples = (centres - reach + 0.5).floor().long()[:, :, None] + torch.arange(
        math.ceil(2 * float(reach.max()))
    )  # (N, new, T)
    weight = (1 - (samples + 0.5 - centres[:, :, None]).abs() / reach[:, :, None]).clamp(min=0)
    weight = torch.where((samples >= 0) & (samples < length[:, :, None]), weight, 0)
    weight = weight / weight.sum(2, keepdim=True)
    samples = samples - first[:, :, None]
    outside = (samples < 0) | (samples >= count[:, :, None])
    nearest = (2 * torch.arange(new) + 1) * length // (2 * new)  # in integers, exact
    nearest = torch.where(flip, nearest.flip(1), nearest) - first
    return Axis(
        samples=samples.clamp(min=0).minimum(count[:, :, None] - 1),
        weight=torch.where(outside, 0, weight).float(),
        nearest=torch.where((nearest < 0) | (nearest >= count), -1, nearest),
    )


def assemble(batch: Batch, ignore: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Resize, flip and normalise a whole batch on the device: pictures bilinearly, label maps to the nearest.

    Returns float32 (N, 3, height, width) in channels_last memory and int64 (N, height, width). What lies
    outside the pictures is mean colour and ``ignore``. Only products, sums and copies of single numbers, in a
    fixed order: repeatable on every device, with any threads.
    """
    pictures, labels = (part.to(device, non_blocking=True) for part in batch[:2])
    rows, columns = (Axis(*(part.to(device, non_blocking=True) for part in axis)) for axis in batch[2:])
    n, height, width, channels = pictures.shape
    x = _mixed(pictures.reshape(n, height, width * channels), rows)  # (N, new height, W · 3)
    x = x.reshape(n, -1, width, channels).transpose(1, 2).reshape(n, width, -1)
    x = (
        _mixed(x, columns).reshape(n, columns.nearest.shape[1], -1, channels).permute(0, 3, 2, 1)
    )  # (N, 3, new height, new width)
    mean, std = (values[:, None, None] for values in _statistics(device))
    inside = (
        rows.weight.sum(2)[:, None, :, None] * columns.weight.sum(2)[:, None, None, :]
    )  # how much of a pixel lies on the picture
    x = ((x / 255 - mean * inside) / std).contiguous(memory_format=torch.channels_last)

    down, right = rows.nearest[:, :, None], columns.nearest[:, None, :]
    found = labels[
        torch.arange(n, device=device)[:, None, None], down.clamp(min=0), right.clamp(min=0)
    ].long()
    return x, torch.where((down < 0) | (right < 0), ignore, found)


def _mixed(x: Tensor, axis: Axis) -> Tensor:
    """Replace the samples along the second axis of (N, H, L) by weighted sums of them: float32 (N, new, L).

    Gathering whole rows and adding them is 4 to 7 times faster on a CPU than products with a matrix that is
    zero nearly everywhere.
    """
    n, height, length = x.shape
    rows = x.reshape(n * height, length)
    index = axis.samples + height * torch.arange(n, device=x.device)[:, None, None]
    mixed = torch.zeros(n * index.shape[1], length, device=x.device)
    for tap in range(index.shape[2]):
        mixed.addcmul_(
            axis.weight[:, :, tap].reshape(-1, 1), rows.index_select(0, index[:, :, tap].reshape(-1)).float()
        )
    return mixed.reshape(n, -1, length)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """MEAN and STD on a device, copied there once: a copy in each step would make the CPU wait for a GPU."""
    return torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)


def normalise(picture: Tensor) -> Tensor:
    """(h, w, 3) uint8 RGB to (3, h, w) float32 with ImageNet's mean at 0."""
    mean, std = _statistics(picture.device)
    return ((picture.float() / 255 - mean) / std).permute(2, 0, 1)
