"""Awaits the end of a run that a step has asked for, in the triggerer."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from muster.errors import TransientError
from muster.execution import Outcome, WorkRef
from muster_airflow.triggers.work import WorkTrigger

if TYPE_CHECKING:
    from muster.execution import Services


class ChildTrigger(WorkTrigger):
    """Waits for the run of one work item, and ends the task.

    Airflow does not give the triggerer the Dag of a task that has deferred itself, so the worker passes the reference
    of the work item as arguments.
    """

    def __init__(self, **work: Any) -> None:
        super().__init__()
        self._ref = WorkRef(**work)

    @classmethod
    def of(cls, ref: WorkRef) -> ChildTrigger:
        """The trigger that waits for the work item of `ref`."""
        return cls(**asdict(ref))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as the triggerer stores them."""
        return f"{type(self).__module__}.{type(self).__qualname__}", asdict(self._ref)

    def _failed(self) -> TriggerEvent:
        # Not `TaskFailedEvent`: the task has retries, for the death of its worker process, so Airflow would count the
        # failure as a try and repeat it. The resumed task finds the outcome in the log and fails for good.
        return TriggerEvent("failed")

    async def _once(self) -> Outcome:
        from muster_airflow.services import services_in_triggerer

        services = await services_in_triggerer(self._ref.run)
        return await self._told(services, self._ref, await self.work(services, self._ref))

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Wait until the child run has ended, and write the ending of the work item; returns its outcome."""
        from muster.runs import follow

        return await follow(services, ref, airflow_state)


async def airflow_state(dag_id: str, run_id: str) -> str | None:
    """Airflow's state of a run (`queued`, `running`, `success`, `failed`); None when Airflow does not know the run.

    Raises:
        TransientError: Airflow did not say; the caller asks again.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import DagRunStateResult, GetDagRunState
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        answer = await SUPERVISOR_COMMS.asend(GetDagRunState(dag_id=dag_id, run_id=run_id))
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == 404:
            return None
        raise TransientError(f"Airflow did not say how {dag_id}/{run_id} is: {error.error.error}.") from error
    if not isinstance(answer, DagRunStateResult):
        raise TransientError(f"Airflow did not say how {dag_id}/{run_id} is: {answer}.")
    return str(getattr(answer.state, "value", answer.state))
