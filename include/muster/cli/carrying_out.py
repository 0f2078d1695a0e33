"""Has Airflow begin what is done again, once it is planned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from muster.cli.connections import airflow, open_log
from muster.database import Database
from muster.errors import MusterError, PermanentError, TransientError
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.local.client import AirflowClient, Unreachable
from muster.operations.redoing import Plan, order


def carry_out(
    database: Database,
    plans: Sequence[Plan],
    user: str,
    *,
    dry_run: bool,
    refuse: Callable[[str, MusterError], None],
) -> dict[str, list[object]]:
    """Ask Airflow about all of them before anything is written; then write and have it go on, one after the other.

    The tasks by run, of those that were not refused.
    """
    if not plans:
        return {}
    found: dict[str, list[object]] = {}
    with airflow(user) as client:
        for plan in plans:
            try:
                found[plan.run] = _tasks(client, plan)
            except TransientError:
                raise
            except MusterError as error:
                refuse(plan.run, error)
        lost: BaseException | None = None
        for plan in [plan for plan in plans if plan.run in found and not dry_run]:
            try:
                if isinstance(lost, Unreachable):
                    # Without Airflow nothing more is ordered.
                    raise Unreachable(f"Nothing was changed: {lost.message}", remedy=lost.remedy)
                _begin(database, client, plan, found[plan.run])
            except MusterError as error:
                lost = lost or error.__cause__
                del found[plan.run]
                refuse(plan.run, error)
    return found


def _begin(database: Database, client: AirflowClient, plan: Plan, tasks: list[Any]) -> None:
    order(open_log(database), plan)
    dag_id, _, run_id = plan.run.partition("/")
    try:
        client.clear(dag_id, run_id, tasks, latest=plan.latest)
    except MusterError as error:
        raise (Unreachable if isinstance(error, Unreachable) else MusterError)(
            f"It is recorded that {plan.run} is done again, and Airflow did not begin it: {error.message}",
            remedy="`muster reconcile` has it begun."
            if plan.latest
            else "The reconciler has it begun after ten minutes.",
        ) from error


def _tasks(client: AirflowClient, plan: Plan) -> list[Any]:
    dag_id, _, run_id = plan.run.partition("/")
    found = client.run(dag_id, run_id)
    if found is None:
        raise PermanentError(f"Airflow does not know {plan.run} any more: it cannot be done again.")
    if found["state"] not in ENDED_IN_AIRFLOW:
        raise PermanentError(f"{plan.run} has not ended in Airflow.", remedy="Try again in a moment.")
    if plan.latest and (client.details(dag_id) or {}).get("bundle_version") != plan.bundle_version:
        # Nobody can have it on any but the latest, and what that has, the run must know of.
        raise PermanentError(
            f"{plan.run} is to go on with a version of {dag_id} that is not the latest any more.",
            remedy="`muster restart --current` has it go on with that one.",
        )
    return plan.tasks(task["task_id"] for task in client.tasks(dag_id, run_id))
