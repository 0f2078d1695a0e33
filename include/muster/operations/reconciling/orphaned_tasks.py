"""Tasks of open runs that no process works on: Airflow waits for work that has ended or was abandoned, or begins no
task of a run any more.

Two wrong clocks lead here. A triggerer that died with its clock ahead counts as alive until the time of its last
heartbeat has come, and its work waits as long. A scheduler with its clock ahead counts the pause before a retry from a
time that has yet to come. Such a task is performed again in the same execution: it finds its outcome in the log, or
goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from muster.errors import MusterError
from muster.events.lifecycle import CONTINUATIONS, RunLifecycle
from muster.events.model import Event
from muster.events.payloads.base import payload_of
from muster.events.payloads.work import OfRetry, StepStarted
from muster.events.queries import RunRow
from muster.events.state import fold
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.execution.task_keys import task_of, works_of
from muster.operations.reconciling.findings import (
    ACTIVE,
    SLOWEST,
    WAITING,
    Discrepancy,
    Scope,
)
from muster.operations.reconciling.guarding import guarded
from muster.operations.reconciling.silence_limits import AT_ONCE, RunUnderReview, longest, until_tried_again

HOP = timedelta(seconds=5)
"""How long Airflow takes at most from the end of one task to the beginning of the next."""


def find_orphaned_tasks(scope: Scope) -> Iterator[Discrepancy]:
    """Orphaned tasks, performed again where that is safe, and runs of which Airflow begins no task."""
    for row in (*scope.open_runs, *scope.stuck_runs):
        if row.id in scope.at_work and row.dag_id is not None and row.dag_run_id is not None:
            tasks = scope.airflow.tasks(row.dag_id, row.dag_run_id)
            active = {task: state for task, state in tasks.items() if state in ACTIVE}
            look = _left_standing if _begins_no_more(scope, row.dag_id, active) else _looked_at
            yield from guarded(row.id, partial(look, scope, row, active))


def _begins_no_more(scope: Scope, dag_id: str, active: Mapping[str, str | None]) -> bool:
    """True for a run of which no task is active, or only such as wait to be begun, which Airflow does not do."""
    return not active or (WAITING.issuperset(active.values()) and scope.airflow.paused(dag_id))


def _left_standing(scope: Scope, row: RunRow, active: Mapping[str, str | None]) -> Iterator[Discrepancy]:
    """A run that stands still: Airflow begins no task while its Dag is paused, or while no file has the Dag."""
    events = list(scope.log.read(row.id))
    last = events[-1]
    if not scope.has_rested(last.at, SLOWEST + _lag(events)) or _waits_for_its_turn(scope, row):
        return
    message = "open in the log, and Airflow begins no task of it: its automation is paused, or its file is gone"
    remedy = (
        f"`muster unpause {row.dag_id}`, or put the file back, under the name {row.dag_id}, until its runs have ended."
    )
    yield Discrepancy("run", row.id, message, remedy, run=row.id, mark=str(last.version))


def _waits_for_its_turn(scope: Scope, row: RunRow) -> bool:
    """True when a run that was begun again is queued behind as many runs of its automation as go on at once."""
    return row.dag_id in scope.full_dags and scope.airflow.state(row.dag_id, row.dag_run_id or "") == "queued"


def _looked_at(scope: Scope, row: RunRow, active: Mapping[str, str | None]) -> Iterator[Discrepancy]:
    """The orphaned ones among the active tasks of a run."""
    events = list(scope.log.read(row.id))
    # In a run that was begun again a moment ago, every task has an outcome in the log and is active in Airflow: it is
    # on its way to that outcome, not orphaned.
    if not all(_has_rested(scope, event.at) for event in events if event.type in CONTINUATIONS):
        return
    run = fold(events)
    definition = scope.definition(run.definition or "")
    case = RunUnderReview(run, definition, RunLifecycle.of(events).last)
    lag = _lag(events)
    over = [task for task in sorted(active) if _is_over(scope, case, task, lag)]
    abandoned = _abandoned(scope, case, events, {task: active[task] for task in sorted(active) if task not in over})
    if not over and not abandoned:
        return
    said = [f"{task} has ended in the log, and is {active[task]} in Airflow" for task in over]
    said += [f"{task} is {active[task]} in Airflow, and nothing has happened in the log since" for task in abandoned]
    yield _performed_again(scope, row, case, [*over, *abandoned], active, "; ".join(said))


def _lag(events: Sequence[Event]) -> timedelta:
    """The time Airflow needs to catch up with steps that ran ahead: it comes to them one task after the other."""
    return HOP * sum(event.type == StepStarted.type and StepStarted.of(event).ahead for event in events)


def _has_rested(scope: Scope, at: datetime) -> bool:
    return scope.has_rested(at, SLOWEST)


def _is_over(scope: Scope, case: RunUnderReview, task: str, lag: timedelta) -> bool:
    """True when all the work that a task performs ended a while ago."""
    stands_for = task_of(case.definition, task)
    if stands_for is None or stands_for.role != "performs":
        return False
    step, result = stands_for.step.id, case.run.step(stands_for.step.id)
    # A fan-out that was skipped, or whose list is empty, has an outcome of its own and no items.
    works = [result.whole] if result.ended_as_a_whole or not result.indices else works_of(case.run, stands_for)
    return bool(works) and all(
        work.ended
        and case.is_of_it(step, work)
        and work.ended_at is not None
        and scope.has_rested(work.ended_at, SLOWEST + lag)
        for work in works
    )


def _abandoned(
    scope: Scope, case: RunUnderReview, events: Sequence[Event], states: Mapping[str, str | None]
) -> list[str]:
    """The tasks that were silent for longer than work of their kind can be."""
    last = events[-1].at
    if not _has_rested(scope, last):
        return []
    said = (payload_of(event) for event in events)
    pause = timedelta(seconds=max((each.delay for each in said if isinstance(each, OfRetry)), default=0))
    quiet = scope.now - max(scope.quiet, SLOWEST) - last
    limits = {task: longest(scope, case, task) for task, state in states.items() if state == "deferred"}
    limits |= {task: until_tried_again(case, task) for task, state in states.items() if state == "up_for_retry"}
    # A machine whose clock was ahead may have written the last event with a time in the future. It is not known then
    # how long the run has been silent: `quiet` is negative, and only work that may not be silent at all is abandoned.
    return [
        task
        for task, limit in sorted(limits.items())
        if limit == AT_ONCE or (limit is not None and quiet >= limit + pause)
    ]


def _performed_again(
    scope: Scope,
    row: RunRow,
    case: RunUnderReview,
    tasks: Sequence[str],
    active: Mapping[str, str | None],
    message: str,
) -> Discrepancy:
    mended = False
    if scope.mend:
        scope.log.ensure_untampered(row.id)
        try:
            mended = _again(scope, row, case, tasks, active)
        except MusterError as error:
            message = f"{message}; Airflow did not perform it again: {error}"
    named = f"the task {tasks[0]}" if len(tasks) == 1 else f"the tasks {', '.join(tasks)}"
    remedy = (
        f"`muster reconcile`, or clear {named} of {row.dag_id}, {row.dag_run_id} in Airflow: what has ended stands."
    )
    return Discrepancy(
        "task",
        row.id,
        message,
        "" if mended else remedy,
        mended=mended,
        run=row.id,
        person=not mended,
        mark=",".join(tasks),
    )


def _again(
    scope: Scope, row: RunRow, case: RunUnderReview, tasks: Sequence[str], active: Mapping[str, str | None]
) -> bool:
    """Have the tasks performed again; False if that would also repeat other work."""
    dag_id, run_id = row.dag_id or "", row.dag_run_id or ""
    if scope.airflow.clear(dag_id, run_id, tasks):
        return True
    # The reconciler's task may ask Airflow to restart a whole run, not to clear single tasks. A restart while another
    # task is active would have two processes at the same work, and without `preserved_steps` it would repeat steps that
    # a person had left as they were.
    if (
        set(active) - set(tasks)
        or case.preserved_steps is None
        or scope.airflow.state(dag_id, run_id) in ENDED_IN_AIRFLOW
    ):
        return False
    scope.airflow.restart(dag_id, run_id)
    return True
