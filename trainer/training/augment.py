"""Augmentation in two halves: a box is cut out of each picture, and the device resizes, flips and normalises
the batch of boxes at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.randomness import BOX, below, fraction, raw_bits

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1], as torchvision's weights expect
STD = (0.229, 0.224, 0.225)


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
    for_scale, for_top, for_left, for_flip = raw_bits(seed, BOX, epoch, index, 4)
    smallest, largest = scale
    factor = smallest + (largest - smallest) * fraction(for_scale)
    height, width = (max(1, round(side * factor)) for side in crop)
    top = _start(for_top, size[0], height)
    left = _start(for_left, size[1], width)
    return Box(top, left, height, width, flip and fraction(for_flip) < 0.5)


def _start(bits: np.uint64, picture: int, box: int) -> int:
    """Where a box begins along one axis of a picture, both given by their length."""
    return min(0, picture - box) + below(bits, abs(picture - box) + 1)


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

    def pinned(self) -> "Axis":
        """The same in pinned memory."""
        return Axis(self.samples.pin_memory(), self.weight.pin_memory(), self.nearest.pin_memory())

    def on(self, device: torch.device) -> "Axis":
        """The same on a device."""
        return Axis(*(part.to(device, non_blocking=True) for part in self))


class Batch(NamedTuple):
    """Cuts, padded at the lower right to one size: ``pictures`` uint8 (N, H, W, 3), ``labels`` uint8 (N, H,
    W), and what is done to them.

    What the padding holds has no meaning: no index points there.
    """

    pictures: Tensor
    labels: Tensor
    rows: Axis
    columns: Axis

    def on(self, device: torch.device) -> "Batch":
        """The same on a device."""
        pictures = self.pictures.to(device, non_blocking=True)
        labels = self.labels.to(device, non_blocking=True)
        return Batch(pictures, labels, self.rows.on(device), self.columns.on(device))


@dataclass(frozen=True)
class Side:
    """One axis of a cut: the ``length`` of its box, the ``first`` sample of the box that lies on the picture,
    the ``count`` of those that do, and whether the axis is mirrored."""

    length: int
    first: int
    count: int
    flip: bool


def collate(cuts: Sequence[Cut], crop: tuple[int, int]) -> Batch:
    """Put cuts into one batch, to be seen by the network as ``crop`` = (height, width). The indices are
    computed here, in float64.

    Where pictures lie on a GPU, the indices lie in pinned memory: the way to it then does not wait for what
    the GPU is at.
    """
    height = max(cut.label.shape[0] for cut in cuts)
    width = max(cut.label.shape[1] for cut in cuts)
    device = cuts[0].label.device
    pictures = torch.empty(len(cuts), height, width, 3, dtype=torch.uint8, device=device)
    labels = torch.empty(len(cuts), height, width, dtype=torch.uint8, device=device)
    down: list[Side] = []
    across: list[Side] = []
    for place, cut in enumerate(cuts):
        h, w = cut.label.shape
        pictures[place, :h, :w] = cut.picture
        labels[place, :h, :w] = cut.label
        down.append(Side(cut.box.height, cut.top, h, flip=False))
        across.append(Side(cut.box.width, cut.left, w, cut.box.flip))
    rows, columns = _axis(down, crop[0]), _axis(across, crop[1])
    if device.type == "cuda":
        rows, columns = rows.pinned(), columns.pinned()
    return Batch(pictures, labels, rows, columns)


def _axis(sides: Sequence[Side], new: int) -> Axis:
    """The resizing of each side to ``new`` samples.

    Sample j of a box lies at j + ½ and weighs 1 - distance ÷ max(1, length ÷ new), as in ``resize_matrix``;
    the weights of a new sample sum to 1 over the box.
    """
    length = torch.tensor([side.length for side in sides])[:, None]  # (N, 1), as the next three
    first = torch.tensor([side.first for side in sides])[:, None]
    count = torch.tensor([side.count for side in sides])[:, None]
    flip = torch.tensor([side.flip for side in sides])[:, None]

    step = length.double() / new
    centres = (torch.arange(new, dtype=torch.float64) + 0.5) * step  # (N, new), in samples of the box
    centres = torch.where(flip, centres.flip(1), centres)

    # The T samples around each centre, counted from the corner of the box, and their weights: (N, new, T).
    reach = step.clamp(min=1)
    taps = torch.arange(math.ceil(2 * float(reach.max())))
    samples = (centres - reach + 0.5).floor().long()[:, :, None] + taps
    distance = (samples + 0.5 - centres[:, :, None]).abs()
    weight = (1 - distance / reach[:, :, None]).clamp(min=0)
    in_box = (samples >= 0) & (samples < length[:, :, None])
    weight = torch.where(in_box, weight, 0)
    weight = weight / weight.sum(2, keepdim=True)

    # The same, counted from the first sample that lies on the picture.
    samples = samples - first[:, :, None]
    on_picture = (samples >= 0) & (samples < count[:, :, None])
    weight = torch.where(on_picture, weight, 0)
    samples = samples.clamp(min=0).minimum(count[:, :, None] - 1)

    nearest = (2 * torch.arange(new) + 1) * length // (2 * new)  # in integers, exact
    nearest = torch.where(flip, nearest.flip(1), nearest) - first
    nearest = torch.where((nearest < 0) | (nearest >= count), -1, nearest)
    return Axis(samples, weight.float(), nearest)


def assemble(batch: Batch, ignore: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Resize, flip and normalise a whole batch on the device: pictures bilinearly, label maps to the nearest.

    Returns float32 (N, 3, height, width) in channels_last memory and int64 (N, height, width). What lies
    outside the pictures is mean colour and ``ignore``. Only products, sums and copies of single numbers, in a
    fixed order: repeatable on every device, with any threads.
    """
    pictures, labels, rows, columns = batch.on(device)
    return _resized_pictures(pictures, rows, columns), _resized_labels(labels, rows, columns, ignore)


