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

from muster.errors import PermanentError
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

    It takes no arguments, because Airflow does not render them for each instance of a mapped task: the step and the
    item follow from the task instance.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as the triggerer stores them."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    @abstractmethod
    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Do the work of `ref`; returns its outcome, which is in the log by then."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event that ends the task."""
        # First, because a skill may log about a person and Airflow's log files forget nobody.
        withhold_log_lines()
        try:
            outcome = await self._patiently()
        except Exception as error:
            # Yielded, not raised: Airflow hands a trigger that raises to a worker, only for the task to fail there.
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
            # The next attempt would be refused in the same way. The reason becomes the outcome, so that the task ends
            # like a step that failed.
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
        """The outcome as Airflow may know it; its output is pushed as the task's XCom."""
        from muster.execution import concealed

        # Concealed after the log has all of it: Airflow forgets nobody, so of a run about somebody it is told structure
        # only.
        outcome = await concealed(services, ref.run, ref.step, outcome)
        await self._show(outcome)
        return outcome

    async def _is_about_somebody(self) -> bool:
        """True if the run is about somebody, or if that cannot be found out: in doubt Airflow is told no details."""
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
        """Perform the step, then begin the steps after it: Airflow itself takes seconds to come to them."""
        from muster.execution import perform
        from muster_airflow.triggers.ahead import running_ahead

        # This process may have begun the step ahead of Airflow. Wait for that coroutine: a second one beside it would
        # take the work over and perform it twice. `perform` then finds the outcome in the log.
        if await running_ahead.join(services, ref):
            note("info", "performed before Airflow came to it; what it logged is in the triggerer's log")
        outcome = await perform(services, ref)
        # Last: the steps after this one may begin only once its ending is in the log.
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
        # With its length: Airflow makes as many instances of the mapped task as the XCom says.
        await push_from_trigger(self._running, outcome.output, mapped_length=len(outcome.output))


class UndoTrigger(WorkTrigger):
    """Undoes a step."""

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Run the compensation of the step."""
        from muster.saga.unwinding import compensate

        return await compensate(services, ref)


class UnwindTrigger(WorkTrigger):
    """Decides whether the work of the run is undone."""

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Write which steps are to be undone."""
        from muster.saga.unwinding import begin
        from muster_airflow.triggers.task_states import task_states

        # The log alone does not tell of a task that died silently, because that has written no ending.
        return await begin(services, ref, await task_states(ref.run))


class CloseTrigger(WorkTrigger):
    """Closes the run."""

    async def work(self, services: Services, ref: WorkRef) -> Outcome:
        """Decide how the run ended, and write that as the last event of this execution."""
        from muster.saga.closing import close_run
        from muster_airflow.triggers.task_states import task_states

        return await close_run(services, ref, await task_states(ref.run))
