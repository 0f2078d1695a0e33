"""What an event is, and the vocabulary of events in a run's stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class EventType(StrEnum):
    """Everything that can happen to a run. Stored by value: never rename one."""

    RUN_OPENED = "run.opened"
    """automation, definition (hash), bundle_version, inputs, trigger, requested_by, dag_id, dag_run_id; parent (run,
    step, index) when a step of another run has asked for it, whose event is the causation."""
    RUN_BEGUN = "run.begun"
    """epoch, started, stands (the steps that were not cleared, where an order says which): Airflow has started the run
    again, because tasks of it were cleared. With undone_with (a run's id, and no start) Airflow has not: the run is
    undone with that one, which asked for it."""
    RUN_CONTINUED = "run.continued"
    """number (which time), stands (the steps that are none of it): the execution that died is to go on where it
    stopped, and every outcome of it stands. Written as `run.restarted` with `keeps` before it was a type of its own."""
    RUN_CANCEL_REQUESTED = "run.cancel_requested"
    """reason; the actor is who asked. What has not begun does not begin, and the run unwinds."""
    RUN_STUCK = "run.stuck"
    """step, index, error, epoch, irreversible (steps by run, where it stopped before what nothing can undo): undoing
    has stopped, and a person must act."""
    RUN_UNDO_REQUESTED = "run.undo_requested"
    """reason, parent (run, step, index), epoch, told (true when a person knows of what nothing can undo), by_hand
    (steps by run: what of that a person has undone): the run that asked for this one is undone, and this one too."""
    RUN_RESUMED = "run.resumed"
    """note, by_hand (true when a person has done what failed, or undone what nothing can undo), epoch; the actor is who
    says that undoing can go on."""
    RUN_RESTARTED = "run.restarted"
    """from (the step), also (where else it begins, because no step leads to all that has to be done again), again (what
    is done again: null by step, for all of it); the actor is who asked."""
    DEAD_LETTER_REDRIVEN = "dead_letter.redriven"
    """pieces (indices by step, null for a step outside a fan-out), again (what is done again: indices by step, or null
    for all of it); the actor is who asked. Other items of the same lists keep their outcome."""
    DEAD_LETTER_DISCARDED = "dead_letter.discarded"
    """pieces, reason; the actor is who decided that they are not to be done any more. With `whole` (true, and no
    pieces) it is a run that failed without a word of any step."""
    SAGA_UNWINDING = "saga.unwinding"
    """reason, pieces (indices by step, null for a step outside a fan-out), epoch: what is to be undone."""
    COMPENSATION_STARTED = "compensation.started"
    """step, index, work_epoch (of the work undone), epoch."""
    COMPENSATION_RETRIED = "compensation.retried"
    """step, index, attempt, error, delay."""
    COMPENSATION_SUCCEEDED = "compensation.succeeded"
    """step, index, work_epoch, output, by_hand (true when a person did it)."""
    COMPENSATION_FAILED = "compensation.failed"
    """step, index, work_epoch, error: for good, no attempt is left."""
    RUN_CLOSED = "run.closed"
    """status (`succeeded` | `failed` | `compensated` | `stuck`), reason,
    counts {succeeded, failed, skipped, set_aside, undone}, cost."""
    STEP_EXPANDED = "step.expanded"
    """step, length (of the list fanned out over), indices (the positions that have work), again (those of them that a
    redrive does again)."""
    STEP_STARTED = "step.started"
    """step, index, kind, lane, attempt."""
    CHILD_REQUESTED = "child.requested"
    """step, index, child (a run's id), automation, epoch: that run is about to be started."""
    STEP_RETRIED = "step.retried"
    """step, index, attempt, error {class, message}, class (what kind of failure), delay (seconds until the next
    attempt)."""
    STEP_FELL_BACK = "step.fell_back"
    """step, index, epoch, error {class, message, remedy}: no attempt is left, and the step's fallback takes over."""
    STEP_SUCCEEDED = "step.succeeded"
    """step, index, output, output_type, produced_by, fallback (true when the fallback answered)."""
    STEP_FAILED = "step.failed"
    """step, index, error {class, message, remedy}: for good, no attempt is left."""
    STEP_SKIPPED = "step.skipped"
    """step, index, reason (`when` | `rejected` | `not_taken` | `upstream_failed` | `cancelled` | `unwinding` |
    `not_listed`)."""
    STEP_SET_ASIDE = "step.set_aside"
    """step, index, item, findings, error: this item is out, the others go on."""
    STEP_STOPPED = "step.stopped"
    """step, index, epoch: the run closes, and nothing says how this ended."""
    STEP_COMPLETED = "step.completed"
    """step, counts: every item of a fan-out has ended."""
    MODEL_CALLED = "model.called"
    """step, index, agent, tier, model, request (hash), prompt (kind and text of what is asked newly), response, usage,
    cost (USD, a decimal string or null), failed (the tiers asked before it, each with its error)."""
    TOOL_CALLED = "tool.called"
    """step, index, agent, tool, arguments, result or error."""
    APPROVAL_REQUESTED = "approval.requested"
    """step, index, subject, details and item (hashes), assignees, within, otherwise, asked_at, remind (seconds), levels
    (after, to), approvals."""
    APPROVAL_REMINDED = "approval.reminded"
    """step, index, after (seconds since it was asked), people (who may answer): nobody has answered yet."""
    APPROVAL_ESCALATED = "approval.escalated"
    """step, index, after, to (who may answer besides from now on), people (all who may)."""
    APPROVAL_GRANTED = "approval.granted"
    """step, index, by (name), by_id (the auth manager's), needed, note: one of several approvals that are needed."""
    APPROVAL_REFUSED = "approval.refused"
    """step, index, by, approved, why: an answer that does not count, by someone who may not give it (now)."""
    APPROVAL_ANSWERED = "approval.answered"
    """step, index, approved, by, answer (`person` | `timeout` | `refused`), note, approvers (all of them), kept (true
    when it was given before a restart and stands)."""
    SUBJECT_FORGOTTEN = "subject.forgotten"
    """subject (its id): in the stream `subjects/<id>`; the actor is who asked. Its data cannot be read any more."""
    NOTICE_SENT = "notice.sent"
    """step, index, channel, target, text, delivered_by (`slack`, `smtp`, `outbox`, …)."""


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
