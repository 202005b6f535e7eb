"""Randomness with addresses.

There is no global generator and no stream that depends on order, workers or other samples. A draw has an
address, ``(seed, purpose, sample id)``; its sha256 keys a Philox bit generator, of which only the raw 64-bit
output is used: NumPy promises the same bits for ever, but not the same distributions above them, so these are
derived here.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


class Stream:
    """The stream of 64-bit draws at one address.

    Two streams at different addresses are independent, two at the same address are the same.
    """

    def __init__(self, seed: int, purpose: str, sample_id: str) -> None:
        address = f"{seed}:{purpose}:{sample_id}".encode()
        self._bits = np.random.Philox(key=int.from_bytes(hashlib.sha256(address).digest()[:16], "little"))

    def raw(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` draws, uint64, shape (count,), uniform over all 64-bit integers."""
        return self._bits.random_raw(count)

    def below(self, bound: int) -> int:
        """A uniform integer in 0 … bound - 1, for 1 ≤ bound ≤ 2⁶⁴, without modulo bias (rejection)."""
        if not 1 <= bound <= 1 << 64:
            raise ValueError(f"bound must be in 1 … 2^64, found {bound}")
        limit = (1 << 64) - (1 << 64) % bound
        while True:
            draw = int(self._bits.random_raw())
            if draw < limit:
                return draw % bound


def order_key(seed: int, sample_id: str) -> bytes:
    """Samples are chosen in the order of this key: sha256 of ``seed:id``.

    The order does not depend on the attack or the rate, so that a smaller rate poisons a subset of what a
    larger one does.
    """
    return hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()
