"""Runs that have ended in the log and go on in Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from muster.errors import MusterError
from muster.events.lifecycle import CONTINUATIONS
from muster.events.queries import RunRow
from muster.events.work import ENDED as WORK_ENDED
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.operations.reconciling.findings import ACTIVE, LIMIT, SLOWEST, Discrepancy, Scope
from muster.operations.reconciling.guarding import guarded

WINDOW = timedelta(hours=6)
"""Airflow is asked about runs that have ended within this time."""


def find_finished_runs(scope: Scope) -> Iterator[Discrepancy]:
    """Runs that have ended in the log and go on in Airflow; those with nothing left to do are ended there."""
    before = min(scope.before, scope.now - SLOWEST)
    settled = scope.queries.settled_runs(before - WINDOW, before, beyond=scope.beyond, limit=LIMIT)
    going_on = scope.going_on(settled)
    for row in settled:
        if row.id in going_on and row.dag_id is not None and row.dag_run_id is not None:
            yield from guarded(row.id, partial(_run_over, scope, row, row.dag_id, row.dag_run_id))


def _run_over(scope: Scope, row: RunRow, dag_id: str, run_id: str) -> Iterator[Discrepancy]:
    state = scope.airflow.state(dag_id, run_id)
    # Ask again, one run at a time: it may have ended, or been begun again by a person, since all were asked together.
    if state is None or state in ENDED_IN_AIRFLOW or scope.begun_again(row.id):
        return
    tasks = scope.airflow.tasks(dag_id, run_id)
    waiting = sorted(task for task, state in tasks.items() if state in ACTIVE)
    message = f"{row.status} in the log, and {state} in Airflow: {', '.join(waiting) or 'no task'} under way"
    steps = scope.queries.steps(row.id)
    again = any(scope.log.read(row.id, types=CONTINUATIONS))
    if again or any(step.status not in WORK_ENDED for step in steps if step.index < 0):
        # A restart clears all tasks. A step without an outcome in this epoch would then begin, in a run that has ended.
        remedy = f"Mark the run as failed in Airflow ({dag_id}, {run_id})."
        yield Discrepancy("task", row.id, message, remedy, run=row.id, mark=str(row.closed_at))
        return
    if scope.mend:
        scope.log.ensure_untampered(row.id)
        if scope.airflow.state(dag_id, run_id) in ENDED_IN_AIRFLOW:
            # Verifying a long log takes a while, and the run may have ended in Airflow meanwhile. Clearing it after its
            # end would begin a new execution, in which everything is done again.
            return
        try:
            scope.airflow.restart(dag_id, run_id)
        except MusterError as error:
            remedy = f"Clear the run in Airflow ({dag_id}, {run_id}): its tasks find their outcomes."
            yield Discrepancy("task", row.id, f"{message}: {error}", remedy, run=row.id, mark=str(row.closed_at))
            return
    yield Discrepancy("task", row.id, message, "", mended=scope.mend, run=row.id, person=False)
