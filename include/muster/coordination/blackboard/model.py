"""What stands on a blackboard, who may read and write what, and the errors of doing so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from muster.coordination.merging import Difference
from muster.errors import ConcurrencyError, PermanentError

Kind = Literal["put", "merge", "removal", "withdrawal"]


class BoardRefused(PermanentError):
    """Nothing was read or written: the same is refused every time."""


class BoardConflict(ConcurrencyError):
    """Somebody else has written since: look at what is there now, and decide again."""

    repeats_data = False

    def __init__(self, message: str, *, version: int, differences: tuple[Difference, ...] = ()) -> None:
        super().__init__(message, remedy="Get what is there now, and decide again.")
        self.version = version
        """What is there now."""
        self.differences = differences
        """Of a merge, where both sides have changed something in different ways."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One version of what stands under a key."""

    key: str
    version: int
    """1, 2, 3, without gaps; 0 when nothing was ever written."""
    value: Any
    """JSON. None also when nothing stands there, or nobody can read it any more."""
    kind: Kind
    writer: str
    """Who has written it; `muster` of a withdrawal."""
    run: str
    """The run in which it was written; on the board of a goal there are several."""
    base: int
    """The version that its writer had seen."""
    causation: UUID | None
    """The event that it was written with."""
    written_at: datetime
    is_there: bool
    """False when nothing stands there: it was removed, or withdrawn."""
    is_readable: bool
    """False when it is about somebody who was forgotten, or whom this run is not about."""
    rests_on_withdrawn: bool
    """True when it was made of something that was withdrawn since, and that could not be taken out of it."""
    withdrawn_at: datetime | None
    withdrawn_because: str | None

    @property
    def can_be_shown(self) -> bool:
        """True when it has a value to look at."""
        return self.is_there and self.is_readable


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What somebody may read and write, as declared."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    where: str = "it"
    """Whose they are, for messages: `step review`."""


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Who writes, and in which attempt at which work."""

    name: str
    work: str = ""
    """The idempotency key of the work: what an earlier attempt at it has written is withdrawn by a later one."""
    execution: int = 0
    attempt: int = 0
    is_later: bool = False
    """True when there may have been an earlier attempt."""