def _resized_pictures(pictures: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Uint8 (N, H, W, 3) to normalised float32 (N, 3, new height, new width)."""
    n, height, width, channels = pictures.shape
    new_width = columns.nearest.shape[1]
    x = _mixed(pictures.reshape(n, height, width * channels), rows)  # (N, new height, W · 3)
    x = x.reshape(n, -1, width, channels).transpose(1, 2).reshape(n, width, -1)  # (N, W, new height · 3)
    x = _mixed(x, columns).reshape(n, new_width, -1, channels).permute(0, 3, 2, 1)

    mean, std = (values[:, None, None] for values in _statistics(pictures.device))
    inside_rows = rows.weight.sum(2)[:, None, :, None]
    inside_columns = columns.weight.sum(2)[:, None, None, :]
    inside = inside_rows * inside_columns  # how much of a pixel lies on the picture
    return ((x / 255 - mean * inside) / std).contiguous(memory_format=torch.channels_last)


def _resized_labels(labels: Tensor, rows: Axis, columns: Axis, ignore: int) -> Tensor:
    """Uint8 (N, H, W) to int64 (N, new height, new width)."""
    which = torch.arange(len(labels), device=labels.device)[:, None, None]
    down, right = rows.nearest[:, :, None], columns.nearest[:, None, :]
    found = labels[which, down.clamp(min=0), right.clamp(min=0)].long()
    return torch.where((down < 0) | (right < 0), ignore, found)


def _mixed(x: Tensor, axis: Axis) -> Tensor:
    """Replace the samples along the second axis of (N, H, L) by weighted sums of them: float32 (N, new, L).

    Gathering whole rows and adding them is 4 to 7 times faster on a CPU than products with a matrix that is
    zero nearly everywhere.
    """
    n, height, length = x.shape
    rows = x.reshape(n * height, length)
    first_row = height * torch.arange(n, device=x.device)[:, None, None]
    index = axis.samples + first_row  # (N, new, T), in ``rows``
    mixed = torch.zeros(n * index.shape[1], length, device=x.device)
    for tap in range(index.shape[2]):
        weight = axis.weight[:, :, tap].reshape(-1, 1)
        gathered = rows.index_select(0, index[:, :, tap].reshape(-1))
        mixed.addcmul_(weight, gathered.float())
    return mixed.reshape(n, -1, length)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """MEAN and STD on a device, copied there once: a copy in each step would make the CPU wait for a GPU."""
    return torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)


def normalise(picture: Tensor) -> Tensor:
    """(h, w, 3) uint8 RGB to (3, h, w) float32 with ImageNet's mean at 0."""
    mean, std = _statistics(picture.device)
    return ((picture.float() / 255 - mean) / std).permute(2, 0, 1)
