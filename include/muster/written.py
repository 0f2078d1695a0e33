"""The base of every model a person writes in YAML, and the field types such models share."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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


class Written(BaseModel):
    """Frozen, unknown keys and converted types refused; the docstring under a field is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
