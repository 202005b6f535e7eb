"""What pydantic finds wrong with a value, as the first fault in words: the errors of this project are made of
it."""

from typing import NamedTuple

from pydantic import ValidationError

_OWN_RULE = "Value error, "
"""What pydantic puts in front of the words of a ValueError that a model's own rule raised."""


class Fault(NamedTuple):
    """``where``: the keys that lead to the value, with points between them, empty for the whole; ``kind``:
    pydantic's name of the fault; ``message``: what is wrong, in words."""

    where: str
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def first_fault(error: ValidationError) -> Fault:
    """The first of the faults that a validation found."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return Fault(where, first["type"], first["msg"].removeprefix(_OWN_RULE))
