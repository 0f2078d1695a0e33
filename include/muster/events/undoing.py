"""What a run undoes, and where that has stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

IRREVERSIBLE = "Irreversible"
"""The error class of undoing that stopped before irreversible work."""
UNDOING_NOT_BEGUN = "UndoingNotBegun"
"""The error class of a run that somebody wanted undone after it was decided that nothing of it is."""


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
    """By run, the irreversible steps before which it stopped: those of the run itself and of its child runs."""

    @property
    def has_begun(self) -> bool:
        """False when nothing of the run was undone, because it had been decided before that nothing is."""
        return self.error.get("class") != UNDOING_NOT_BEGUN
