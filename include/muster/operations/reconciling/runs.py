"""Runs that are open in the log and have ended in Airflow, or are gone there.

Normally the task `close` judges a run, whatever became of the other tasks. A run of which `close` itself died is
restarted where it stopped. It keeps its epoch, so every outcome in the log stands, and only work without one is done.
A later execution may perform some steps only; the others stay as they were, although Airflow clears their tasks as
well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from muster.errors import MusterError
from muster.events import keys
from muster.events.lifecycle import Execution, RunLifecycle
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.base import RecordedError
from muster.events.payloads.runs import RunCancelRequested, RunClosed, RunContinued, RunStuck
from muster.events.queries import RunRow
from muster.events.state import RunState, fold
from muster.events.undoing import UNDOING_NOT_BEGUN
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.execution.rerun_scope import preserved_steps_of
from muster.execution.run_executions import RECONCILER
from muster.language.definition import Definition
from muster.operations.reconciling.findings import Discrepancy, Scope
from muster.operations.reconciling.guarding import guarded
from muster.operations.reconciling.manual_clears import left_by_hand
from muster.saga.closing import left_open, revoke_left
from muster.saga.scope import irreversible_steps_begun, pending_compensations

RESTARTS = 3
"""How often a run is restarted before it is cancelled, and its work undone, instead."""
AT_ONCE = 100
"""The most runs that one pass mends. Without a limit all of them would begin again in the minute after an outage."""
LONGEST_WAIT = timedelta(days=1)
"""How long Airflow is asked again for a restart that it did not carry out."""
FOUND = "the run was found "
"""Begins the reason of a run that is closed here."""
BY_HAND = frozenset({"skipped", "success"})
"""States of `close` in a run that a person has marked as ended in Airflow. Without a person it never has them while the
run is open in the log."""


def find_runs(scope: Scope) -> Iterator[Discrepancy]:
    """Runs that are open in the log and have ended in Airflow; restarted or closed if `scope.mend` is set."""
    mended = 0
    for row in scope.open_runs:
        for discrepancy in guarded(row.id, partial(_looked_at, scope, row)) if row.id not in scope.at_work else ():
            yield discrepancy
            mended += discrepancy.mended
        if mended >= AT_ONCE:
            break


def _looked_at(scope: Scope, row: RunRow) -> Iterator[Discrepancy]:
    if row.dag_id is None or row.dag_run_id is None:
        return
    # Ask again about this one run: a person may have cleared it since `at_work` was asked.
    state = scope.airflow.state(row.dag_id, row.dag_run_id)
    if state is None or state in ENDED_IN_AIRFLOW:
        yield from _ended(scope, row, row.dag_id, row.dag_run_id, state)


def _ended(scope: Scope, row: RunRow, dag_id: str, run_id: str, state: str | None) -> Iterator[Discrepancy]:
    scope.log.ensure_untampered(row.id)
    events = list(scope.log.read(row.id))
    last = events[-1]
    if not scope.has_rested(last.at):
        return
    run = fold(events)
    definition = scope.definition(run.definition or "")
    life = RunLifecycle.of(events)
    execution = life.last
    case = _DeadRun(scope, run, definition, execution, last, latest=not life.is_given)
    # An execution that was ordered and not begun was not taken by Airflow, which still shows how the run ended before.
    # So a success there says nothing about that execution. Of one that has begun it does: a run that Airflow calls a
    # success is never performed again, because the log may come from an older backup.
    if state is None or (state != "failed" and execution.begun):
        ended = "does not know it any more" if state is None else f"ended it as {state}"
        yield _close(case, f"open in the log, and Airflow {ended}")
        return
    tasks = scope.airflow.tasks(dag_id, run_id)
    by_hand = execution.begun and tasks.get("close") in BY_HAND
    message = "open in the log, and " + ("ended in Airflow by hand" if by_hand else f"Airflow ended it as {state}")
    if by_hand and not _leaves_something(run, definition):
        yield _close(case, message)
        return
    preserved_steps = preserved_steps_of(definition, execution)
    if preserved_steps is None:
        preserved_steps = left_by_hand(definition, run, events, execution, tasks)
    if preserved_steps is None:
        # Only some items were cleared, and Airflow can restart a run only as a whole: the other items would be done
        # again, although nobody wanted that.
        yield _close(case, f"{message}; tasks of it had been cleared by hand")
        return
    ordered = _ordered(case, events, preserved_steps, undo=by_hand)
    if ordered is None:
        came = (
            f"{RESTARTS} restarts came to nothing, nor was it undone"
            if execution.begun
            else "what was ordered came to nothing"
        )
        yield _close(case, f"{message}; {came}")
        return
    yield _restart(case, ordered, message)


@dataclass(frozen=True)
class _DeadRun:
    """A run that died, as the reconciler has read it."""

    scope: Scope
    run: RunState
    definition: Definition
    execution: Execution
    last: Event
    latest: bool
    """True where Airflow has yet to give the run the version that it is to go on with."""


def _ordered(
    case: _DeadRun, events: list[Event], preserved_steps: Iterable[str], *, undo: bool
) -> list[NewEvent] | None:
    """The events to write before Airflow is asked to restart the run; None when that was tried often enough."""
    last, scope = case.last, case.scope
    # Restarts count for each execution: one that a person has ordered since has all its restarts again.
    mine = [event for event in events if event.actor == RECONCILER and event.version > case.execution.since]
    if last in mine and last.type == EventType.RUN_CONTINUED:
        # The order to restart is the last event, so Airflow did not carry it out. Ask again without a second order:
        # `RESTARTS` counts how often the run died, and not how often Airflow was away.
        return [] if last.at > scope.now - LONGEST_WAIT else None
    if any(event.type == EventType.RUN_CANCEL_REQUESTED for event in mine):
        return None
    restarts = sum(event.type == EventType.RUN_CONTINUED for event in mine)
    undo = undo or restarts >= RESTARTS
    why = "it was ended in Airflow by hand" if restarts < RESTARTS else f"it died again after {restarts} restarts"
    # The keys hold the last version that was read: two passes that find the same death write one order.
    cancel = RunCancelRequested(reason=why).event(actor=RECONCILER, key=f"cancel/{RECONCILER}@{last.version}")
    goes_on = RunContinued(number=restarts + 1, preserved_steps=sorted(preserved_steps))
    restart = goes_on.event(actor=RECONCILER, key=f"restarted/{RECONCILER}@{last.version}")
    return [cancel, restart] if undo else [restart]


def _restart(case: _DeadRun, ordered: list[NewEvent], message: str) -> Discrepancy:
    scope, run, last = case.scope, case.run, case.last
    undo = any(event.type == EventType.RUN_CANCEL_REQUESTED for event in ordered) or run.cancelled_by == RECONCILER
    done = "what it did is undone" if undo else "it goes on where it stopped"
    if not scope.mend:
        return Discrepancy("run", run.id, message, f"`muster reconcile`: {done}.", run=run.id, person=False)
    if ordered:
        # Write first, then ask Airflow: a task that began before `run.continued` would begin a new epoch, in which
        # everything is done again. `expected` refuses the order if anybody wrote into the run since it was read.
        scope.log.append(run.id, ordered, expected=last.version)
    try:
        scope.airflow.restart(run.dag_id or "", run.dag_run_id or "", latest=case.latest)
    except MusterError as error:
        by_hand = "`muster reconcile` has it begun" if case.latest else "Clear the run in Airflow"
        return Discrepancy(
            "run",
            run.id,
            f"{message}; Airflow did not restart it: {error}",
            f"{by_hand}; it is tried again for {LONGEST_WAIT.days * 24} hours.",
            run=run.id,
            # The version of the order to restart. It is the same at each pass until Airflow takes the order, so people
            # are told once.
            mark=str(last.version + len(ordered)),
        )
    return Discrepancy(
        "run", run.id, f"{message}: {done}", "", mended=True, run=run.id, person=undo, mark=str(last.version)
    )


def _close(case: _DeadRun, message: str) -> Discrepancy:
    """Close the run as stuck if it was to be undone and some work stands, else as failed."""
    scope, run, last = case.scope, case.run, case.last
    left = _leaves_something(run, case.definition)
    is_to_be_undone = bool(run.cancelled_by or run.undo_reason or run.unwinding)
    stuck = left if is_to_be_undone else None
    said = message + (f"; {left} was begun and is not undone" if left else "")
    if scope.mend:
        # Revoke before closing, as `close` does: a process that was taken for dead could otherwise write an effect
        # after `run.closed`.
        scope.database.run(revoke_left(scope.database, run, last.version + 1))
        scope.log.append(run.id, list(_closing(case, said, stuck)), expected=last.version)
    # Half undone work must not be done again: its effects would be found done under their old keys although a part was
    # taken back. So a restart is offered only where nothing is half undone.
    ways = [f"`muster restart {run.id} --from STEP` does it again"]
    if any(work.half_undone for _, _, work in run.works()):
        ways.clear()
    ways += [f"`muster resume {run.id}` undoes it"] if stuck else []
    remedy = ", ".join(ways) + "."
    return Discrepancy("run", run.id, said, remedy, mended=scope.mend, run=run.id, mark=str(last.version))


def _closing(case: _DeadRun, reason: str, stuck: str | None) -> Iterator[NewEvent]:
    execution = case.execution
    # An execution that was ordered but never begun does not use up its number: the next one gets it.
    epoch = execution.epoch if execution.begun else execution.epoch - 1
    if stuck is not None:
        kind = UNDOING_NOT_BEGUN if case.run.unwinding is None else MusterError.__name__
        error = RecordedError(class_=kind, message=f"{FOUND}{reason}")
        said = RunStuck(step=stuck, index=None, error=error, epoch=epoch)
        yield said.event(actor=RECONCILER, key=keys.stuck(epoch))
    yield from left_open(case.run, epoch)
    status = "failed" if stuck is None else "stuck"
    closed = RunClosed(status=status, reason=f"{FOUND}{reason}", counts={}, epoch=epoch, reconciled=True)
    yield closed.event(actor=RECONCILER, key=f"closed/{RECONCILER}@{case.last.version}")


def _leaves_something(run: RunState, definition: Definition) -> str | None:
    """The last step whose work stands and would have to be undone, or is irreversible; None when there is none."""
    return next(iter([*pending_compensations(definition, run), *irreversible_steps_begun(definition, run)]), None)
