"""What is said about a run as a whole, and about whom it is about."""

from __future__ import annotations

from collections.abc import Mapping

from muster.events.model import EventType
from muster.events.payloads.base import (
    Json,
    OfWork,
    ParentWorkItem,
    Payload,
    Positions,
    RecordedError,
    ScheduledFor,
    plain,
    sealed,
)


class RunOpened(Payload, type=EventType.RUN_OPENED):
    """The run begins. It is the first event of every run that was performed."""

    automation: str = plain()
    definition: str = plain()
    """The hash of the definition that it is performed by."""
    bundle_version: str | None = plain()
    inputs: Mapping[str, Json]
    trigger: Json = plain()
    requested_by: str | None = plain()
    """The user's name."""
    dag_id: str = plain()
    dag_run_id: str = plain()
    started: str | None = plain()
    """When Airflow began it."""
    parent: ParentWorkItem | None = plain(default=None)
    """The step of another run that asked for this one; its event is the causation."""
    scheduled: ScheduledFor | None = plain(default=None)
    """The times of the schedule that started it."""
    undeclared: list[str] | None = sealed(default=None)
    """Names that were given and that the automation does not declare as inputs."""
    subject: str | None = plain(default=None)
    """The id of the person, or persons, that the run is about."""


class RunBegun(Payload, type=EventType.RUN_BEGUN):
    """Airflow has begun the run again, because tasks of it were cleared; or the run is undone with its parent."""

    epoch: int = plain()
    started: str | None = plain()
    """When Airflow began it; None when Airflow did not."""
    # Stored under the name it once had, because what is in the log is never renamed.
    preserved_steps: list[str] | None = plain(default=None, stored="stands")
    """The steps that were not cleared, if an order says which."""
    undone_with: str | None = plain(default=None)
    """The parent run with which it is undone."""


class RunContinued(Payload, type=EventType.RUN_CONTINUED):
    """An execution that died goes on where it stopped; its outcomes stay."""

    number: int = plain()
    """How often it has been continued, this time included."""
    preserved_steps: list[str] | None = plain(stored="stands")
    """The steps that are no part of the execution."""


class RunCancelRequested(Payload, type=EventType.RUN_CANCEL_REQUESTED):
    """The run is cancelled: nothing more begins, and the run is undone. The actor is who asked."""

    reason: str | None


class RunStuck(OfWork, type=EventType.RUN_STUCK):
    """Undoing has stopped, and a person must act."""

    error: RecordedError
    irreversible: Mapping[str, list[str]] | None = plain(default=None)
    """By run, the irreversible steps before which undoing stopped."""


class RunUndoRequested(Payload, type=EventType.RUN_UNDO_REQUESTED):
    """The parent run is undone, and this run with it."""

    reason: str = plain()
    parent: ParentWorkItem = plain()
    epoch: int = plain()
    told: bool = plain()
    """True when a person knows of the irreversible work."""
    by_hand: Mapping[str, list[str]] = plain()
    """By run, the irreversible steps that a person has undone."""


class RunResumed(Payload, type=EventType.RUN_RESUMED):
    """Undoing goes on; the actor is who said so."""

    note: str | None
    by_hand: bool = plain()
    """True when a person has done the compensation that failed, or undone irreversible work."""
    epoch: int = plain()


class RunRestarted(Payload, type=EventType.RUN_RESTARTED):
    """Steps of a run that has ended are done again; the actor is who asked."""

    from_: str = plain()
    """The step that it begins with."""
    again: Mapping[str, None] | None = plain()
    """The steps that are done again as a whole. None in orders of earlier releases."""
    also: list[str] | None = plain(default=None)
    """Further steps that it begins with, because not all that has to be done again comes after `from_`."""
    definition: str | None = plain(default=None)
    """The hash of the definition that the run is performed by from now on; None when it keeps its own."""
    bundle_version: str | None = plain(default=None)
    """The version of the Dag bundle that has that definition."""
    inputs: Mapping[str, Json] | None = sealed(default=None)
    """The inputs as that definition declares them."""

    @property
    def begins(self) -> list[str]:
        """The steps that it begins with."""
        return [self.from_, *(self.also or ())]


class DeadLetterRedriven(Payload, type=EventType.DEAD_LETTER_REDRIVEN):
    """Dead letters are done again; other items of their lists keep their outcome. The actor is who asked."""

    work_items: Positions = plain(stored="pieces")
    again: Mapping[str, list[int] | None] | None = plain()
    """Positions by step, None for all of a step. None as a whole in orders of earlier releases."""


class DeadLetterDiscarded(Payload, type=EventType.DEAD_LETTER_DISCARDED):
    """Dead letters are not done any more; the actor is who decided it."""

    work_items: Positions = plain(stored="pieces")
    reason: str
    whole: bool = plain(default=False)
    """True for a run that failed without an event of any step; `work_items` is empty then."""


class SagaUnwinding(Payload, type=EventType.SAGA_UNWINDING):
    """Undoing the run has begun: what is to be undone, and why."""

    reason: str = plain()
    work_items: Positions = plain(stored="pieces")
    epoch: int = plain()


class RunClosed(Payload, type=EventType.RUN_CLOSED):
    """An execution of the run has ended."""

    status: str = plain()
    """`succeeded`, `failed`, `compensated` or `stuck`."""
    reason: str | None = plain()
    counts: Mapping[str, int] = plain()
    """Items and steps by how they ended."""
    epoch: int = plain(missing=0)
    cost: str | None = plain(default=None)
    """USD."""
    reconciled: bool = plain(default=False)
    """True when the reconciler closed it, because nothing else did."""


class SubjectForgotten(Payload, type=EventType.SUBJECT_FORGOTTEN):
    """In the stream `subjects/<id>`: the person's data cannot be read any more. The actor is who asked."""

    subject: str
