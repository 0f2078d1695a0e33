"""`muster resume`: a person has a stuck run go on undoing."""

from __future__ import annotations

from muster.cli.connections import airflow, in_airflow, open_log, open_queries, outage_like
from muster.cli.output import console, counted, emit
from muster.errors import MusterError, PermanentError
from muster.events.log import EventLog
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.execution.task_keys import ends
from muster.local.client import AirflowClient
from muster.saga.resuming import AlreadyResumed, Resumable, already_resumed, end_by_hand, resumable, resume


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
