"""The field types that steps and automations share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError


def _flag(value: object) -> object:
    if not isinstance(value, bool | str):
        raise PydanticCustomError("flag", "must be an expression such as `{{ steps.match.total > 5000 }}`")
    return value


def _words(value: object) -> object:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise PydanticCustomError("words", "must be text, or a list of texts")
    return value


def _people(value: object) -> object:
    return value if isinstance(value, str) else _words(value)


def _elements(value: object) -> object:
    if not isinstance(value, list | str):
        raise PydanticCustomError("elements", "must be a list, or an expression that gives one")
    return value


def _count(value: object) -> object:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000
    if not is_number and value not in ("all", "auto"):
        raise PydanticCustomError("count", "must be a whole number from 1 to 10,000, `all` or `auto`")
    return value


def _shape(value: object) -> object:
    if not isinstance(value, dict | str):
        raise PydanticCustomError("shape", "must be the name of a model, or a JSON Schema")
    return value


Text = Annotated[str, Field(min_length=1, max_length=50_000)]
"""Text; may hold expressions."""

Line = Annotated[Text, AfterValidator(lambda text: " ".join(text.split()))]
"""Text that becomes a subject: YAML's `>` and `|` end it with a line break, and no header may hold one."""

Flag = Annotated[bool | str, BeforeValidator(_flag)]
"""An expression that is true or false."""

Words = Annotated[list[str], BeforeValidator(_words, json_schema_input_type=str | list[str])]
"""One word, or a list of them."""

People = Annotated[list[str] | str, BeforeValidator(_people)]
"""User names, or an expression that gives them."""

Elements = Annotated[list[object] | str, BeforeValidator(_elements)]
"""A list, or an expression that gives one."""

Pack = Annotated[Annotated[int, Field(ge=1, le=10_000)] | Literal["all", "auto"], BeforeValidator(_count)]
"""How many items share one task instance."""

Shape = Annotated[dict[str, object] | str, BeforeValidator(_shape)]
"""The name of a Pydantic model, or a JSON Schema."""

Values = dict[str, object]
"""Values by name; texts in them may be expressions."""
