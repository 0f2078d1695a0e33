"""What values are called in messages about them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal


def kind_of(value: object) -> str:
    """What a value is, for a sentence."""
    if value is None:
        return "null"
    names = {bool: "true or false", str: "a text", int: "a number", float: "a number", Decimal: "a number"}
    if isinstance(value, datetime | date):
        return "a date"
    if isinstance(value, Mapping):
        return "a mapping"
    return names.get(type(value), "a list" if isinstance(value, list | tuple) else "a value")
