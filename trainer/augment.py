"""Augmentation in two halves: a worker cuts a box out of a picture, the device resizes, flips and normalises a batch of boxes.

Every draw has an address, (seed, epoch, index), so that neither workers, nor order, nor an interruption changes one. Only the raw
64-bit output of a Philox generator is used: NumPy promises its bits for ever, not the distributions on top of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.resample import resize_matrix

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1], as torchvision's weights expect
STD = (0.229, 0.224, 0.225)

ORDER, BOX, DROPOUT = 0, 1, 3  # purposes of a draw; 2 is that of intervals.py


def raw_bits(seed: int, purpose: int, epoch: int, index: int, count: int) -> NDArray[np.uint64]:
    """``count`` uniform 64-bit integers at an address. The seed and purpose are Philox's key, epoch and index open its counter."""
    counter = np.array([0, 0, index, epoch], np.uint64)
    return np.random.Philox(key=np.array([seed, purpose], np.uint64), counter=counter).random_raw(count)


def fraction(bits: np.uint64) -> float:
    """A uniform number in [0, 1): the upper 53 bits over 2⁵³, exact."""
    return (int(bits) >> 11) * 2.0**-53


def below(bits: np.uint64, bound: int) -> int:
    """A uniform integer in 0 … bound - 1: the upper half of bits · bound (biased by less than bound ÷ 2⁶⁴)."""
    return int(bits) * bound >> 64


def order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The permutation of 0 … count - 1 in which an epoch visits its samples: the ranks of ``count`` draws."""
    return np.argsort(raw_bits(seed, ORDER, epoch, 0, count), kind="stable")


@dataclass(frozen=True)
class Box:
    """A window on a picture, in its pixels; it may reach over every border. ``flip``: mirrored, left to right."""

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
    seed: int, epoch: int, index: int, size: tuple[int, int], crop: tuple[int, int], scale: tuple[float, float], flip: bool
) -> Box:
    """The box of one sample in one epoch: the crop's size times U(scale), flipped half of the time.

    Along each axis it lies uniformly within the picture (of ``size`` = height, width) or, where it is larger, around it.
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
    """What a worker hands over: the part of a box that lies on the picture, and where in the box that is.

    ``picture`` is uint8 (h, w, 3) RGB, ``label`` uint8 (h, w) training ids; ``top`` and ``left`` count from the box's corner.
    """

    picture: Tensor
    label: Tensor
    box: Box
    top: int
    left: int

    def pin_memory(self) -> "Cut":
        """The same in memory from which a GPU can copy by itself; the loader calls this."""
        return Cut(self.picture.pin_memory(), self.label.pin_memory(), self.box, self.top, self.left)


def cut(picture: NDArray[np.uint8], label: NDArray[np.uint8], box: Box) -> Cut:
    """Slice a box out of a picture (H, W, 3) and its label map (H, W)."""
    rows, columns = box.inside(*label.shape)
    inside = torch.from_numpy(picture[rows, columns].copy()), torch.from_numpy(label[rows, columns].copy())
    return Cut(*inside, box=box, top=rows.start - box.top, left=columns.start - box.left)


def normalise(picture: Tensor) -> Tensor:
    """(h, w, 3) uint8 RGB to (3, h, w) float32 with ImageNet's mean at 0, so that padding with zeros pads with the mean colour."""
    mean, std = (torch.tensor(values, device=picture.device) for values in (MEAN, STD))
    return ((picture.float() / 255 - mean) / std).permute(2, 0, 1)


def assemble(cuts: Sequence[Cut], crop: tuple[int, int], ignore: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Resize a batch of boxes to ``crop`` = (height, width) on the device: pictures bilinearly, label maps to the nearest.

    Returns float32 (N, 3, height, width) and int64 (N, height, width). What lies outside the pictures is mean colour and ``ignore``.
    """
    pictures, labels = [], []
    for item in cuts:
        picture = normalise(item.picture.to(device, non_blocking=True))  # (3, h, w)
        label = item.label.to(device, non_blocking=True)  # (h, w)
        box, (h, w) = item.box, label.shape
        rows = resize_matrix(box.height, crop[0], device)[:, item.top : item.top + h].float()  # (crop height, h)
        columns = resize_matrix(box.width, crop[1], device)[:, item.left : item.left + w].float()  # (crop width, w)
        down, right = nearest(box.height, crop[0], device) - item.top, nearest(box.width, crop[1], device) - item.left
        if box.flip:
            columns, right = columns.flip(0), right.flip(0)
        pictures.append(rows @ picture @ columns.T)
        outside = ((down < 0) | (down >= h))[:, None] | ((right < 0) | (right >= w))
        found = label[down.clamp(0, h - 1)][:, right.clamp(0, w - 1)].long()
        labels.append(torch.where(outside, ignore, found))
    return torch.stack(pictures), torch.stack(labels)


def nearest(old: int, new: int, device: torch.device) -> Tensor:
    """For each of ``new`` samples the one of ``old`` in whose pixel its centre lies: int64 (new,), in integers, exact."""
    return (2 * torch.arange(new, device=device) + 1) * old // (2 * new)
