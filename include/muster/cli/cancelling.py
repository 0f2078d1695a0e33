"""`muster cancel`: a person stops a run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from muster.cli.connections import airflow, in_airflow, open_log, open_queries, outage_like
from muster.cli.output import console, counted, emit
from muster.errors import MusterError, PermanentError
from muster.execution.task_keys import ends
from muster.local.client import AirflowClient
from muster.operations.cancelling import open_children, request_cancel

ACTIVE = frozenset(
    {"running", "deferred", "awaiting_input", "scheduled", "queued", "up_for_retry", "up_for_reschedule", "restarting"}
)
"""States of a task that is under way, or is about to be."""
ROUNDS = 3
"""How often Airflow is asked what is under way: while tasks are stopped, it schedules the ones after them."""


def cancel_run(run: str, *, reason: str | None, user: str, as_json: bool) -> None:
    """Record the wish to cancel, then stop what is under way. Work that has not begun sees the wish and skips itself.

    Open runs that this one has asked for are cancelled with it.

    Raises:
        MusterError: nobody is signed in, and nothing was written; or the wish is recorded, and some tasks go on.
    """
    with open_queries() as (queries, database):
        run, log = queries.run(run).id, open_log(database)
        with airflow(user) as client:
            # A request that signs in, before anything is written: the log names only people whom Airflow knows.
            client.run(*in_airflow(run))
            request_cancel(log, run, by=user, reason=reason)
            children = list(open_children(log, run))
            for child in children:
                with suppress(PermanentError):  # It has ended since.
                    request_cancel(log, child, by=user, reason=reason or f"{run} is cancelled")
            stopped, left = _stop_all(client, (*children, run))
    if as_json:
        emit({"run": run, "children": children, "stopped": stopped, "by": user, "not_stopped": sorted(left)})
    with_them = f" with {counted(len(children), 'run')} it has asked for" if children else ""
    if left:
        why = next(iter(left.values()))
        raise outage_like(why)(
            f"It is recorded that {run} is cancelled{with_them}, and nothing of it begins any more. What has not been "
            f"stopped: {', '.join(sorted(left))}. {why.message}",
            remedy=f"`muster cancel {run}` again stops it; otherwise it ends by itself, and is undone after that.",
        )
    if not as_json:
        said = f"{run} is cancelled{with_them}; {counted(len(stopped), 'task')} stopped."
        console().print(f"{said} `muster show {run}` tells what is undone.")


def _stop_all(client: AirflowClient, runs: tuple[str, ...]) -> tuple[list[str], dict[str, MusterError]]:
    """Stop the tasks of these runs that are under way, except those that undo the runs and close them.

    Returns:
        The tasks that were stopped; and what was not, with the reason: a task, or a whole run if Airflow does not list
        its tasks.
    """
    stopped, left = list[str](), dict[str, MusterError]()
    for run in runs:
        seen: set[tuple[str, int]] = set()
        for _ in range(ROUNDS):
            try:
                active = [task for task in _active(client, run) if _instance(task) not in seen]
            except MusterError as error:
                left[f"what is under way of {run}"] = error
                break
            if not active:
                break
            for task in active:
                seen.add(_instance(task))
                try:
                    client.fail(task)
                except MusterError as error:
                    left[f"{task['task_id']} of {run}"] = error
                else:
                    stopped.append(task["task_id"])
    return stopped, left


def _active(client: AirflowClient, run: str) -> list[dict[str, Any]]:
    """The tasks of a run that are under way; none if Airflow does not know the run."""
    if client.run(*in_airflow(run)) is None:
        return []
    return [t for t in client.tasks(*in_airflow(run)) if t["state"] in ACTIVE and not ends(t["task_id"])]


def _instance(task: Mapping[str, Any]) -> tuple[str, int]:
    return task["task_id"], task.get("map_index", -1)
