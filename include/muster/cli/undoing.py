"""`muster cancel` and `muster resume`: a person stops a run, or goes on undoing one that is stuck."""

from __future__ import annotations

from muster.cli.output import console, emit
from muster.cli.place import airflow, open_queries
from muster.events.log import EventLog
from muster.local.client import AirflowClient
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import ends
from muster.saga.resuming import AlreadyResumed, resume

ACTIVE = frozenset(
    {"running", "deferred", "awaiting_input", "queued", "up_for_retry", "up_for_reschedule", "restarting"}
)
"""States of a task that is under way."""


def cancel_run(run: str, *, reason: str | None, user: str, as_json: bool) -> None:
    """Write the wish down, then stop what is under way: what has not begun sees the wish and skips itself."""
    queries, database = open_queries()
    try:
        run = queries.run(run).id
        request_cancel(EventLog(database), run, by=user, reason=reason)
    finally:
        database.close()
    dag_id, _, run_id = run.partition("/")
    with airflow(user) as client:
        stopped = [
            task for task in client.tasks(dag_id, run_id) if task["state"] in ACTIVE and not ends(task["task_id"])
        ]
        for task in stopped:
            client.fail(task)
    if as_json:
        emit({"run": run, "stopped": [task["task_id"] for task in stopped], "by": user})
        return
    console().print(f"{run} is cancelled; {len(stopped)} tasks were stopped. `muster show {run}` tells what is undone.")


def resume_run(run: str, *, note: str | None, by_hand: bool, user: str, as_json: bool) -> None:
    """Write who resumes, then have Airflow go on with the tasks that undo."""
    queries, database = open_queries()
    try:
        run = queries.run(run).id
        dag_id, _, run_id = run.partition("/")
        with airflow(user) as client:
            try:
                resume(EventLog(database), run, by=user, note=note, by_hand=by_hand)
            except AlreadyResumed:
                # Who was first may have died before Airflow was told: then Airflow still shows the run as failed.
                if (client.run(dag_id, run_id) or {}).get("state") != "failed":
                    raise
            cleared = _go_on(client, dag_id, run_id)
    finally:
        database.close()
    if as_json:
        emit({"run": run, "tasks": cleared, "by": user})
        return
    console().print(f"{run} goes on undoing: {cleared} tasks. `muster show {run}` tells how far it is.")


def _go_on(client: AirflowClient, dag_id: str, run_id: str) -> int:
    """Have everything that undoes and did not, and the end of the run, performed again."""
    client.wait_for_run(dag_id, run_id, timeout=60)
    tasks = sorted({task["task_id"] for task in client.tasks(dag_id, run_id) if ends(task["task_id"])})
    return client.clear(dag_id, run_id, tasks, only_failed=True)
