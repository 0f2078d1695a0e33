"""Names of work items: which run, which step, which slot, which item."""

from __future__ import annotations

from dataclasses import dataclass

from muster.errors import PermanentError

ENDED_IN_AIRFLOW = frozenset({"success", "failed"})
"""Airflow's final states of a run."""


def run_id(automation: str, dag_run_id: str) -> str:
    """The id of a run, which is also the name of its stream."""
    return f"{automation}/{dag_run_id}"


class StepNotInScope(PermanentError):
    """Work without an outcome that is not begun: this execution of the run leaves it as it was, or has ended.

    The task fails in Airflow, and the log gets no outcome. A restart or redrive that includes the step does the work.
    """

    repeats_data = False


class HalfUndone(StepNotInScope):
    """Undoing the work has begun and not ended, so it is not done again yet: a person resumes the undoing first."""

    def __init__(self, run: str, key: str) -> None:
        super().__init__(
            f"Undoing {key} of {run} has begun and has not come to its end: until it has, nothing of the run is done "
            f"again. `muster resume {run}` goes on, `muster resume {run} --by-hand` says that you have undone it.",
            remedy="When the run is compensated, do it again.",
        )


@dataclass(frozen=True, kw_only=True)
class WorkRef:
    """The work for which one Airflow task instance was started."""

    run: str
    step: str
    slot: int | None = None
    """The map index of a mapped task; None for a step that is one task instance."""
    lane: str = "async"
    attempt: int = 1
    """Airflow's try number; retries of the step itself are counted apart."""
    epoch: int = 0
    """The number of the execution of the run: cleared work of an earlier epoch is done again."""
    is_preserved: bool = False
    """True when this execution leaves the step as it was: its task only says how it ended."""
    ahead: bool = False
    """True when Airflow has not come to the task yet: the work is begun only where nobody has begun it."""

    def ensure_in_scope(self) -> None:
        """Check before work is begun that this execution does the step.

        Raises:
            StepNotInScope: this execution leaves the step as it was; nothing is written.
        """
        if self.is_preserved:
            raise StepNotInScope(f"Step {self.step} has no outcome, and what was ordered does not include it.")
