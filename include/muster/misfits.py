"""What Pydantic finds wrong with a value, in plain words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Pydantic is heavy, and whoever has one of its errors has imported it.
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

KINDS_OF_VALUE: dict[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "is_instance_of": "a number",
}
"""What a value must be, by the type of the error. Which class an instance must be of is said by who asks for one."""

BOUNDS: dict[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "less_than": ("lt", "must be less than {}"),
    "string_too_short": ("min_length", "must have {} characters or more"),
    "string_too_long": ("max_length", "must have {} characters or fewer"),
    "too_short": ("min_length", "must have {} entries or more"),
    "too_long": ("max_length", "must have {} entries or fewer"),
    "decimal_max_places": ("decimal_places", "must have at most {} decimal places"),
    "decimal_max_digits": ("max_digits", "must have at most {} digits"),
}
"""What is out of bounds, by the type of the error: the name of the bound, and the sentence."""

_SHOULD = re.compile(r"^\w+(?: \w+)? should ")
_FIXED = {"missing": "is missing", "extra_forbidden": "is not known here"}


def misfits(error: ValidationError) -> list[str]:
    """What does not fit a model, each with its place."""
    return [f"{'.'.join(map(str, each['loc'])) or 'value'}: {in_words(each)}" for each in error.errors()]


def in_words(details: ErrorDetails) -> str:
    """What is wrong with one value, without Pydantic's words; what a check of ours says stays as it is."""
    kind = details["type"]
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in KINDS_OF_VALUE and kind != "is_instance_of":
        return f"must be {KINDS_OF_VALUE[kind]}"
    if (bound := bound_in_words(details)) is not None:
        return bound
    return _SHOULD.sub("must ", details["msg"].removeprefix("Value error, "))


def bound_in_words(details: ErrorDetails) -> str | None:
    """Which bound a value is beyond; None when it is another mistake."""
    if details["type"] not in BOUNDS:
        return None
    name, words = BOUNDS[details["type"]]
    bound = details.get("ctx", {}).get(name)
    return "must not be empty" if name == "min_length" and bound == 1 else words.format(bound)
