"""Tasks of steps in both lanes, and the tasks that every run has beside its steps."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context
from airflow.triggers.base import StartTriggerArgs

from muster.execution import Outcome
from muster_airflow.egress import leaves
from muster_airflow.operators.base import MusterOperator
from muster_airflow.reference import work_ref


def in_triggerer(trigger: str) -> StartTriggerArgs:
    """Arguments that make Airflow start a task in the triggerer; the trigger ends it, so nothing resumes."""
    return StartTriggerArgs(trigger_cls=f"muster_airflow.triggers.work.{trigger}", next_method="execute")


class AsyncStep(MusterOperator):
    """A step whose work is a coroutine in the triggerer. No worker process is started for it."""

    start_from_trigger = True
    start_trigger_args = in_triggerer("StepTrigger")

    def __init__(self, *, slot: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slot = slot
        self.start_from_trigger = True
        self.start_trigger_args = type(self).start_trigger_args

    @leaves
    def execute(self, context: Context) -> Any:
        """Do the same work here, for `dag.test()` and other places without a triggerer."""
        return perform_here(context, lane="async")


class WorkerStep(MusterOperator):
    """A step whose work uses CPU and runs in a task process."""

    def __init__(self, *, slot: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slot = slot

    @leaves
    def execute(self, context: Context) -> Any:
        """Perform the step."""
        return perform_here(context, lane="worker")


def perform_here(context: Context, *, lane: str) -> Outcome:
    """Perform the task instance's work in this process; returns its outcome as Airflow may know it."""
    # Imported here, because Dag parsing loads this module and must not pay for what performs a step.
    from muster.execution import concealed, perform
    from muster_airflow.services import run, services_in_worker

    services = services_in_worker(context)

    async def performed() -> Outcome:
        ref = await work_ref(services, context["ti"], context["dag_run"], lane=lane)
        return await concealed(services, ref.run, ref.step, await perform(services, ref))

    return run(services, performed())


class ItemsStep(AsyncStep):
    """Lays out a fan-out."""

    custom_operator_name = "items"
    ui_color = "#f1f5f9"
    start_trigger_args = in_triggerer("ItemsTrigger")


class UnwindRun(AsyncStep):
    """Decides whether the work of the run is undone."""

    custom_operator_name = "unwind"
    ui_color = "#ffedd5"
    start_trigger_args = in_triggerer("UnwindTrigger")


class UndoStep(AsyncStep):
    """The compensation of a step."""

    custom_operator_name = "compensate"
    ui_color = "#ffedd5"
    start_trigger_args = in_triggerer("UndoTrigger")


class CloseRun(AsyncStep):
    """Closes the run: the single leaf."""

    custom_operator_name = "close"
    ui_color = "#e2e8f0"
    start_trigger_args = in_triggerer("CloseTrigger")
