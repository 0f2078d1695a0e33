"""The base of every model a person writes in YAML, and the field types such models share."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
"""A name in lower case: letters, digits and underscores, starting with a letter."""

SkillName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$", max_length=200)]
"""The name of a skill: `<domain>.<verb_noun>`."""


def _decimal(value: object) -> object:
    # YAML reads 0.50 as a float; its shortest text is what the person wrote. JSON holds a text.
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            return value
    return value


Usd = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6), BeforeValidator(_decimal)]
"""An amount in US dollars."""


class YamlModel(BaseModel):
    """Frozen, unknown keys and converted types refused; the docstring under a field is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # `use_attribute_docstrings` would read every source file at import, which took half of the time that each
        # task's process needs for Muster's modules. Only a schema needs the texts.
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        kinds = [kind for kind in reversed(cls.__mro__) if issubclass(kind, YamlModel)]
        texts = {name: said for kind in kinds for name, said in _docstrings(kind)}
        for name, field in cls.model_fields.items():
            if name in texts and (described := properties.get(field.alias or name)) is not None:
                described.setdefault("description", texts[name])
        return schema


def _docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """The fields of a class with the texts under them."""
    [declared] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(declared, ast.ClassDef)
    for field, said in pairwise(declared.body):
        match field, said:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
