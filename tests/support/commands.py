"""How a test calls a command, and how the command ended."""

from collections.abc import Callable
from typing import NamedTuple


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]
