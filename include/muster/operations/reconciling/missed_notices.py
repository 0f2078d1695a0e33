"""Missed notices: people have to know of an event, and the process that was to tell them died before it did.

The log says what happened, and the outbox who was told. The key of a notice follows from the event, so a notice that is
missing can be told later, and one that is there is not sent twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from muster.events.model import Event, EventType
from muster.events.payloads.base import payload_of
from muster.events.payloads.runs import RunCancelRequested, RunClosed
from muster.events.queries import RunRow
from muster.execution.run_executions import RECONCILER
from muster.notifications.outbox import Outbox
from muster.operations.reconciling.findings import LIMIT, Discrepancy, Scope
from muster.operations.reconciling.guarding import guarded

WINDOW = timedelta(days=7)
"""People are told of the end of a run within this time."""
GIVEN_UP = (EventType.RUN_CLOSED, EventType.RUN_CANCEL_REQUESTED)
"""Events of the reconciler of which people have to know."""


def find_stuck(scope: Scope) -> Iterator[Discrepancy]:
    """Runs that are half undone and wait for a person, each with whether people were told."""
    for row in scope.stuck_runs:
        yield from guarded(row.id, partial(_stuck, scope, row))


def find_missed_notices(scope: Scope) -> Iterator[Discrepancy]:
    """Runs that the reconciler has closed, or had undone, and of which nobody was told."""
    # Without channels nobody can be told, and each pass would list the same runs again.
    if scope.send is None:
        return
    for row in scope.queries.reconciled(GIVEN_UP, scope.now - WINDOW, limit=LIMIT):
        yield from guarded(row.id, partial(_untold, scope, row))


def _stuck(scope: Scope, row: RunRow) -> Iterator[Discrepancy]:
    events = list(scope.log.read(row.id, types=[EventType.RUN_STUCK]))
    # `run.stuck` is written before people are told: within the quiet time its process may still tell them.
    told = not events or not scope.has_rested(events[-1].at) or _is_known(scope, events[-1])
    remedy = f"Act, then `muster resume {row.id}`."
    mark = str(events[-1].version) if events else ""
    yield Discrepancy("stuck", row.id, f"half undone: {row.reason}", remedy, run=row.id, told=told, mark=mark)


def _untold(scope: Scope, row: RunRow) -> Iterator[Discrepancy]:
    for event in scope.log.read(row.id, types=GIVEN_UP):
        if event.actor == RECONCILER and event.key is not None and not _is_known(scope, event):
            message = f"{row.status}: {_why(event)}"
            remedy = f"`muster show {row.id}` tells what happened."
            mark = event.key.rpartition("@")[2]
            yield Discrepancy("run", row.id, message, remedy, mended=True, run=row.id, mark=mark)


def _notice_of(event: Event) -> str:
    """The key of the notices about an event, without the number of the place."""
    if event.type == EventType.RUN_STUCK and event.actor != RECONCILER:
        return f"{event.stream}/stuck@{event.epoch}"
    # The reconciler marks a finding with the version of the last event that it saw. `run.stuck` is the first event it
    # wrote then, so the mark is the version before; the keys of its other events hold the mark.
    before = str(event.version - 1) if event.type == EventType.RUN_STUCK else (event.key or "").rpartition("@")[2]
    return Discrepancy("run", event.stream, "", "", mark=before).key


def _why(event: Event) -> str | None:
    said = payload_of(event)
    return said.reason if isinstance(said, RunClosed | RunCancelRequested) else None


def _is_known(scope: Scope, event: Event) -> bool:
    return Outbox(scope.database).told(event.stream, _notice_of(event))
