"""JSON to frozen dataclasses and back, checked by their type hints; and the JSON Schema of them.

A small part of what pydantic does, because a stock GPU image has no pydantic. A field may be a ``str``,
``bool``, ``int``, ``float``, another dataclass, ``T | None``, ``tuple[T, ...]`` or ``Mapping[str, T]``, and
any of them ``Annotated`` with a ``Range``. A field with a default may be left out; one whose default is None
or empty is left out where it has it: what is not there does not apply. A field of the type ``Figure`` is two
keys: ``asr`` and ``asr_interval``.
"""

import dataclasses
import math
import reprlib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from trainer.errors import printable

T = TypeVar("T")
INTERVAL = "_interval"  # what the key of a figure's interval ends in
LARGEST = 1 << 62  # of a number without a range
MAX_SHOWN = 80  # characters of a value, or of the path to it, in an error
EMPTY: tuple[object, ...] = (None, (), {})  # defaults that mean "does not apply"


class NotThisType(ValueError):
    """A value is not of the type that it should have. ``where``: the path of keys to it."""

    def __init__(self, where: str, expected: str, found: object) -> None:
        self.where, self.expected = _short(where), expected
        self.found = _short(reprlib.repr(found))  # which does not go into the depth of what is nested
        super().__init__(f"{self.where}: expected {expected}, found {self.found}")


