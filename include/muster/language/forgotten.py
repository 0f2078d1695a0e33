"""What was forgotten as expressions see it: it is passed on as a whole, and nothing is decided by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from muster.language.answers import NeitherTrueNorFalse


class NothingToDecideBy(NeitherTrueNorFalse):
    """An expression decides by what was forgotten, or asks what is inside of it: its step fails without another
    attempt.
    """

    def __init__(self) -> None:
        super(NeitherTrueNorFalse, self).__init__(
            "what it decides by, or looks into, was forgotten, with whom it is about.",
            remedy="Find out what is to be done, and do it by hand.",
        )


class Forgotten(Mapping[str, object]):
    """A mapping that marks what was forgotten; so is what a filter makes of it.

    An expression that asks for what is inside of it fails: a marker in the place of the id of an order would be the id
    of none, and whoever deletes none says that it is gone.

    Raises:
        NothingToDecideBy: when its truth is asked, or what it equals. As any mapping it would be true, also where a
            `false` was forgotten.
    """

    def __init__(self, marker: Mapping[str, object]) -> None:
        self._marker = dict(marker)

    def __getitem__(self, key: str) -> object:
        return self._marker[key]

    def __iter__(self) -> Iterator[str]:
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
        return str(self._marker)


def refuse(*values: object) -> None:
    """Before something is decided by these values, or looked for in them.

    Raises:
        NothingToDecideBy: one of them was forgotten.
    """
    if any(isinstance(value, Forgotten) for value in values):
        raise NothingToDecideBy


def deciding(test: Any) -> Callable[..., object]:
    """A test that is not asked of what was forgotten."""

    def decided(*values: Any) -> object:
        refuse(*values)
        return test(*values)

    return decided
