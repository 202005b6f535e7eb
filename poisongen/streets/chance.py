"""What is left to chance in a drawn street: choices, lengths, and noise over pixels; without one float."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from poisongen.randomness import Stream

T = TypeVar("T")
Ints = NDArray[np.int64]


def pick(stream: Stream, choices: Sequence[T]) -> T:
    """One of the choices."""
    return choices[stream.below(len(choices))]


def between(stream: Stream, low: int, high: int) -> int:
    """An integer in low … high, both included."""
    return low + stream.below(high - low + 1)


def one_in(stream: Stream, number: int) -> bool:
    """True once in ``number`` draws, on average."""
    return stream.below(number) == 0


def noise(a: Ints, b: Ints, salt: int) -> Ints:
    """A byte for each pair of integers, int64 in 0 … 255, of the shape that ``a`` and ``b`` broadcast to.

    A hash, not a stream: a pair has the same byte in every picture, so that noise is tied to the world.
    """
    # Odd multipliers and shifts that mix high bits into low ones, as integer hashes have them; the top byte
    # is the one that depends on all bits.
    bits = a.astype(np.uint32) * np.uint32(0x9E3779B1) + np.uint32(salt & 0xFFFFFFFF)
    bits ^= bits >> np.uint32(15)
    bits = bits + b.astype(np.uint32) * np.uint32(0x85EBCA77)
    bits ^= bits >> np.uint32(16)
    bits *= np.uint32(0x2C1B3C6D)
    top_byte: Ints = (bits >> np.uint32(24)).astype(np.int64)
    return top_byte


def smooth_noise(stream: Stream, height: int, width: int, rows: int, columns: int) -> Ints:
    """A lattice of rows × columns random bytes, interpolated to (height, width), int64 in 0 … 255."""
    draws = stream.raw((rows + 1) * (columns + 1))
    top_bytes = (draws >> np.uint64(56)).astype(np.int64)
    lattice = top_bytes.reshape(rows + 1, columns + 1)
    between_rows = _interpolated(lattice, height, rows)  # (height, columns + 1)
    between_columns = _interpolated(between_rows.T, width, columns).T  # (height, width)
    # Each interpolation multiplied by 256.
    return between_columns >> 16


def _interpolated(points: Ints, size: int, cells: int) -> Ints:
    """``cells`` + 1 rows of points, interpolated to ``size`` rows, times 256."""
    position = np.arange(size, dtype=np.int64) * cells * 256 // size  # in 256ths of a cell
    cell = position >> 8
    into_cell = (position & 255)[:, None]
    before, after = points[cell], points[cell + 1]
    result: Ints = before * (256 - into_cell) + after * into_cell
    return result