def _short(text: str) -> str:
    """Text for an error, of which nobody knows how long it is and what signs are in it."""
    return printable(text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…")


@dataclass(frozen=True)
class Range:
    """The least and the greatest number that a field may have."""

    least: float
    most: float

    @property
    def words(self) -> str:
        """For an error: ``a number from 0 to 1``."""
        return f"a number from {self.least:g} to {self.most:g}"


Count = Annotated[int, Range(0, LARGEST)]
Fraction = Annotated[float, Range(0, 1)]
DIFFERENCE = Range(-1, 1)
Difference = Annotated[float, DIFFERENCE]


@dataclass(frozen=True)
class Figure:
    """A figure and, where it has one, the ends of its interval; None where there is nothing to divide by."""

    value: Difference | None
    low: Difference | None = None
    high: Difference | None = None


Share = Annotated[Figure, Range(0, 1)]
"""A figure that is no difference of two."""


@dataclass(frozen=True)
class _Hint:
    """A type hint taken apart: the plain type, its range if it has one, and whether it may be None."""

    kind: Any
    limits: Range | None
    optional: bool


@cache
def _taken_apart(hint: Any) -> _Hint:
    optional, limits = False, None
    while True:
        if types.NoneType in get_args(hint):
            (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
            optional = True
        elif get_origin(hint) is Annotated:
            hint, limits = get_args(hint)
        else:
            return _Hint(hint, limits, optional)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def parse(kind: type[T], value: object, where: str = "") -> T:
    """What ``json.loads`` gave as a dataclass. Raises NotThisType: the first thing that is wrong."""
    if not isinstance(value, dict):
        raise NotThisType(where or "the file", "an object", value)
    hints: dict[str, Any] = _hints(kind)  # type: ignore[arg-type]
    fields: dict[str, Any] = {}
    known: set[str] = set()
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        key, path = field.name, f"{where}.{field.name}" if where else field.name
        hint = _taken_apart(hints[key])
        is_there = key in value
        if is_there:
            known.add(key)
        elif not _has_default(field):
            raise NotThisType(path, "a value", "nothing")
        if is_there and hint.kind is Figure:
            known.add(key + INTERVAL)
            fields[key] = _figure(value[key], value.get(key + INTERVAL), hint.limits or DIFFERENCE, path)
        elif is_there:
            fields[key] = _parsed(hint, value[key], path)
    for key in value:
        if key not in known:
            raise NotThisType(f"{where}.{key}" if where else str(key), "no such key", value[key])
    return kind(**fields)


def _figure(value: object, interval: object, limits: Range, where: str) -> Figure:
    number = None if value is None else _number(float, value, limits, where)
    if interval is None:
        return Figure(number)
    if not isinstance(interval, list) or len(interval) != 2:
        raise NotThisType(where + INTERVAL, "two numbers, or null", interval)
    low, high = (_number(float, end, limits, where + INTERVAL) for end in interval)
    if number is None or not low <= number <= high:
        raise NotThisType(where + INTERVAL, f"an interval around {number}", interval)
    return Figure(number, low, high)


def _parsed(hint: _Hint, value: object, where: str) -> Any:
    if value is None and hint.optional:
        return None
    kind, origin = hint.kind, get_origin(hint.kind)
    if dataclasses.is_dataclass(kind):
        return parse(kind, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list):
            raise NotThisType(where, "a list", value)
        kinds = get_args(kind)  # (int, ...), or one for each part
        if kinds[-1] is not Ellipsis and len(value) != len(kinds):
            raise NotThisType(where, f"a list of {len(kinds)}", value)
        inner = _taken_apart(kinds[0])
        return tuple(_parsed(inner, part, f"{where}[{number}]") for number, part in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise NotThisType(where, "an object", value)
        inner = _taken_apart(get_args(kind)[1])
        return {_text(key, where): _parsed(inner, part, f"{where}.{key}") for key, part in value.items()}
    if kind is str:
        return _text(value, where)
    if kind is bool:
        if not isinstance(value, bool):
            raise NotThisType(where, "true or false", value)
        return value
    return _number(kind, value, hint.limits, where)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise NotThisType(where, "text", value)
    if any(0xD800 <= ord(char) < 0xE000 for char in value):
        raise NotThisType(where, "text without half characters", value)
    return value


def _number(kind: type, value: object, limits: Range | None, where: str) -> Any:
    any_number = "a whole number" if kind is int else "a number"
    words = limits.words if limits else any_number
    fits = type(value) is int or (kind is float and type(value) is float and math.isfinite(value))
    least, most = (limits.least, limits.most) if limits else (-LARGEST, LARGEST)
    if not fits or not least <= value <= most:  # type: ignore[operator]
        raise NotThisType(where, words, value)
    return kind(value)


def plain(value: Any) -> Any:
    """A dataclass as ``json.dumps`` takes it; the inverse of ``parse``."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if part in EMPTY and _has_default(field) and part == _default(field):
            continue
        if isinstance(part, Figure):
            found[field.name] = part.value
            if part.low is not None:
                found[field.name + INTERVAL] = [part.low, part.high]
        else:
            found[field.name] = plain(part)
    return found


def schema(kind: type, title: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a dataclass."""
    definitions: dict[str, Any] = {}
    top = _object_schema(kind, definitions)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return head | top | {"$defs": dict(sorted(definitions.items()))}


def _object_schema(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in dataclasses.fields(kind):
        hint = _taken_apart(_hints(kind)[field.name])
        if hint.kind is Figure:
            limits = hint.limits or DIFFERENCE
            number = {"type": "number", "minimum": limits.least, "maximum": limits.most}
            properties[field.name] = _or_null(number)
            ends = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
            properties[field.name + INTERVAL] = _or_null(ends)
        else:
            properties[field.name] = _schema(hint, definitions)
        if not _has_default(field):
            required.append(field.name)
    words = (kind.__doc__ or "").partition("\n\n")[0]
    return {
        "type": "object",
        "description": " ".join(words.split()),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _or_null(one: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "null"}]}


def _schema(hint: _Hint, definitions: dict[str, Any]) -> dict[str, Any]:
    plain_kinds = {str: "string", bool: "boolean", int: "integer", float: "number"}
    kind, origin = hint.kind, get_origin(hint.kind)
    found: dict[str, Any]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # a type that holds itself refers to this
            definitions[kind.__name__] = _object_schema(kind, definitions)
        found = {"$ref": f"#/$defs/{kind.__name__}"}
    elif origin is tuple:
        found = {"type": "array", "items": _schema(_taken_apart(get_args(kind)[0]), definitions)}
    elif origin is Mapping:
        inner = _schema(_taken_apart(get_args(kind)[1]), definitions)
        found = {"type": "object", "additionalProperties": inner}
    else:
        found = {"type": plain_kinds[kind]}
        if hint.limits:
            found |= {"minimum": hint.limits.least, "maximum": hint.limits.most}
    return _or_null(found) if hint.optional else found
