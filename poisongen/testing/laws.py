"""What all choices have in common, and how a broken law is told."""

from typing import Any

from numpy.typing import NDArray

from poisongen.choices import Choice


def require(holds: object, law: str, where: object = "") -> None:
    """Raise AssertionError with the law, and where it is broken, unless it ``holds``."""
    if not holds:
        place = f" ({where})" if str(where) else ""
        raise AssertionError(f"Broken law: {law}{place}")


def check_choice(choice: Choice) -> None:
    """A choice is a value: the same after JSON, with a hash, told apart by its kind, described in a line."""
    kind = type(choice)
    own = kind.model_fields["kind"].default
    require(own == choice.kind, "a class has a kind of its own: kind: Literal[…] = …", kind.__name__)
    try:
        again = kind.model_validate_json(choice.model_dump_json())
    except ValueError as error:
        raise AssertionError(f"Broken law: a choice can be read back from its JSON ({error})") from error
    require(again == choice, "a choice is the same after it was written as JSON and read", repr(choice))
    try:
        same_hash = hash(again) == hash(choice)
    except TypeError as error:
        raise AssertionError(f"Broken law: a choice is frozen and has a hash ({error})") from error
    require(same_hash, "equal choices have one hash", repr(choice))


def check_form(array: NDArray[Any], dtype: str, shape: tuple[int, ...], law: str, where: str) -> None:
    """The array has this type and shape."""
    found = f"{array.dtype}, {array.shape}"
    require(str(array.dtype) == dtype and array.shape == shape, law, f"{where}: {found}")


def check_words(words: object, what: str) -> None:
    """A description is a line of text."""
    is_line = isinstance(words, str) and bool(words.strip()) and "\n" not in words
    require(is_line, f"{what} is described in a line of text", repr(words))
