"""What an event is, and the vocabulary of events in a run's stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class EventType(StrEnum):
    """Everything that can happen to a run; `muster.events.payloads` holds what is said of it.

    Stored by value: never rename one.
    """

    RUN_OPENED = "run.opened"
    RUN_BEGUN = "run.begun"
    RUN_CONTINUED = "run.continued"
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    RUN_STUCK = "run.stuck"
    RUN_UNDO_REQUESTED = "run.undo_requested"
    RUN_RESUMED = "run.resumed"
    RUN_RESTARTED = "run.restarted"
    DEAD_LETTER_REDRIVEN = "dead_letter.redriven"
    DEAD_LETTER_DISCARDED = "dead_letter.discarded"
    SAGA_UNWINDING = "saga.unwinding"
    COMPENSATION_STARTED = "compensation.started"
    COMPENSATION_RETRIED = "compensation.retried"
    COMPENSATION_SUCCEEDED = "compensation.succeeded"
    COMPENSATION_FAILED = "compensation.failed"
    RUN_CLOSED = "run.closed"
    STEP_EXPANDED = "step.expanded"
    STEP_EXTENDED = "step.extended"
    TASK_ASSIGNED = "task.assigned"
    STEP_STARTED = "step.started"
    CHILD_REQUESTED = "child.requested"
    STEP_RETRIED = "step.retried"
    STEP_FELL_BACK = "step.fell_back"
    STEP_SUCCEEDED = "step.succeeded"
    STEP_FAILED = "step.failed"
    STEP_SKIPPED = "step.skipped"
    STEP_SET_ASIDE = "step.set_aside"
    STEP_STOPPED = "step.stopped"
    STEP_COMPLETED = "step.completed"
    MODEL_CALLED = "model.called"
    TOOL_CALLED = "tool.called"
    CONTEXT_SHOWN = "context.shown"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_TOLD = "approval.told"
    APPROVAL_REMINDED = "approval.reminded"
    APPROVAL_ESCALATED = "approval.escalated"
    APPROVAL_GRANTED = "approval.granted"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_ANSWERED = "approval.answered"
    SUBJECT_FORGOTTEN = "subject.forgotten"
    NOTICE_SENT = "notice.sent"


ASKING = frozenset({"human"})
"""Kinds of step that wait for a person once they have started, as `step.started` names them."""


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """A fact about to be written."""

    type: str
    data: Mapping[str, Any]
    """JSON-ready: str, int, bool, None, lists and dicts; decimals and dates as strings."""
    actor: str = "muster"
    """Who did it: a person's user name, an agent's id, or `muster`."""
    key: str | None = None
    """Unique within the stream when given: appending the same key again writes nothing."""
    causation: UUID | None = None
    """The event that led to this one."""


@dataclass(frozen=True, kw_only=True)
class Event(NewEvent):
    """A fact in the log."""

    position: int
    """Place in the whole log, ascending; may have gaps."""
    stream: str
    version: int
    """Place in the stream: 1, 2, 3, without gaps."""
    id: UUID
    at: datetime
    correlation: str
    """What the event belongs to; for a run, the run's id."""
    previous_hash: str = field(repr=False)
    hash: str = field(repr=False)
    """SHA-256 over the canonical form of this event and `previous_hash`, in hexadecimal."""

    @property
    def step(self) -> str | None:
        """The step that it is about; None for an event about the run."""
        step: str | None = self.data.get("step")
        return step

    @property
    def index(self) -> int | None:
        """The position of the item that it is about; None outside a fan-out, and for a fan-out as a whole."""
        index: int | None = self.data.get("index")
        return index

    @property
    def epoch(self) -> int:
        """The execution of the run that it belongs to; 0 when it does not say."""
        return self.data.get("epoch") or 0
