"""Runs that the log does not know, because Airflow has put off the next try of the task that opens them.

A scheduler with its clock ahead counts the pause before a retry from a time that has yet to come. Nothing has been done
in such a run, so its first task is performed again at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from muster.errors import MusterError
from muster.events.model import EventType
from muster.execution.references import ENDED_IN_AIRFLOW, run_id
from muster.execution.task_keys import OPENS
from muster.operations.reconciling.findings import SLOWEST, Discrepancy, Scope
from muster.operations.reconciling.guarding import guarded


def find_unopened_runs(scope: Scope) -> Iterator[Discrepancy]:
    """Runs that were never opened and that Airflow does not open now; their first task is performed again."""
    for (dag_id, dag_run_id), failed_at in scope.airflow.unopened().items():
        # Airflow's own pause is a few seconds. A try that ended long ago, or that has yet to end, is one whose next was
        # put off.
        if scope.has_rested(failed_at, SLOWEST):
            run = run_id(dag_id, dag_run_id)
            yield from guarded(run, partial(_looked_at, scope, run, dag_id, dag_run_id))


def _looked_at(scope: Scope, run: str, dag_id: str, dag_run_id: str) -> Iterator[Discrepancy]:
    # Ask the log after Airflow: a run that was opened meanwhile is none of these.
    if next(scope.log.read(run, types=[EventType.RUN_OPENED]), None) is not None:
        return
    state = scope.airflow.state(dag_id, dag_run_id)
    if state is None or state in ENDED_IN_AIRFLOW:
        return
    message = f"{state} in Airflow and not in the log: {OPENS}, its first task, waits for its next try"
    mended = False
    if scope.mend:
        try:
            mended = scope.airflow.clear(dag_id, dag_run_id, [OPENS])
        except MusterError as error:
            message = f"{message}; Airflow did not perform it again: {error}"
    remedy = f"`muster reconcile`, or clear the task {OPENS} of {dag_id}, {dag_run_id} in Airflow: nothing is done yet."
    yield Discrepancy("run", run, message, "" if mended else remedy, mended=mended, run=run, person=not mended)
