"""Bilinear resizing and average pooling as two small matrix products, one for the rows and one for the
columns.

Both are linear and separable, so an H×W picture becomes ``rows @ picture @ columns.T``. Written like this,
forward and backward are deterministic on every device (torch's own kernels add atomically on CUDA, or
refuse), and a box that reaches over the border of a picture, a flip and a scale are nothing but other
matrices.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor


def resize_matrix(old: int, new: int, device: torch.device | str = "cpu") -> Tensor:
    """Bilinear resizing of ``old`` samples to ``new``: float64 of shape (new, old), rows summing to 1.

    Sample j lies at j + ½ (torch: ``align_corners=False``) and weighs 1 - distance ÷ max(1, old ÷ new).
    Enlarging, that is linear interpolation; reducing, the triangle widens with the step, so that every sample
    counts (torch: ``antialias=True``).
    """
    step = old / new
    centres = (torch.arange(new, dtype=torch.float64, device=device) + 0.5) * step
    samples = torch.arange(old, dtype=torch.float64, device=device) + 0.5
    weights = (1 - (samples - centres[:, None]).abs() / max(1.0, step)).clamp_(min=0)  # (new, old)
    return weights / weights.sum(1, keepdim=True)


def pooling_matrix(old: int, new: int, device: torch.device | str = "cpu") -> Tensor:
    """Adaptive average pooling of ``old`` samples to ``new`` cells: float64 of shape (new, old).

    Cell i averages the samples from ⌊i·old/new⌋ up to ⌈(i+1)·old/new⌉, as torch's ``adaptive_avg_pool2d``
    does.
    """
    cells, samples = torch.arange(new, device=device)[:, None], torch.arange(old, device=device)
    inside = (samples >= cells * old // new) & (samples < -(-(cells + 1) * old // new))
    return inside.double() / inside.sum(1, keepdim=True)


Matrix = Callable[[int, int, torch.device], Tensor]
"""``resize_matrix`` or ``pooling_matrix``."""


@lru_cache(maxsize=64)
def _cached(matrix: Matrix, old: int, new: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # what is cached in an evaluation is used again in training
        return matrix(old, new, device).to(dtype)


def resample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply (N, C, H, W) from both sides: rows (R, H) and columns (S, W) give (N, C, R, S), in
    channels_last memory."""
    n, c, h, w = x.shape
    r, s = len(rows), len(columns)
    by_row = x.permute(0, 2, 3, 1).reshape(n * h, w, c)
    x = torch.bmm(columns.expand(n * h, s, w), by_row)  # (N · H, S, C)
    x = torch.bmm(rows.expand(n, r, h), x.reshape(n, h, s * c))  # (N, R, S · C)
    return x.reshape(n, r, s, c).permute(0, 3, 1, 2)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, C, H, W) bilinearly to ``size`` = (height, width), in the dtype of ``x``."""
    if x.shape[2:] == size:
        return x
    return _from_both_sides(resize_matrix, x, size)


def pool(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average (N, C, H, W) over a grid of (rows, columns) cells, in the dtype of ``x``."""
    return _from_both_sides(pooling_matrix, x, grid)


def _from_both_sides(matrix: Matrix, x: Tensor, size: tuple[int, int]) -> Tensor:
    """Multiply (N, C, H, W) from both sides by the matrices that lead to ``size``, in the dtype of ``x``."""
    height, width = x.shape[2:]
    rows = _cached(matrix, height, size[0], x.device, x.dtype)
    columns = _cached(matrix, width, size[1], x.device, x.dtype)
    return resample(x, rows, columns)
