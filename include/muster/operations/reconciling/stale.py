"""Tasks that still wait in Airflow for what the log says is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from muster.errors import MusterError
from muster.events.model import EventType
from muster.events.queries import RunRow
from muster.events.work import ENDED as WORK_ENDED
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.operations.reconciling.findings import BEGINS_AGAIN, LIMIT, Disagreement, Scope

ACTIVE = frozenset({"deferred", "awaiting_input", "running", "queued", "scheduled", "up_for_retry", "restarting"})
"""States of a task that Airflow means to do something about."""
WINDOW = timedelta(hours=6)
"""How long ago the runs have ended at most that Airflow is asked about."""
SLOWEST = timedelta(minutes=5)
"""How long Airflow may take, whatever `quiet` says, to end a task whose outcome is written."""


def find_stale(scope: Scope) -> Iterator[Disagreement]:
    """Runs that have ended in the log and go on in Airflow, and steps that ended and whose task still waits."""
    before = min(scope.before, scope.now - SLOWEST)
    settled = scope.queries.settled_runs(before - WINDOW, before, limit=LIMIT)
    going_on = scope.going_on(settled)
    for row in settled:
        if row.id in going_on and row.dag_id is not None and row.dag_run_id is not None:
            yield from _run_over(scope, row, row.dag_id, row.dag_run_id)
    for row in scope.queries.runs(status="open", limit=LIMIT):
        if row.dag_id is not None and row.dag_run_id is not None:
            yield from _step_over(scope, row, before, scope.airflow.tasks(row.dag_id, row.dag_run_id))


def _goes_on(scope: Scope, row: RunRow) -> bool:
    """True when the run was begun again after it had ended."""
    *_, last = scope.log.read(row.id, types=[EventType.RUN_OPENED, EventType.RUN_CLOSED, *BEGINS_AGAIN])
    return last.type in BEGINS_AGAIN


def _run_over(scope: Scope, row: RunRow, dag_id: str, run_id: str) -> Iterator[Disagreement]:
    state = scope.airflow.state(dag_id, run_id)
    if state is None or state in ENDED_IN_AIRFLOW or _goes_on(scope, row):
        return
    tasks = scope.airflow.tasks(dag_id, run_id)
    waiting = sorted(task for task, state in tasks.items() if state in ACTIVE)
    message = f"{row.status} in the log, and {state} in Airflow: {', '.join(waiting) or 'no task'} under way"
    steps = scope.queries.steps(row.id)
    again = any(scope.log.read(row.id, types=BEGINS_AGAIN))
    if again or any(step.status not in WORK_ENDED for step in steps if step.index < 0):
        # Performed again, a step without an outcome in this epoch would begin, in a run that is over.
        remedy = f"Mark the run as failed in Airflow ({dag_id}, {run_id})."
        yield Disagreement("task", row.id, message, remedy, run=row.id, mark=str(row.closed_at))
        return
    if scope.mend:
        try:
            scope.airflow.restart(dag_id, run_id)
        except MusterError as error:
            remedy = f"Clear the run in Airflow ({dag_id}, {run_id}): its tasks find their outcomes."
            yield Disagreement("task", row.id, f"{message}: {error}", remedy, run=row.id, mark=str(row.closed_at))
            return
    yield Disagreement("task", row.id, message, "", mended=scope.mend, run=row.id, person=False)


def _step_over(scope: Scope, row: RunRow, before: datetime, tasks: Mapping[str, str | None]) -> Iterator[Disagreement]:
    waiting = {task for task, state in tasks.items() if state in ACTIVE}
    # Begun again a moment ago, all of its tasks are on their way to outcomes that are there.
    if not waiting or any(event.at > before for event in scope.log.read(row.id, types=BEGINS_AGAIN)):
        return
    for step in scope.queries.steps(row.id):
        over = step.status in WORK_ENDED and step.ended_at is not None and step.ended_at <= before
        if over and step.index < 0 and step.step in waiting:
            state = tasks[step.step]
            message = f"{step.status} in the log since {step.ended_at:%Y-%m-%d %H:%M} UTC, and {state} in Airflow"
            remedy = f"Clear the task {step.step} of {row.dag_id}, {row.dag_run_id} in Airflow: it finds its outcome."
            subject = f"{row.id}#{step.step}"
            yield Disagreement("task", subject, message, remedy, run=row.id, mark=str(step.ended_at))
