"""Schemas of what messages say, by name; a body that does not fit its schema is refused with the place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from muster.coordination.messages.model import MessageRefused
from muster.misfits import misfits

Schema = type[BaseModel] | TypeAdapter[Any] | Mapping[str, Any]
"""A pydantic model or type, or a JSON Schema."""


class Schemas:
    """What bodies are checked against as they are sent."""

    def __init__(self, schemas: Mapping[str, Schema] | None = None) -> None:
        """
        Raises:
            MessageRefused: one of them is not a JSON Schema.
        """
        self._checks = {name: check_of(name, schema) for name, schema in (schemas or {}).items()}

    def ensure_fits(self, name: str | None, body: object) -> None:
        """Do nothing if the body fits the schema of this name, or there is no name.

        Raises:
            MessageRefused: there is no such schema, or the body does not fit it; the message says where.
        """
        if name is None:
            return
        if name not in self._checks:
            there = ", ".join(sorted(self._checks)) or "none"
            raise MessageRefused(f"There is no schema `{name}`.", remedy=f"Name one of those that there are: {there}.")
        if problems := self._checks[name](body):
            raise MessageRefused(
                f"The message does not fit the schema `{name}`: {'; '.join(problems)}.",
                remedy="Send what the schema asks for, or name another schema.",
            )


def check_of(name: str, schema: Schema) -> Callable[[object], list[str]]:
    """What says where a value does not fit a schema; `name` is the schema's, for the error that it is none.

    Raises:
        MessageRefused: it is not a JSON Schema.
    """
    if isinstance(schema, Mapping):
        return _json_check(name, schema)
    adapter = schema if isinstance(schema, TypeAdapter) else TypeAdapter(schema)

    def check(body: object) -> list[str]:
        try:
            adapter.validate_python(body)
        except ValidationError as error:
            return misfits(error)
        return []

    return check


def _json_check(name: str, schema: Mapping[str, Any]) -> Callable[[object], list[str]]:
    # Imported late: most messages name a model or nothing.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise MessageRefused(f"`{name}` is not a JSON Schema: {error.message}.") from error
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)

    def check(body: object) -> list[str]:
        return [f"{error.json_path.removeprefix('$.')}: {error.message}" for error in validator.iter_errors(body)]

    return check
