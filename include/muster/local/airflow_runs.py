"""What the reconciler asks of Airflow, over the REST API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from muster.errors import PermanentError
from muster.local.client import AirflowClient


class RestAirflow:
    """Airflow as seen by a person who is signed in."""

    def __init__(self, client: AirflowClient) -> None:
        self._client = client

    def state(self, dag_id: str, run_id: str) -> str | None:
        """The state of a run; None when Airflow does not know it."""
        run = self._client.run(dag_id, run_id)
        return None if run is None else str(run["state"])

    def paused(self, dag_id: str) -> bool:
        """True for a Dag of which Airflow begins no task: it is paused, or no file has it."""
        dag = self._client.dag(dag_id)
        return dag is None or bool(dag["is_paused"] or dag["is_stale"])

    def running(self, dag_id: str, run_ids: Sequence[str]) -> Collection[str]:
        """Those of these runs that have not ended."""
        if self._client.dag(dag_id) is None:
            return ()
        unfinished = {run["dag_run_id"] for run in self._client.runs(dag_id, state=["queued", "running"])}
        return [run_id for run_id in run_ids if run_id in unfinished]

    def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str | None]:
        """The state of each of its tasks, as `task` or `task_<map index>`."""
        if self._client.run(dag_id, run_id) is None:
            return {}
        return {_name(task): task["state"] for task in self._client.tasks(dag_id, run_id)}

    def unopened(self) -> Mapping[tuple[str, str], datetime]:
        """The Dag runs of automations whose first task waits for its next try, each with when the last one ended."""
        # Any Dag may have a task that is called `open`; only an automation's is of this operator.
        tasks = self._client.tasks(task_id="open", operator="OpenRun", state="up_for_retry")
        return {
            (task["dag_id"], task["dag_run_id"]): datetime.fromisoformat(task["end_date"])
            for task in tasks
            if task["end_date"] is not None
        }

    def restart(self, dag_id: str, run_id: str, *, latest: bool = False) -> None:
        """Clear all tasks of a run, so that Airflow performs them again.

        Raises:
            PermanentError: Airflow does not know the run.
        """
        if self._client.run(dag_id, run_id) is None:
            raise PermanentError(f"Airflow does not know the run {run_id} of {dag_id} any more.")
        tasks = sorted({task["task_id"] for task in self._client.tasks(dag_id, run_id)})
        self._client.clear(dag_id, run_id, tasks, latest=latest)

    def clear(self, dag_id: str, run_id: str, tasks: Sequence[str]) -> bool:
        """Clear these tasks, named as by `tasks`; True if Airflow cleared any."""
        named = [task for task in self._client.tasks(dag_id, run_id) if _name(task) in tasks]
        which = [
            instance["task_id"] if instance["map_index"] < 0 else (instance["task_id"], instance["map_index"])
            for instance in named
        ]
        return self._client.clear(dag_id, run_id, which) > 0


def _name(task: Mapping[str, Any]) -> str:
    return str(task["task_id"]) if task["map_index"] < 0 else f"{task['task_id']}_{task['map_index']}"
