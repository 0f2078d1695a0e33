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
    """The hash of what it is performed by."""
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
    """The step of another run that has asked for it, whose event is the causation."""
    scheduled: ScheduledFor | None = plain(default=None)
    """The times of the schedule that has started it."""
    undeclared: list[str] | None = sealed(default=None)
    """Names that were given and are no inputs."""
    subject: str | None = plain(default=None)
    """The id of whom the run is about."""


class RunBegun(Payload, type=EventType.RUN_BEGUN):
    """Airflow has begun the run again, because tasks of it were cleared; or it is undone with another."""

    epoch: int = plain()
    started: str | None = plain()
    """When Airflow began it; None where Airflow has not."""
    # Its name in the log is from before it was called so here: what is stored is never renamed.
    preserved_steps: list[str] | None = plain(default=None, stored="stands")
    """The steps that were not cleared, where an order says which."""
    undone_with: str | None = plain(default=None)
    """The run that it is undone with, which had asked for it."""


class RunContinued(Payload, type=EventType.RUN_CONTINUED):
    """The execution that died is to go on where it stopped, and every outcome of it stands."""

    number: int = plain()
    """Which time."""
    preserved_steps: list[str] | None = plain(stored="stands")
    """The steps that are no part of that execution."""


class RunCancelRequested(Payload, type=EventType.RUN_CANCEL_REQUESTED):
    """What has not begun does not begin, and the run unwinds; the actor is who asked."""

    reason: str | None


class RunStuck(OfWork, type=EventType.RUN_STUCK):
    """Undoing has stopped, and a person must act."""

    error: RecordedError
    irreversible: Mapping[str, list[str]] | None = plain(default=None)
    """Steps by run, where it stopped before what nothing can undo."""


class RunUndoRequested(Payload, type=EventType.RUN_UNDO_REQUESTED):
    """The run that asked for this one is undone, and this one with it."""

    reason: str = plain()
    parent: ParentWorkItem = plain()
    epoch: int = plain()
    told: bool = plain()
    """True when a person knows of what nothing can undo."""
    by_hand: Mapping[str, list[str]] = plain()
    """Steps by run: what of that a person has undone."""


class RunResumed(Payload, type=EventType.RUN_RESUMED):
    """Undoing can go on; the actor is who says so."""

    note: str | None
    by_hand: bool = plain()
    """True when a person has done what failed, or undone what nothing can undo."""
    epoch: int = plain()


class RunRestarted(Payload, type=EventType.RUN_RESTARTED):
    """Steps of a run that has ended are done again; the actor is who asked."""

    from_: str = plain()
    """The step that it begins with."""
    again: Mapping[str, None] | None = plain()
    """The steps that are done again, whole. None of an order of an earlier release."""
    also: list[str] | None = plain(default=None)
    """Where else it begins, because no step leads to all that has to be done again."""
    definition: str | None = plain(default=None)
    """The hash of what the run is performed by from now on; None where that stays as it is."""
    bundle_version: str | None = plain(default=None)
    """The version of the Dag bundle that has it."""
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
    """Positions by step, or None for all of it. None of an order of an earlier release."""


class DeadLetterDiscarded(Payload, type=EventType.DEAD_LETTER_DISCARDED):
    """Dead letters are not done any more; the actor is who decided it."""

    work_items: Positions = plain(stored="pieces")
    reason: str
    whole: bool = plain(default=False)
    """True, with no work items, of a run that failed without a word of any step."""


class SagaUnwinding(Payload, type=EventType.SAGA_UNWINDING):
    """What is to be undone, and why."""

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
    """True when nobody else closed it."""


class SubjectForgotten(Payload, type=EventType.SUBJECT_FORGOTTEN):
    """In the stream `subjects/<id>`: what is about somebody cannot be read any more. The actor is who asked."""

    subject: str
