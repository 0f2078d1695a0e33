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
    """What has been done is done: it has finished, and only its result has no form in JSON."""


def jsonable(value: Any) -> Any:
    """Any value as JSON-ready data; what has no form of its own there is kept as text.

    Raises:
        Exception: it holds bytes that are no UTF-8, a number of thousands of digits, or itself, or goes too deep; or
            its own code fails.
    """
    found = _dump()(value, mode="json", fallback=str)
    canonical(found)
    return found


@contextmanager
def finished(who: str, result: object) -> Iterator[None]:
    """Its result is made JSON-ready in the body. Where that fails it is not done again: another try would give the same
    back, and have its effect a second time.

    Raises:
        Unwritable: it fails.
    """
    try:
        yield
    except Exception as error:
        try:
            why = f"{_place(result)}: {error.__cause__ or error}"
        except Exception:
            # Its own code fails also where it is only looked at.
            why = type(result).__name__
        raise Unwritable(
            f"{who} has finished, but its result cannot be written to the log: {why}.",
            remedy="Have it give back texts, numbers, dates, lists and mappings, bytes as text. What it did has "
            "happened, and a restart of the step does it again.",
        ) from error


def _place(value: object) -> str:
    """Where in it the first thing is that has no form in JSON, and of which type that is."""
    path = ""
    for _ in range(DEEPEST):
        found = next((each for each in _within(value) if not _has_form(each[1])), None)
        if found is None:
            break
        path, value = f"{path}[{found[0]!r}]", found[1]
    return f"{path}, {type(value).__name__}" if path else type(value).__name__


def _within(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, Mapping):
        # Another key than a text may have no form itself, not even one to be shown.
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
