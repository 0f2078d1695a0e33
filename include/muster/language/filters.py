"""The filters of expressions: Jinja's where they are safe on any input, and Muster's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import wraps
from typing import Any

from jinja2 import Environment
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJA
from jinja2.filters import make_attrgetter
from jinja2.utils import pass_environment

from muster.language.answers import KEEPING, Answers
from muster.language.decimals import COMPARING, exact_if_mixed, with_originals
from muster.language.forgotten import Forgotten, forgotten_in
from muster.language.problems import kind_of
from muster.language.times import add_days, as_date, start_of_month, start_of_week

MAX_TEXT = 1_000_000
"""Longest text a filter or an evaluation makes."""
MAX_DIGITS = 100
"""Most digits before or behind the point of what is read as a decimal: written out, `1e400000` takes seconds."""

_SAFE = [
    "abs",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "items",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "title",
    "trim",
    "unique",
    "upper",
    "wordcount",
]

_WRITING = frozenset(
    {"join", "replace", "split", "string", "tojson", "truncate"}
    | {"capitalize", "lower", "title", "trim", "upper", "wordcount"}
)
"""Filters that write what they are given, a list for one, as a text."""


def as_text(value: object) -> object:
    """How a value is written inside a longer text: lists and mappings as JSON, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping | list | tuple):
        return to_json(value)
    return value


def to_json(value: object, indent: int | None = None) -> str:
    """The value as JSON; decimals and dates become strings."""
    if indent is not None and not 0 <= indent <= 8:
        raise SecurityError("`tojson` indents by 8 at most")
    parts: list[str] = []
    size = 0
    # Part by part: `json.dumps` would build a text of any size before its length could be checked.
    for part in json.JSONEncoder(ensure_ascii=False, default=_plain, indent=indent).iterencode(value):
        size += len(part)
        _check(size)
        parts.append(part)
    return "".join(parts)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return str(value)


def _check(size: int) -> None:
    if size > MAX_TEXT:
        raise SecurityError(f"the text is longer than {MAX_TEXT:,} characters")


def present(values: Any) -> list[object]:
    """The list without its nulls."""
    return [] if values is None else [value for value in values if value is not None]


def money(value: object, currency: str | None = None) -> str:
    """An amount with two decimal places and thousands set apart: `1,234.50 EUR`."""
    try:
        amount = Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
    except InvalidOperation:
        raise TypeError(f"`money` takes a number, not {kind_of(value)}") from None
    return f"{amount:,.2f} {currency}" if currency else f"{amount:,.2f}"


def decimal(value: object) -> Decimal:
    """The number, or the text of one, as an exact decimal; a float as it is written."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    # `Decimal` reads `1_000`, which nobody writes for an amount.
    if isinstance(value, bool) or not number.is_finite() or "_" in str(value):
        such = " that is no number such as `1234.50`" if isinstance(value, str) else ""
        raise TypeError(f"`decimal` takes a number, not {kind_of(value)}{such}")
    if abs(number.adjusted()) > MAX_DIGITS:
        raise ValueError(f"`decimal` takes a number of {MAX_DIGITS} digits at most")
    return number


def whole_number(value: Any, default: int = 0, base: int = 10) -> object:
    """The number without its fraction, or what a text says; `default` for what is no number."""
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() > MAX_DIGITS:
        raise ValueError(f"`int` takes a number of {MAX_DIGITS} digits at most")
    return JINJA["int"](value, default, base)


def format_date(value: object, pattern: str = "%Y-%m-%d") -> str:
    """A date written with a pattern of `%Y`, `%m`, `%d`, `%H`, `%M`, `%S` and the like."""
    if len(pattern) > 100:
        raise SecurityError("the pattern of `date` is longer than 100 characters")
    return as_date(value, "date").strftime(pattern)


def _picked(environment: Environment, values: Any, attribute: str | int | None) -> Iterator[object]:
    """The values, or one key of each."""
    return iter(values) if attribute is None else map(make_attrgetter(environment, attribute), values)


@pass_environment
def total(environment: Environment, values: object, attribute: str | int | None = None, start: Any = 0) -> object:
    """The sum of numbers, or of one key of each mapping."""
    if isinstance(start, list | tuple | str):
        raise TypeError("`sum` adds numbers")
    # `start` counts as one of the values: it may be the only decimal, or the only float among decimals.
    start, *picked = exact_if_mixed([start, *_picked(environment, values, attribute)])
    return sum(picked, start)


@pass_environment
def join(environment: Environment, values: object, separator: str = "", attribute: str | int | None = None) -> str:
    """The values as one text with a separator between them."""
    parts: list[str] = []
    size = 0
    for value in _picked(environment, values, attribute):
        parts.append(str(as_text(value)))
        size += len(parts[-1]) + len(separator)
        _check(size)
    return separator.join(parts)


def replace(text: str, old: str, new: str, count: int = -1) -> str:
    """The text with one part replaced by another."""
    text = str(as_text(text))
    # Checked before it is made, because the result may be as long as the product of two texts.
    _check(len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


def truncate(text: str, length: int = 255, ending: str = "…") -> str:
    """The first characters of a longer text, and an ellipsis."""
    text = str(as_text(text))
    return text if len(text) <= length else text[: max(0, length - len(ending))] + ending


def round_number(value: Any, places: int = 0) -> object:
    """The number rounded to some decimal places, half to even; a Decimal stays one."""
    if not 0 <= places <= 20:
        raise SecurityError("`round` takes 0 to 20 places")
    return round(value, places) if places or isinstance(value, Decimal) else round(value)


def string(value: object) -> str:
    """The value as text."""
    return str(as_text(value))


def split(text: str, separator: str | None = None) -> list[str]:
    """The parts of a text between separators; default: between spaces."""
    return str(text).split(separator)


def _listed(name: str, function: Callable[..., object]) -> Callable[..., object]:
    """The filter, with a list in place of Jinja's generators, which are true even when they yield nothing.

    What a filter of `KEEPING` makes of `Answers` are `Answers`, and what was forgotten stays `Forgotten`, also where a
    text is made of it and others.
    """
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def listed(*arguments: object, **options: object) -> object:
        given = arguments[first]
        if isinstance(given, Forgotten):
            return given
        if name in _WRITING and (lost := forgotten_in([*arguments[first:], *options.values()])) is not None:
            return lost
        if isinstance(given, Answers):
            # Some of Jinja's filters test first whether the list is true, which `Answers` refuse.
            arguments = (*arguments[:first], list(given), *arguments[first + 1 :])
        originals = exacts = arguments[first]
        if name in COMPARING:
            exacts = exact_if_mixed(originals)
        value = function(*arguments[:first], exacts, *arguments[first + 1 :], **options)
        if isinstance(value, Iterator):
            value = list(value)
        value = with_originals(originals, exacts, value)
        return Answers(value, given.name) if name in KEEPING and isinstance(given, Answers) else value

    return listed


_KNOWN: dict[str, Callable[..., object]] = {
    **{name: JINJA[name] for name in _SAFE},
    "add_days": add_days,
    "date": format_date,
    "decimal": decimal,
    "int": whole_number,
    "join": join,
    "money": money,
    "present": present,
    "replace": replace,
    "round": round_number,
    "split": split,
    "start_of_month": start_of_month,
    "start_of_week": start_of_week,
    "string": string,
    "sum": total,
    "tojson": to_json,
    "truncate": truncate,
}

FILTERS = {name: _listed(name, function) for name, function in _KNOWN.items()}
"""Every filter by name."""
