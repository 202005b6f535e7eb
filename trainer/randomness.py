"""Random numbers with addresses: (seed, purpose, epoch, index) decides the bits, so that neither workers, nor
order, nor an interruption changes one.

Only the raw 64-bit output of a Philox generator is used: NumPy promises its bits for ever, not the
distributions on top of them.
"""

import numpy as np
from numpy.typing import NDArray

ORDER, BOX, BLOCKS, DROPOUT = 0, 1, 2, 3
"""Purposes of a draw: the order of an epoch, a box, blocks of pictures for intervals, what networks draw."""


def raw_bits(seed: int, purpose: int, epoch: int, index: int, count: int) -> NDArray[np.uint64]:
    """``count`` uniform 64-bit integers at an address: seed and purpose are Philox's key, epoch and index
    open its counter."""
    key = np.array([seed, purpose], np.uint64)
    counter = np.array([0, 0, index, epoch], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def fraction(bits: np.uint64) -> float:
    """A uniform number in [0, 1): the upper 53 bits over 2⁵³, exact."""
    return (int(bits) >> 11) * 2.0**-53


def below(bits: np.uint64, bound: int) -> int:
    """A uniform integer in 0 … bound - 1: the upper half of bits · bound (biased by less than bound ÷
    2⁶⁴)."""
    return int(bits) * bound >> 64


def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of 0 … count - 1 in which an epoch visits its samples: the ranks of ``count`` draws."""
    draws = raw_bits(seed, ORDER, epoch, 0, count)
    return np.argsort(draws, kind="stable")
