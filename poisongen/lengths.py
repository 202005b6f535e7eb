"""Exact quantities as people write them: lengths in pixels or per cent of the picture's height, and rates."""

import re
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Annotated, Literal, Self

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from poisongen.errors import RecipeError


def round_half_up(value: Decimal) -> int:
    """⌊value + ½⌋, the one rounding of this project."""
    return int((value + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


_DECIMAL = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?|-?\.[0-9]{1,12}", re.ASCII)


def parse_decimal(text: str, what: str) -> Decimal:
    """The exact number that ``text`` writes in plain digits; RecipeError for anything else (NaN, exponents,
    too many digits)."""
    if not _DECIMAL.fullmatch(text.strip()):
        todo = "write the decimals after a point, not a comma" if "," in text else None
        raise RecipeError(
            f"The {what} is not a number.",
            expected="a plain decimal number",
            found=repr(text[:40]),
            todo=todo,
        )
    return Decimal(text.strip()) + 0  # -0 becomes 0


def plain(value: Decimal) -> str:
    """A decimal without exponent and trailing zeros, so that equal numbers are written the same: ``0.10`` →
    ``0.1``."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Length:
    """A length: ``110px`` (or a bare number), or ``10.7%`` of the picture's height."""

    value: Decimal
    unit: Literal["px", "%"]

    @classmethod
    def parse(cls, text: "str | Length") -> Self:
        """Read ``110px``, ``110`` or ``10.7%``. Raises RecipeError for anything else, and for negative
        lengths."""
        if isinstance(text, Length):
            return cls(text.value, text.unit)
        if not isinstance(text, str):
            raise RecipeError("A length is not text.", expected="110px or 10.7%", found=repr(text)[:40])
        bare = text.strip().lower()
        unit: Literal["px", "%"] = "%" if bare.endswith("%") else "px"
        value = parse_decimal(bare[:-1] if unit == "%" else bare.removesuffix("px"), "length")
        if value < 0 or (unit == "px" and value != value.to_integral_value()):
            raise RecipeError(
                "A length cannot be used.",
                expected="whole pixels (110px) or per cent of the height (10.7%)",
                found=repr(text),
            )
        return cls(value, unit)

    def pixels(self, height: int) -> int:
        """Whole pixels in a picture of ``height`` rows, rounded half up."""
        return int(self.value) if self.unit == "px" else round_half_up(self.value * height / 100)

    def __str__(self) -> str:
        return plain(self.value) + self.unit


LengthField = Annotated[
    Length,
    PlainValidator(Length.parse),
    PlainSerializer(
        lambda length: f"{length}", return_type=str
    ),  # pydantic 2.6 cannot look into the class str
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(px|%)$"}),
]
"""A Length as a field of a pydantic model: a string in JSON."""


def parse_share(text: str, what: str) -> str:
    """A share in (0, 1] in canonical form; ``10%`` is read as ``0.1``. Raises RecipeError."""
    value = _parse_fraction(text, what)
    if not 0 < value <= 1:
        raise RecipeError(f"The {what} is out of range.", expected=f"0 < {what} ≤ 1", found=text.strip())
    return _canonical(value, what)


def _parse_fraction(text: str, what: str) -> Decimal:
    """The number that ``0.1`` or ``10%`` writes, whatever its size. Raises RecipeError."""
    if not isinstance(text, str):
        raise RecipeError(
            f"The {what} is not text.", expected="a plain decimal number", found=repr(text)[:40]
        )
    bare = text.strip()
    value = parse_decimal(bare.removesuffix("%"), what)
    return value / 100 if bare.endswith("%") else value


def _canonical(value: Decimal, what: str) -> str:
    text = plain(value)
    parse_decimal(text, what)  # a recipe can be read back, so per cent have two decimals less
    return text


def share_of(share: str, whole: int) -> int:
    """⌊share · whole + ½⌋ in exact decimals, at least 1."""
    return max(1, round_half_up(Decimal(share) * whole))


def parse_rate(text: str) -> str:
    """A poisoning rate in (0, 1] in canonical form; ``10%`` is read as ``0.1``. Raises RecipeError."""
    what = "poisoning rate"
    value = _parse_fraction(text, what)
    if not 0 < value <= 1:
        raise RecipeError(
            f"The {what} is out of range.",
            expected="0 < rate ≤ 1, a share of all training pictures",
            found=text.strip(),
            todo="for ten per cent give 0.1 or 10%",
        )
    return _canonical(value, what)


def number_poisoned(rate: str, pictures: int) -> int:
    """⌊rate · N + ½⌋ in exact decimals, at least 1 (0.1 × 2975 → 298, as published)."""
    return share_of(rate, pictures)
