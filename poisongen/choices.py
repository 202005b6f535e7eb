"""Fields of a recipe that hold one of several kinds of a thing, told apart by ``kind``.

The kinds stand in a dict; a new one is a class and a line of that dict, and parsing, serialisation and the
JSON Schema follow.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from poisongen.errors import RecipeError
from poisongen.validation import first_fault


class Choice(BaseModel):
    """One kind of a thing. Subclasses are frozen values; ``kind`` is a literal of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str


Kind = TypeVar("Kind", bound=Choice)


class OneOf:
    """Annotation of a field: an instance of one of ``kinds``, or its JSON object. ``kinds`` may grow until it
    is used."""

    def __init__(self, what: str, kinds: Mapping[str, type[Choice]]) -> None:
        self.what, self.kinds = what, kinds

    def parse(self, value: Any) -> Choice:
        """Raises ValueError for something else (which pydantic reports), RecipeError for values that cannot
        be."""
        if isinstance(value, Choice):
            return value
        kind = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in self.kinds:
            raise ValueError(
                f"there is no {self.what} of the kind {str(kind)[:40]!r}; there are {', '.join(self.kinds)}"
            )
        return self.kinds[kind].model_validate(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value.model_dump(mode="json")
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"oneOf": [kind.model_json_schema(mode="serialization") for kind in self.kinds.values()]}


def configure(model: Kind, given: Mapping[str, tuple[str, Any]]) -> Kind:
    """``model`` with other values: ``given`` maps fields that it has to (option, value).

    Raises RecipeError, which names the option, for a value that the field cannot have.
    """
    updates = {field: value for field, (_, value) in given.items()}
    try:
        return type(model).model_validate(model.model_dump() | updates)
    except ValidationError as error:
        fault = first_fault(error)
        option, value = given.get(fault.where.partition(".")[0], ("A value", None))
        raise RecipeError(
            f"{option} cannot be used.", expected=fault.message, found=repr(str(value)[:80])
        ) from None
