"""Asks Airflow, from a task process, for a run of a Dag, and about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

from muster.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from airflow.sdk.execution_time.comms import TriggerDagRun

REFUSED = frozenset({400, 404, 422})
"""Airflow's answers to what it will never do: no such Dag, one that cannot be read, inputs that do not fit."""


def start_run(asked: TriggerDagRun) -> bool:
    """Have Airflow start a run; False when one of that name is there already.

    Raises:
        PermanentError: it cannot be started.
        TransientError: Airflow did not start it now.
    """
    from airflow.sdk.execution_time.comms import ErrorResponse

    return not isinstance(_answer(asked.dag_id, asked), ErrorResponse)


def is_paused(dag_id: str) -> bool:
    """True for a Dag of which no run begins.

    Raises:
        PermanentError: there is no such Dag.
        TransientError: Airflow did not say.
    """
    from airflow.sdk.execution_time.comms import GetDag

    return bool(_answer(dag_id, GetDag(dag_id=dag_id)).is_paused)


def is_there(dag_id: str, run_id: str) -> bool:
    """True for a run that was started before.

    Raises:
        TransientError: Airflow did not say.
    """
    from airflow.sdk.execution_time.comms import GetDagRunState

    try:
        _answer(dag_id, GetDagRunState(dag_id=dag_id, run_id=run_id))
    except PermanentError:
        return False
    return True


def _answer(dag_id: str, message: Any) -> Any:
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    try:
        answer = task_runner.SUPERVISOR_COMMS.send(message)
    except AirflowRuntimeError as error:
        answer = error.error
    if not isinstance(answer, ErrorResponse) or answer.error == ErrorType.DAGRUN_ALREADY_EXISTS:
        return answer
    detail = answer.detail or {}
    if detail.get("status_code") in REFUSED:
        raise PermanentError(
            f"Airflow starts no run of {dag_id}: {_said(detail)}.",
            remedy=f"Look at {dag_id} in Airflow's list of Dags and their import errors.",
        )
    raise TransientError(f"Airflow did not start a run of {dag_id}: {answer.error}.")


def _said(detail: dict[str, Any]) -> str:
    """Airflow's reason in the answer of its API."""
    inner: Any = detail.get("detail")
    while isinstance(inner, dict) and ("detail" in inner or "message" in inner):
        inner = inner.get("message") or inner.get("detail")
    return str(inner or detail.get("message") or "it does not know it")
