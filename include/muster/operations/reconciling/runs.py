"""Runs that are open in the log and have ended in Airflow, or are gone there.

Normally the tasks that end a run judge it, whatever became of the others. A run whose end itself died is
restarted where it stopped: in the same epoch, so every outcome in the log stands and only what has none is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from muster.errors import ConcurrencyError, MusterError, TransientError
from muster.events.model import Event, EventType, NewEvent
from muster.events.queries import RunRow
from muster.events.state import RunState, fold
from muster.execution.epochs import RECONCILER, latest_epoch
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.language.definition import Definition
from muster.operations.reconciling.findings import BEGINS_AGAIN, LIMIT, Disagreement, Scope, in_first_execution
from muster.saga.extent import irrevocable, started

RESTARTS = 3
"""How often a run is restarted before what it did is undone instead."""
AT_ONCE = 100
"""How many runs are mended in one go: after an outage they would all begin again in the same minute."""
PATIENCE = timedelta(days=1)
"""How long Airflow is asked again for a restart that it did not carry out."""
WINDOW = timedelta(days=30)
"""How long ago a run was closed at most that may have been begun again."""
BY_HAND = frozenset({"skipped", "success"})
"""What `close` is in a run that a person has marked as ended in Airflow: it never gets so by itself with the run
still open in the log."""


def find_runs(scope: Scope) -> Iterator[Disagreement]:
    """What disagrees, restarted or closed where `scope` says so."""
    again = scope.queries.runs_gone_on(scope.before - WINDOW, scope.before, beyond=scope.beyond, limit=LIMIT)
    rows = [*scope.queries.runs(status="open", limit=LIMIT), *filter(partial(_is_open, scope), again)]
    going_on, mended = scope.going_on(rows), 0
    for row in rows:
        for each in _looked_at(scope, row) if row.id not in going_on else ():
            yield each
            mended += each.mended
        if mended >= AT_ONCE:
            break


def _looked_at(scope: Scope, row: RunRow) -> Iterator[Disagreement]:
    if row.dag_id is None or row.dag_run_id is None:
        return
    state = scope.airflow.state(row.dag_id, row.dag_run_id)
    if state is not None and state not in ENDED_IN_AIRFLOW:
        return
    try:
        yield from _ended(scope, row, row.dag_id, row.dag_run_id, state)
    except ConcurrencyError:
        # Something happened to it at this moment, so it is not abandoned.
        return
    except TransientError:
        raise
    except MusterError as error:
        # One that cannot be understood must not keep the others from being mended.
        remedy = error.remedy or f"Look at `muster show {row.id}`."
        yield Disagreement("run", row.id, f"cannot be reconciled: {error.message}", remedy, run=row.id)


def _is_open(scope: Scope, row: RunRow) -> bool:
    """True when the run was closed, begun again in Airflow and not closed since."""
    # A child that its parent undoes is begun again as well, but not in Airflow: seeing to it is the parent's.
    ends = (EventType.RUN_OPENED, EventType.RUN_CLOSED, EventType.RUN_UNDO_REQUESTED)
    *_, last = scope.log.read(row.id, types=[*ends, *BEGINS_AGAIN])
    return last.type in BEGINS_AGAIN


def _ended(scope: Scope, row: RunRow, dag_id: str, run_id: str, state: str | None) -> Iterator[Disagreement]:
    events = list(scope.log.read(row.id))
    last = events[-1]
    if not scope.has_rested(last.at):
        return
    run = fold(events)
    definition = scope.definition(run.definition or "")
    if state != "failed":
        ended = "does not know it any more" if state is None else f"ended it as {state}"
        yield _close(scope, run, definition, last, f"open in the log, and Airflow {ended}")
        return
    if not in_first_execution(events):
        # Only some of its tasks belong to the last epoch, and Airflow would clear them all: work of an earlier
        # one would be done again.
        yield _close(scope, run, definition, last, "open in the log after it was begun again, and Airflow ended it")
        return
    by_hand = scope.airflow.tasks(dag_id, run_id).get("close") in BY_HAND
    message = "open in the log, and " + ("ended in Airflow by hand" if by_hand else "Airflow ended it as failed")
    if by_hand and not _leaves_something(run, definition):
        yield _close(scope, run, definition, last, message)
        return
    ordered = _ordered(scope, events, undo=by_hand)
    if ordered is None:
        yield _close(scope, run, definition, last, f"{message}; {RESTARTS} restarts came to nothing, nor was it undone")
        return
    yield _restart(scope, run, last, ordered, message)


def _ordered(scope: Scope, events: list[Event], *, undo: bool) -> list[NewEvent] | None:
    """What has to be written before Airflow is asked to go on; None when that was tried often enough."""
    last, mine = events[-1], [event for event in events if event.actor == RECONCILER]
    if last in mine and last.type == EventType.RUN_RESTARTED:
        # Airflow did not carry it out: nothing has begun since.
        return [] if last.at > scope.now - PATIENCE else None
    if any(event.type == EventType.RUN_CANCEL_REQUESTED for event in mine):
        return None
    restarts = sum(event.type == EventType.RUN_RESTARTED for event in mine)
    undo = undo or restarts >= RESTARTS
    why = "it was ended in Airflow by hand" if restarts < RESTARTS else f"it died again after {restarts} restarts"
    cancel = NewEvent(
        type=EventType.RUN_CANCEL_REQUESTED,
        data={"reason": why},
        actor=RECONCILER,
        key=f"cancel/{RECONCILER}@{last.version}",
    )
    restart = NewEvent(
        type=EventType.RUN_RESTARTED,
        data={"from": None, "keeps": True, "number": restarts + 1},
        actor=RECONCILER,
        key=f"restarted/{RECONCILER}@{last.version}",
    )
    return [cancel, restart] if undo else [restart]


def _restart(scope: Scope, run: RunState, last: Event, ordered: list[NewEvent], message: str) -> Disagreement:
    undo = any(event.type == EventType.RUN_CANCEL_REQUESTED for event in ordered) or run.cancelled_by == RECONCILER
    done = "what it did is undone" if undo else "it goes on where it stopped"
    if not scope.mend:
        return Disagreement("run", run.id, message, f"`muster reconcile`: {done}.", run=run.id, person=False)
    if ordered:
        # Before Airflow is asked: a task that begins must know that what has ended stands.
        scope.log.append(run.id, ordered, expected=last.version)
    try:
        scope.airflow.restart(run.dag_id or "", run.dag_run_id or "")
    except MusterError as error:
        return Disagreement(
            "run",
            run.id,
            f"{message}; Airflow did not restart it: {error}",
            f"Clear the run in Airflow; it is tried again for {PATIENCE.days * 24} hours.",
            run=run.id,
            # Of the order to restart it, which stays the same until Airflow has taken it.
            mark=str(last.version + len(ordered)),
        )
    return Disagreement(
        "run", run.id, f"{message}: {done}", "", mended=True, run=run.id, person=undo, mark=str(last.version)
    )


def _close(scope: Scope, run: RunState, definition: Definition, last: Event, message: str) -> Disagreement:
    """Close the run: as stuck when it was to be undone and something is left, else as failed."""
    left = _leaves_something(run, definition)
    stuck = left if run.cancelled_by == RECONCILER or run.unwinding is not None else None
    said = message + (f"; {left} was begun and is not undone" if left else "")
    if scope.mend:
        scope.log.append(run.id, list(_closing(scope, run, last, said, stuck)), expected=last.version)
    remedy = f"`muster restart {run.id} --from STEP` does it again" + (
        f", `muster resume {run.id}` undoes it." if stuck else "."
    )
    return Disagreement("run", run.id, said, remedy, mended=scope.mend, run=run.id, mark=str(last.version))


def _closing(scope: Scope, run: RunState, last: Event, reason: str, stuck: str | None) -> Iterator[NewEvent]:
    epoch = latest_epoch(scope.log.read(run.id, types=[EventType.RUN_BEGUN]))
    if stuck is not None:
        error = {"class": "MusterError", "message": f"the run was found {reason}", "remedy": None}
        data = {"step": stuck, "index": None, "error": error, "epoch": epoch}
        yield NewEvent(type=EventType.RUN_STUCK, data=data, actor=RECONCILER, key=f"stuck@{epoch}")
    status = "failed" if stuck is None else "stuck"
    closed = {"status": status, "reason": f"the run was found {reason}", "counts": {}, "reconciled": True}
    key = f"closed/{RECONCILER}@{last.version}"
    yield NewEvent(type=EventType.RUN_CLOSED, data={**closed, "epoch": epoch}, actor=RECONCILER, key=key)


def _leaves_something(run: RunState, definition: Definition) -> str | None:
    """The step, the last of them, that was begun, can or cannot be undone, and is not; None when there is none."""
    return next(iter(started(definition, run)), None) or irrevocable(definition, run)
