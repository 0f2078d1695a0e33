"""What Airflow says of the tasks of a run, asked from within a trigger."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from muster.errors import TransientError


async def task_states(run: str, tasks: Collection[str] | None = None) -> Mapping[str, str | None]:
    """The state of each task of a run, by task id (`step`, `step_<map index>`, `step.items`).

    Args:
        tasks: Only these, none of them mapped; None for all.

    Raises:
        TransientError: Airflow did not say.
    """
    from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    dag_id, run_id = run.split("/", 1)
    asked = GetTaskStates(dag_id=dag_id, run_ids=[run_id], task_ids=None if tasks is None else list(tasks))
    answer = await SUPERVISOR_COMMS.asend(asked)
    if not isinstance(answer, TaskStatesResult):
        raise TransientError(f"Airflow did not say how the tasks of the run ended: {answer}.")
    return dict(answer.task_states.get(run_id, {}))
