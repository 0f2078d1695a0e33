"""What was forgotten, as expressions see it: it is passed on as a whole, and nothing can be decided by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from muster.language.answers import NeitherTrueNorFalse

_passed_on: ContextVar[bool] = ContextVar("muster_forgotten_passed_on", default=True)


class NothingToDecideBy(NeitherTrueNorFalse):
    """An expression decides by what was forgotten, or looks inside it: its step fails without another attempt."""

    def __init__(self) -> None:
        super(NeitherTrueNorFalse, self).__init__(
            "what it decides by, looks into or undoes was forgotten, with whom it is about.",
            remedy="Find out what is to be done, and do it by hand.",
        )


class Forgotten(Mapping[str, object]):
    """A mapping that stands for what was forgotten. Filters and `~` pass it on as it is.

    Looking inside it fails. A marker in place of an order's id would be the id of no order, and a step that deletes by
    that id would report success.

    Raises:
        NothingToDecideBy: its truth or equality is asked. As a mapping it would be true, even if `false` was forgotten.
            Within `nothing_passed_on`: it is used in any way.
    """

    def __init__(self, marker: Mapping[str, object]) -> None:
        self._marker = dict(marker)

    def __getitem__(self, key: str) -> object:
        return self._marker[key]

    def __iter__(self) -> Iterator[str]:
        if not _passed_on.get():
            raise NothingToDecideBy
        return iter(self._marker)

    def __len__(self) -> int:
        return len(self._marker)

    def __bool__(self) -> bool:
        raise NothingToDecideBy

    def __eq__(self, other: object) -> bool:
        raise NothingToDecideBy

    def __ne__(self, other: object) -> bool:
        raise NothingToDecideBy

    def __contains__(self, key: object) -> bool:
        raise NothingToDecideBy

    def __lt__(self, other: object) -> bool:
        raise NothingToDecideBy

    __le__ = __gt__ = __ge__ = __lt__
    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(dict(self))


def forgotten_in(value: object) -> Forgotten | None:
    """The first of what was forgotten in the value, at any depth; None when nothing was."""
    if isinstance(value, Forgotten):
        return value
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return None
    return next(filter(_is_there, map(forgotten_in, value)), None)


def _is_there(value: object) -> bool:
    return value is not None


@contextmanager
def nothing_passed_on() -> Iterator[None]:
    """In the body an expression that uses what was forgotten in any way fails, also one that only passes it on."""
    token = _passed_on.set(False)
    try:
        yield
    finally:
        _passed_on.reset(token)


def refuse(*values: object) -> None:
    """Call this before deciding by these values, or looking into them.

    Raises:
        NothingToDecideBy: one of them was forgotten.
    """
    if any(isinstance(value, Forgotten) for value in values):
        raise NothingToDecideBy


def deciding(test: Any) -> Callable[..., object]:
    """The test of Jinja's, refused for what was forgotten."""

    def decided(*values: Any) -> object:
        refuse(*values)
        return test(*values)

    return decided
