"""`muster cancel` and `muster resume`: a person stops a run, or goes on undoing one that is stuck."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from muster.cli.output import console, emit
from muster.cli.place import airflow, open_log, open_queries
from muster.errors import PermanentError
from muster.events.intact import demand_intact
from muster.local.client import AirflowClient
from muster.operations.cancelling import open_children, request_cancel
from muster.operations.redoing import ends
from muster.saga.resuming import AlreadyResumed, resume

ACTIVE = frozenset(
    {"running", "deferred", "awaiting_input", "queued", "up_for_retry", "up_for_reschedule", "restarting"}
)
"""States of a task that is under way."""


def cancel_run(run: str, *, reason: str | None, user: str, as_json: bool) -> None:
    """Write the wish down, then stop what is under way: what has not begun sees the wish and skips itself.

    The runs it has asked for and that are open are cancelled with it.
    """
    queries, database = open_queries()
    try:
        run, log = queries.run(run).id, open_log(database)
        request_cancel(log, run, by=user, reason=reason)
        children = list(open_children(log, run))
        for child in children:
            with suppress(PermanentError):  # It has ended since.
                request_cancel(log, child, by=user, reason=reason or f"{run} is cancelled")
    finally:
        database.close()
    with airflow(user) as client:
        stopped = [task for each in (*children, run) for task in _stop(client, each)]
    if as_json:
        emit({"run": run, "children": children, "stopped": [task["task_id"] for task in stopped], "by": user})
        return
    with_them = f" with {len(children)} runs it has asked for" if children else ""
    said = f"{run} is cancelled{with_them}; {len(stopped)} tasks were stopped."
    console().print(f"{said} `muster show {run}` tells what is undone.")


def _stop(client: AirflowClient, run: str) -> list[dict[str, Any]]:
    """Stop the tasks of a run that are under way, but for those that undo it and close it."""
    dag_id, _, run_id = run.partition("/")
    stopped = [task for task in client.tasks(dag_id, run_id) if task["state"] in ACTIVE and not ends(task["task_id"])]
    for task in stopped:
        client.fail(task)
    return stopped


def resume_run(run: str, *, note: str | None, by_hand: bool, user: str, as_json: bool) -> None:
    """Write who resumes, then have Airflow go on with the tasks that undo."""
    queries, database = open_queries()
    try:
        run = queries.run(run).id
        demand_intact(open_log(database), run)
        dag_id, _, run_id = run.partition("/")
        with airflow(user) as client:
            try:
                resume(open_log(database), run, by=user, note=note, by_hand=by_hand)
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
    # A run that is undone with the one that asked for it has not failed in Airflow.
    return client.clear(dag_id, run_id, tasks, only_failed=True) or client.clear(dag_id, run_id, tasks)
