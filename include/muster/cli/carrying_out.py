"""Writes planned orders to do work again, and has Airflow begin it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from muster.cli.connections import airflow, in_airflow, open_log, outage_like
from muster.database import Database
from muster.errors import MusterError, PermanentError, TransientError
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.local.client import AirflowClient, Unreachable
from muster.operations.redoing import Plan, order


def carry_out(
    database: Database, plans: Sequence[Plan], user: str, *, dry_run: bool, refuse: Callable[[str, MusterError], None]
) -> dict[str, list[object]]:
    """Ask Airflow about all plans before anything is written; then order them and have Airflow begin, one by one.

    Args:
        refuse: Called with a run and the reason why it is not done again; it may raise.

    Returns:
        By run, the tasks of the plans that were not refused.
    """
    if not plans:
        return {}
    tasks: dict[str, list[object]] = {}
    with airflow(user) as client:
        for plan in plans:
            try:
                tasks[plan.run] = _tasks(client, plan)
            except TransientError:
                raise
            except MusterError as error:
                refuse(plan.run, error)
        lost: BaseException | None = None
        for plan in [plan for plan in plans if plan.run in tasks and not dry_run]:
            try:
                if isinstance(lost, Unreachable):
                    # An order that Airflow is not told of would wait for the reconciler, so no more are written.
                    raise Unreachable(f"Nothing was changed: {lost.message}", remedy=lost.remedy)
                _begin(database, client, plan, tasks[plan.run])
            except MusterError as error:
                lost = lost or error.__cause__
                del tasks[plan.run]
                refuse(plan.run, error)
    return tasks


def _begin(database: Database, client: AirflowClient, plan: Plan, tasks: list[Any]) -> None:
    # First the order, then the tasks: a task that begins without an order in the log finds its work done already. If
    # this process dies in between, the reconciler clears the tasks.
    order(open_log(database), plan)
    try:
        client.clear(*in_airflow(plan.run), tasks, latest=plan.latest)
    except MusterError as error:
        raise outage_like(error)(
            f"It is recorded that {plan.run} is done again, and Airflow did not begin it: {error.message}",
            remedy="`muster reconcile` has it begun."
            if plan.latest
            else "The reconciler has it begun after ten minutes.",
        ) from error


def _tasks(client: AirflowClient, plan: Plan) -> list[Any]:
    """The tasks to clear for a plan. Raises PermanentError when Airflow cannot do the run again now."""
    dag_id, run_id = in_airflow(plan.run)
    dag_run = client.run(dag_id, run_id)
    if dag_run is None:
        raise PermanentError(f"Airflow does not know {plan.run} any more: it cannot be done again.")
    if dag_run["state"] not in ENDED_IN_AIRFLOW:
        raise PermanentError(f"{plan.run} has not ended in Airflow.", remedy="Try again in a moment.")
    if plan.latest and (client.details(dag_id) or {}).get("bundle_version") != plan.bundle_version:
        # Airflow can only go on with the latest version, and the order names the one that was compared with the run's.
        raise PermanentError(
            f"{plan.run} is to go on with a version of {dag_id} that is not the latest any more.",
            remedy="`muster restart --current` has it go on with that one.",
        )
    return plan.tasks(task["task_id"] for task in client.tasks(dag_id, run_id))
