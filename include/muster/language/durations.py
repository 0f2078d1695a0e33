"""Lengths of time as people write them: `30m`, `24h`, `1d`, `1h30m`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

PATTERN = r"^(?=[0-9])([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}(\.[0-9]{1,3})?s)?$"
"""What a duration looks like, as a regular expression that JSON Schema shares."""

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> float:
    """Seconds in a duration; raises ValueError when the text is none."""
    if not re.fullmatch(PATTERN[1:-1], text, re.ASCII):
        raise ValueError(f"{text!r} is not a duration")
    parts = re.findall(r"([0-9.]+)([dhms])", text)
    return float(round(sum(float(number) * _UNITS[unit] for number, unit in parts), 3))


def format_duration(seconds: float) -> str:
    """The shortest way to write a number of seconds, to the millisecond."""
    left = round(seconds * 1000)
    text = ""
    for unit, size in _UNITS.items():
        count, left = divmod(left, size * 1000)
        if unit == "s" and left:
            text += f"{count + left / 1000:.3f}".rstrip("0") + "s"
        elif count:
            text += f"{count}{unit}"
    return text or "0s"


_IN_WORDS = re.compile(r"(\d+)\s*(d|h|m(?!o|s)|s)[a-z]*[\s,]*", re.IGNORECASE)
"""A number and its unit: `5 minutes`, or `5M` of ISO 8601's `PT5M`."""


def duration_meant(value: object) -> str | None:
    """What to write for somebody who wrote a duration as other tools have it; None when nobody can tell."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"Say its unit: `{value}s` are seconds, `{value}m` minutes."
    if not isinstance(value, str):
        return None
    if "{{" in value:
        return "No expression can stand here."
    text = re.sub(r"^P(\d+D)?T?", r"\1", value.strip())
    parts = _IN_WORDS.findall(text)
    meant = "".join(number + unit.lower() for number, unit in parts)
    return f"Write `{meant}`." if not _IN_WORDS.sub("", text) and re.fullmatch(PATTERN[1:-1], meant) else None


def _validate(value: object) -> object:
    try:
        parse_duration(value)
    except (TypeError, ValueError):
        raise PydanticCustomError(
            "duration", "must be a duration such as `30m`, `24h`, `10s` or `1h30m`, not {shown}", {"shown": repr(value)}
        ) from None
    return value


Duration = Annotated[
    str,
    Field(max_length=40),
    BeforeValidator(_validate),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["30m", "24h", "10s"]}),
]
"""A length of time: days, hours, minutes and seconds in this order, for example `1h30m`."""
