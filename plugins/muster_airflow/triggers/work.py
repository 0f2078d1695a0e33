"""The async lane: a step's work as a coroutine in the triggerer, started without a worker."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from muster.errors import PermanentError, TransientError
from muster.execution import Outcome, run_id
from muster_airflow.egress import failed_event, note, push_from_trigger, text_of, withhold_log_lines
from muster_airflow.reference import work_ref

if TYPE_CHECKING:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from muster.execution import Services, WorkRef

RETRY_DELAYS = (1, 2, 5, 10, 20, 30, 60, 60, 60, 60)
"""Seconds between attempts while Muster's database or Airflow's API cannot be reached: five minutes in all.

Airflow would restart the task as well, but it cannot tell such an outage from a step that failed
for good, and it must not repeat the latter.
"""


class WorkTrigger(BaseTrigger):
    """Runs one task instance's work and ends the task itself.

    It takes no arguments: which step and which item follow from the task instance, so that a mapped
    task needs nothing rendered.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as the triggerer stores them."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    @abstractmethod
    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Do the work."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the task."""
        withhold_log_lines()
        try:
            outcome = await self._patiently()
        except Exception as error:
            yield failed_event(error, about_somebody=await self._is_about_somebody())
            return
        if outcome.status == "succeeded":
            yield TaskSuccessEvent()
        elif outcome.status == "skipped":
            note("info", "skipped", reason=outcome.reason)
            yield TaskSkippedEvent()
        else:
            note("error", "failed", reason=outcome.reason)
            yield self._failed()

    def _failed(self) -> TriggerEvent:
        """The event that ends a task whose work failed for good."""
        return TaskFailedEvent()

    async def _patiently(self) -> Outcome:
        for pause in (*RETRY_DELAYS, None):
            try:
                return await self._once()
            except PermanentError as error:
                about_somebody = await self._is_about_somebody()
                return Outcome(status="failed", reason=text_of(error, about_somebody=about_somebody), structural="all")
            except Exception as error:
                if pause is None:
                    raise
                text = text_of(error, about_somebody=await self._is_about_somebody())
                note("warning", "trying again", error=text, seconds=pause)
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _once(self) -> Outcome:
        from muster_airflow.services import services_in_triggerer

        ti = self._running
        services = await services_in_triggerer(run_id(ti.dag_id, ti.run_id))
        ref = await work_ref(services, ti, ti.get_template_context()["dag_run"], lane="async")
        return await self._told(services, ref, await self.work(services, ref))

    async def _told(self, services: Services, ref: WorkRef, outcome: Outcome) -> Outcome:
        """The outcome as Airflow may know it, shown."""
        from muster.execution import concealed

        outcome = await concealed(services, ref.run, ref.step, outcome)
        await self._show(outcome)
        return outcome

    async def _is_about_somebody(self) -> bool:
        """True also when nobody can say: what cannot be found out is not told."""
        from muster_airflow.services import services_in_triggerer

        try:
            ti = self._running
            return await (await services_in_triggerer()).log.asubject(run_id(ti.dag_id, ti.run_id)) is not None
        except Exception:
            return True

    async def _show(self, outcome: Outcome) -> None:
        if outcome.output is not None:
            await push_from_trigger(self._running, outcome.output)

    @property
    def _running(self) -> RuntimeTaskInstance:
        """The task instance: Airflow gives every trigger that a task starts from the worker's kind."""
        return cast("RuntimeTaskInstance", self.task_instance)


class StepTrigger(WorkTrigger):
    """A step, an item of a fan-out, or a pack of items."""

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Perform it, and begin what follows it: Airflow takes seconds to come to that."""
        from muster.execution import perform
        from muster_airflow.triggers.ahead import running_ahead

        if await running_ahead.join(services, ref):
            note("info", "performed before Airflow came to it; what it logged is in the triggerer's log")
        outcome = await perform(services, ref)
        running_ahead.go_on(services, ref, outcome)
        return outcome


class ItemsTrigger(WorkTrigger):
    """Lays out a fan-out, so that Airflow knows how many task instances to make."""

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Evaluate `each`; the output is the list of slots that Airflow maps over."""
        from muster.execution import expand

        fan_out = await expand(services, ref)
        return Outcome(status="succeeded", output=list(range(fan_out.slots())), structural="all")

    async def _show(self, outcome: Outcome) -> None:
        await push_from_trigger(self._running, outcome.output, mapped_length=len(outcome.output))


class UndoTrigger(WorkTrigger):
    """Undoes a step."""

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Run its compensation."""
        from muster.saga.unwinding import compensate

        return await compensate(services, ref)


class _EndTrigger(WorkTrigger):
    """Judges the run, with Airflow's word on tasks that died silently."""

    async def _task_states(self) -> dict[str, str | None]:
        from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        ti = self._running
        answer = await SUPERVISOR_COMMS.asend(GetTaskStates(dag_id=ti.dag_id, run_ids=[ti.run_id]))
        if not isinstance(answer, TaskStatesResult):
            raise TransientError(f"Airflow did not say how the tasks of the run ended: {answer}.")
        return dict(answer.task_states.get(ti.run_id, {}))


class UnwindTrigger(_EndTrigger):
    """Decides whether what the run did is undone."""

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Write down what is to be undone; there is nothing more to do when that is nothing."""
        from muster.saga.unwinding import begin

        return await begin(services, ref, await self._task_states())


class CloseTrigger(_EndTrigger):
    """Closes the run."""

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Decide how the run ended."""
        from muster.saga.closing import close_run

        return await close_run(services, ref, await self._task_states())
