"""What a skill or an operator gives back, as the log can hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from muster.errors import Final
from muster.events.canonical import canonical

DEEPEST = 5
"""Steps of a path that a person reads."""


class Unwritable(Final):
    """The work has finished, and only its result has no form in JSON: it is not done again."""


def jsonable(value: Any) -> Any:
    """Any value as JSON-ready data; what has no form of its own there is kept as text.

    Raises:
        Exception: the value holds bytes that are no UTF-8, a number of thousands of digits, or itself, or is nested too
            deeply; or its own code fails.
    """
    data = _dump()(value, mode="json", fallback=str)
    # Only tried: what the log cannot write has to fail here, where it is known whose result it is.
    canonical(data)
    return data


@contextmanager
def finished(who: str, result: object) -> Iterator[None]:
    """Make the result of `who` JSON-ready, in the body.

    If that fails, the work is not done again: another try would give the same back, and have its effect a second time.

    Raises:
        Unwritable: the body failed; the step fails for good.
    """
    try:
        yield
    except Exception as error:
        try:
            why = f"{_place(result)}: {error.__cause__ or error}"
        except Exception:
            # The value's own code may fail even when it is only looked at.
            why = type(result).__name__
        raise Unwritable(
            f"{who} has finished, but its result cannot be written to the log: {why}.",
            remedy="Have it give back texts, numbers, dates, lists and mappings, bytes as text. What it did has "
            "happened, and a restart of the step does it again.",
        ) from error


def _place(value: object) -> str:
    """The path to the first part of a value that has no form in JSON, and the type of that part."""
    path = ""
    for _ in range(DEEPEST):
        misfit = next((place for place in _within(value) if not _has_form(place[1])), None)
        if misfit is None:
            break
        path, value = f"{path}[{misfit[0]!r}]", misfit[1]
    return f"{path}, {type(value).__name__}" if path else type(value).__name__


def _within(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, Mapping):
        # A key that is no text may have no form itself, not even one to show.
        return ((key if isinstance(key, str) else type(key), item) for key, item in value.items())
    return enumerate(value) if isinstance(value, list | tuple) else ()


def _has_form(value: object) -> bool:
    try:
        jsonable(value)
    except Exception:
        return False
    return True


@cache
def _dump() -> Callable[..., Any]:
    from pydantic import ConfigDict, TypeAdapter

    # As they are, so that they are refused: by default NaN and infinity become null.
    return TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants")).dump_python
