"""What a run undoes, and where that has stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

IRREVERSIBLE = "Irreversible"
"""The class of the error with which undoing stops before what nothing can undo."""


UNDOING_NOT_BEGUN = "UndoingNotBegun"
"""The class of the error of a run that somebody wanted undone when it had been decided that nothing is."""


@dataclass(frozen=True, slots=True)
class Unwinding:
    """What a run undoes, and why."""

    reason: str
    work_items: Mapping[str, list[int | None]]
    """Positions by step; None stands for a step outside a fan-out."""
    epoch: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """Where undoing has stopped."""

    step: str
    index: int | None
    error: Mapping[str, object]
    epoch: int
    irreversible: Mapping[str, list[str]] = field(default_factory=dict)
    """What nothing can undo, where it stopped before that: steps by run, its own and those it has asked for."""

    @property
    def has_begun(self) -> bool:
        """False where the run was to be undone when it had been decided that nothing is: none of it has been."""
        return self.error.get("class") != UNDOING_NOT_BEGUN
