"""The losses, of float32 logits (N, K, H, W) and int64 training ids (N, H, W) with IGNORE.

Sums are divided here: torch's own mean has no deterministic form on CUDA.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.dataset.folder import IGNORE

GAMMA = 0.5  # of the focal factor
BANDS = ((4, 8.0), (16, 4.0), (64, 2.0))
"""Up to so many pixels from a class boundary, a pixel weighs so much; beyond, 1."""


@dataclass(frozen=True)
class Loss:
    """A weighted mean over pixels, in two parts: a batch may be computed piece by piece, and the pieces have
    one mean only together.

    ``weights`` takes labels and gives the weight of each pixel (N, H, W); ``total`` takes logits, labels and
    these weights and gives the weighted sum. Called with logits and labels, it is the mean.
    """

    weights: Callable[[Tensor], Tensor]
    total: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = self.weights(labels)
        return self.total(logits, labels, weights) / weights.sum().clamp(min=1)


def labelled(labels: Tensor) -> Tensor:
    """1 for each labelled pixel of (N, H, W): bool."""
    return labels != IGNORE


def cross_entropy_sum(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The sum of -ln p over labelled pixels, where p is the probability of the true class. ``weights`` says
    nothing more here."""
    return F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none").sum()


def boundary_focal_sum(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The sum of w · (1 - p)^γ · -ln p over labelled pixels; p as above, γ = 0.5, w from
    ``boundary_weights``.

    The pyramidal SwiftNet is trained with a boundary-aware focal loss of this γ (Oršić & Šegvić, Pattern
    Recognition 2021). Decided here: the focal factor is that of Lin et al. (ICCV 2017); w is 8 up to 4 pixels
    from a class boundary, 4 up to 16, 2 up to 64, and 1 beyond, in pixels of the box that the network sees;
    the sum is divided by the sum of w, so that its scale stays that of cross-entropy.
    """
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    doubt = -torch.expm1(-losses)  # 1 - p, without losing the digits of a p near 1
    return (weights * (doubt.clamp(min=1e-12) ** GAMMA * losses)).sum()  # the root has no slope at 0


def boundary_weights(labels: Tensor) -> Tensor:
    """The weight of each pixel of (N, H, W) training ids: float32 (N, H, W), by ``BANDS``; 0 where the label
    is IGNORE.

    The distance is Euclidean, from a pixel's centre to that of the nearest pixel on a class boundary: one
    with a neighbour (above, below, left, right) of another class. What is ignored is no class, so there is no
    boundary with it. Decided here. Integers only, hence exact and the same on every device.
    """
    square = squared_distances(boundaries(labels), BANDS[-1][0])
    weights = torch.ones(labels.shape, device=labels.device)
    for radius, weight in reversed(BANDS):
        weights.masked_fill_(square <= radius * radius, weight)
    return weights.masked_fill_(labels == IGNORE, 0)


def boundaries(labels: Tensor) -> Tensor:
    """The pixels of (N, H, W) training ids that have a neighbour of another class: bool (N, H, W)."""
    found = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    for axis in (1, 2):
        pairs = labels.shape[axis] - 1
        first, second = labels.narrow(axis, 0, pairs), labels.narrow(axis, 1, pairs)
        differ = (first != second) & (first != IGNORE) & (second != IGNORE)
        for start in (0, 1):
            found.narrow(axis, start, pairs).logical_or_(differ)
    return found


def squared_distances(points: Tensor, reach: int) -> Tensor:
    """The squared Euclidean distance to the nearest True of bool (N, H, W): int16 (N, H, W), exact up to
    ``reach``² (reach < 128).

    What lies farther has some number above ``reach``². Along columns the distance is found bit by bit, then
    along rows by trying each offset: additions, products and minima of whole tensors.
    """
    far = reach + 1  # 2 · far² fits
    height, width = points.shape[1:]
    column = torch.full(points.shape, far, dtype=torch.int16, device=points.device).masked_fill_(points, 0)
    up, down = column.clone(), column.clone()
    step = 1
    while step < min(far, height):
        up[:, step:] = torch.minimum(up[:, step:], up[:, :-step] + step)
        down[:, :-step] = torch.minimum(down[:, :-step], down[:, step:] + step)
        step *= 2
    square = torch.minimum(up, down).clamp_(max=far) ** 2
    nearest = square.clone()
    for offset in range(1, min(far, width)):
        shifted = square + offset * offset
        nearest[:, :, offset:] = torch.minimum(nearest[:, :, offset:], shifted[:, :, :-offset])
        nearest[:, :, :-offset] = torch.minimum(nearest[:, :, :-offset], shifted[:, :, offset:])
    return nearest


cross_entropy = Loss(labelled, cross_entropy_sum)
boundary_focal = Loss(boundary_weights, boundary_focal_sum)

LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "boundary-focal": boundary_focal}
"""By the names of the setting ``loss``."""
