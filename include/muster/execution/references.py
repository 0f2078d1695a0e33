"""Names of work items: which run, which step, which slot, which item."""

from __future__ import annotations

from dataclasses import dataclass

from muster.errors import PermanentError

ENDED_IN_AIRFLOW = frozenset({"success", "failed"})
"""Airflow's states of a run that it does nothing more for."""


def run_id(automation: str, dag_run_id: str) -> str:
    """The id of a run, which is also the name of its stream."""
    return f"{automation}/{dag_run_id}"


class StepNotInScope(PermanentError):
    """Work that has no outcome and is not begun now: the execution of its run leaves it as it was, or has ended."""

    repeats_data = False


class HalfUndone(StepNotInScope):
    """Work of which undoing has begun and not come to its end: done again before that, it would not be done at all."""

    def __init__(self, run: str, key: str) -> None:
        super().__init__(
            f"Undoing {key} of {run} has begun and has not come to its end: until it has, nothing of the run is done "
            f"again. `muster resume {run}` goes on, `muster resume {run} --by-hand` says that you have undone it.",
            remedy="When the run is compensated, do it again.",
        )


@dataclass(frozen=True, kw_only=True)
class WorkRef:
    """What one Airflow task instance was started for."""

    run: str
    step: str
    slot: int | None = None
    """The map index of a mapped task; None for a step that is one task instance."""
    lane: str = "async"
    attempt: int = 1
    """Airflow's try number; retries of the step itself are counted apart."""
    epoch: int = 0
    """Which execution of the run this is: work of an earlier epoch is done again when its task is cleared."""
    is_preserved: bool = False
    """True when this execution leaves the step as it was: its task only says how it ended."""
    ahead: bool = False
    """True when Airflow has not come to the task yet: the work is begun only where nobody has begun it."""

    def ensure_in_scope(self) -> None:
        """Before work is begun.

        Raises:
            StepNotInScope: this execution begins none of the step's.
        """
        if self.is_preserved:
            raise StepNotInScope(f"Step {self.step} has no outcome, and what was ordered does not include it.")
