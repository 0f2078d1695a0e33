"""What a task may ask of Airflow about runs of other Dags, over its own connection to it: no login is needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from muster.errors import PermanentError, TransientError

AT_ONCE = 50
"""Runs asked about in one question: their names go into an address."""
UNFINISHED = ["queued", "running"]
"""States of a run that Airflow still does something for."""


class TaskAirflow:
    """Airflow as seen from a task process.

    Raises:
        TransientError: Airflow does not answer, or not as it should.
        PermanentError: it refuses.
    """

    def state(self, dag_id: str, run_id: str) -> str | None:
        """The state of a run; None when Airflow does not know it."""
        from airflow.sdk.execution_time.comms import GetDagRunState

        # Asked first: about a run that is not there, Airflow writes an error into the task's log.
        if not self._count(dag_id, run_ids=[run_id]):
            return None
        return str(_ask(GetDagRunState(dag_id=dag_id, run_id=run_id)).state.value)

    def running(self, dag_id: str, run_ids: Sequence[str]) -> Collection[str]:
        """Those of these runs that have not ended."""
        found: list[str] = []
        for start in range(0, len(run_ids), AT_ONCE):
            some = list(run_ids[start : start + AT_ONCE])
            count = self._count(dag_id, run_ids=some, states=UNFINISHED)
            # Airflow counts and names none; mostly all of them have ended, or none has.
            if 0 < count < len(some):
                some = [each for each in some if self._count(dag_id, run_ids=[each], states=UNFINISHED)]
            found += some if count else ()
        return found

    def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str | None]:
        """The state of each of its tasks, as `task` or `task_<map index>`."""
        from airflow.sdk.execution_time.comms import GetTaskStates

        states = _ask(GetTaskStates(dag_id=dag_id, run_ids=[run_id])).task_states
        return dict(states.get(run_id, {}))

    def restart(self, dag_id: str, run_id: str, *, latest: bool = False) -> None:
        """Clear all tasks of a run that is there."""
        from airflow.sdk.execution_time.comms import TriggerDagRun

        if latest:
            raise PermanentError(f"No task may give {dag_id}/{run_id} another version: `muster reconcile` does.")
        if not self._count(dag_id, run_ids=[run_id]):
            raise PermanentError(f"Airflow does not know the run {run_id} of {dag_id} any more.")
        # A run that is there already is cleared, on the version it belongs to.
        _ask(TriggerDagRun(dag_id=dag_id, run_id=run_id, conf={}, reset_dag_run=True))

    def clear(self, dag_id: str, run_id: str, tasks: Sequence[str]) -> bool:
        """Not possible: a task may only have whole runs cleared."""
        return False

    def _count(self, dag_id: str, **which: Any) -> int:
        from airflow.sdk.execution_time.comms import GetDRCount

        return int(_ask(GetDRCount(dag_id=dag_id, **which)).count)


def _ask(question: Any) -> Any:
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    kind = type(question).__name__
    try:
        answer = task_runner.SUPERVISOR_COMMS.send(question)
    except AirflowRuntimeError as error:
        status = (error.error.detail or {}).get("status_code", HTTPStatus.INTERNAL_SERVER_ERROR)
        refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        raise (PermanentError if refused else TransientError)(f"Airflow did not answer {kind}: {error}.") from error
    if answer is None or isinstance(answer, ErrorResponse):
        raise TransientError(f"Airflow did not answer {kind}: {answer}.")
    return answer
