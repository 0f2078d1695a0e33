"""`muster cancel` and `muster resume`: a person stops a run, or goes on undoing one that is stuck."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from muster.cli.connections import airflow, in_airflow, open_log, open_queries, outage_like
from muster.cli.output import console, counted, emit
from muster.errors import MusterError, PermanentError
from muster.events.log import EventLog
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.local.client import AirflowClient
from muster.operations.cancelling import open_children, request_cancel
from muster.operations.redoing import ends
from muster.saga.resuming import AlreadyResumed, Resumable, already_resumed, end_by_hand, resumable, resume

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


def resume_run(run: str, *, note: str | None, by_hand: bool, all_by_hand: bool, user: str, as_json: bool) -> None:
    """Record who resumes, then have Airflow go on with the tasks that undo.

    Raises:
        MusterError: the run is not stuck or goes on already; Airflow does not answer; or Airflow does not know the run
            and it was not undone by hand. Nothing was written then. If Airflow fails after the order was written, the
            message says so.
    """
    with open_queries() as (queries, database):
        run, log = queries.run(run).id, open_log(database)
        seen = resumable(log, run)
        with airflow(user) as client:
            earlier, cleared = None, 0
            dag_run = client.run(*in_airflow(run))
            if (dag_run is not None) == all_by_hand:
                raise _of_no_use(run, seen, is_known=dag_run is not None)
            if dag_run is not None:
                tasks = _tasks(client, run, dag_run["state"], seen, by_hand=by_hand)
                earlier = _write(log, run, seen, note=note, by_hand=by_hand, by=user)
                cleared = _go_on(client, run, tasks, only_failed=seen.stuck.has_begun)
            else:
                end_by_hand(log, run, by=user, note=note, seen=seen)
    by = user if earlier is None else earlier
    if as_json:
        emit({"run": run, "tasks": cleared, "by": by})
        return
    if all_by_hand:
        console().print(f"{run} has ended as compensated: you have undone by hand what was left of it.")
        return
    if earlier is not None:
        console().print(f"Airflow had not begun what {earlier} ordered before: that is carried out.", markup=False)
    console().print(f"{run} goes on undoing: {counted(cleared, 'task')}. `muster show {run}` tells how far it is.")


def _of_no_use(run: str, seen: Resumable, *, is_known: bool) -> PermanentError:
    """The error when `--all-by-hand` does not fit: it is for runs that Airflow does not know any more."""
    if is_known:
        return PermanentError(
            f"Airflow knows {run}, so what is left of it can be undone there; nothing was changed.",
            remedy=f"`muster resume {run} --by-hand` says that you have done what failed.",
        )
    left = sorted({step for step, state in seen.state.steps.items() if state.standing})
    return PermanentError(
        f"Airflow does not know {run} any more: nothing of it can be undone there. What was done and is not undone, "
        f"where anything has to undo it: {', '.join(left)}.",
        remedy=f"Undo that by hand, all of it; then `muster resume {run} --all-by-hand` says so, and ends the run.",
    )


def _tasks(client: AirflowClient, run: str, state: str, seen: Resumable, *, by_hand: bool) -> list[str]:
    """The tasks that undo the run and close it, asked for before anything is written. Waits for its end in Airflow."""
    dag_id, run_id = in_airflow(run)
    if seen.order is not None and state not in ENDED_IN_AIRFLOW:
        raise already_resumed(run, seen.order, by_hand=by_hand)
    # The end of a run that got stuck may take a moment.
    client.wait_for_run(dag_id, run_id, timeout=60)
    return sorted({task["task_id"] for task in client.tasks(dag_id, run_id) if ends(task["task_id"])})


def _write(log: EventLog, run: str, seen: Resumable, *, note: str | None, by_hand: bool, by: str) -> str | None:
    """Record who resumes; returns None, or who ordered it before if Airflow has begun nothing of that order."""
    try:
        resume(log, run, by=by, note=note, by_hand=by_hand, seen=seen)
    except AlreadyResumed as error:
        # The process that wrote the earlier order may have died before it told Airflow. A fresh order is left alone,
        # because its process is probably about to.
        if not error.may_be_carried_out(by_hand=by_hand):
            raise
        return error.order.actor
    return None


def _go_on(client: AirflowClient, run: str, tasks: list[str], *, only_failed: bool) -> int:
    """Clear the tasks that undo the run and close it; returns how many."""
    dag_id, run_id = in_airflow(run)
    try:
        # No task may have failed: a run that is undone with the one that asked for it has not failed in Airflow.
        cleared = client.clear(dag_id, run_id, tasks, only_failed=True) if only_failed else 0
        return cleared or client.clear(dag_id, run_id, tasks)
    except MusterError as error:
        raise outage_like(error)(
            f"It is recorded that {run} goes on undoing, and Airflow did not begin it: {error.message}",
            remedy=f"The reconciler has it begun after ten minutes, or `muster resume {run}` again after one.",
        ) from error
