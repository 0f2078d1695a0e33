"""What comes of a merge: one value, or the reason why there is none and where the sides differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Merged(Generic[T_co]):
    """The merge is clean."""

    value: T_co


@dataclass(frozen=True)
class Difference:
    """One place at which the sides cannot be merged."""

    path: str
    """Where: `lines 12 to 14`, or the path to a field, `address.city`."""
    base: object
    """What was there before: the lines of a text as a tuple, or a value."""
    ours: object
    theirs: object
    line: int | None = None
    """Of a text, the line of the base at which it begins, from 1; of lines that were added, the line behind them."""
    ours_line: int | None = None
    theirs_line: int | None = None


@dataclass(frozen=True)
class Unmerged:
    """A conflict: nothing was merged."""

    reason: str
    """Why, as one sentence without a full stop."""
    differences: tuple[Difference, ...] = ()
    """Where, as far as that can be said."""
