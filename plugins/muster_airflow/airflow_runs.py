"""What a task may ask of Airflow about runs of other Dags, over its own connection to it: no login is needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from muster.errors import PermanentError, TransientError
from muster_airflow.reference import RECONCILER

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

    def paused(self, dag_id: str) -> bool:
        """True for a Dag of which Airflow begins no task: it is paused, or no file has it."""
        from airflow.sdk.execution_time.comms import GetDag

        try:
            before, dag, after = (_ask(GetDag(dag_id=each)) for each in (RECONCILER, dag_id, RECONCILER))
        except PermanentError:
            return True
        # A Dag keeps the version of the bundle it was last found in, and the answer does not say whether that is past.
        # This task's own Dag is in every version; it is asked twice, because the next one may come in between.
        # The versions of another bundle say nothing about it.
        versions = {each.bundle_version for each in (before, after) if each.bundle_name == dag.bundle_name}
        return bool(dag.is_paused) or (bool(versions) and dag.bundle_version not in versions)

    def running(self, dag_id: str, run_ids: Sequence[str]) -> Collection[str]:
        """Those of these runs that have not ended."""
        unfinished: list[str] = []
        for start in range(0, len(run_ids), AT_ONCE):
            some = list(run_ids[start : start + AT_ONCE])
            count = self._count(dag_id, run_ids=some, states=UNFINISHED)
            # Airflow answers with a count and no names. Mostly all of them have ended, or none, and one question is
            # enough; else each run is asked about by itself.
            if 0 < count < len(some):
                some = [run_id for run_id in some if self._count(dag_id, run_ids=[run_id], states=UNFINISHED)]
            unfinished += some if count else ()
        return unfinished

    def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str | None]:
        """The state of each of its tasks, as `task` or `task_<map index>`."""
        from airflow.sdk.execution_time.comms import GetTaskStates

        states = _ask(GetTaskStates(dag_id=dag_id, run_ids=[run_id])).task_states
        return dict(states.get(run_id, {}))

    def unopened(self) -> Mapping[tuple[str, str], datetime]:
        """None: a task may not ask which runs there are. `muster reconcile` sees to them."""
        return {}

    def restart(self, dag_id: str, run_id: str, *, latest: bool = False) -> None:
        """Clear all tasks of a run, so that Airflow performs them again, on the version that the run belongs to.

        Raises:
            PermanentError: Airflow does not know the run, or `latest` is given, which no task may ask for.
        """
        from airflow.sdk.execution_time.comms import TriggerDagRun

        if latest:
            raise PermanentError(f"No task may give {dag_id}/{run_id} another version: `muster reconcile` does.")
        if not self._count(dag_id, run_ids=[run_id]):
            raise PermanentError(f"Airflow does not know the run {run_id} of {dag_id} any more.")
        # Of a run that is there, this message clears the tasks; of any other it would start a new run. So the run is
        # looked for first.
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
