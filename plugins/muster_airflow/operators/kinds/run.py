"""A run of another automation as a step: started by a short task process, awaited in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from muster.errors import PermanentError
from muster.execution.outcome import Outcome
from muster_airflow.egress import concealed, leaves, push
from muster_airflow.operators.base import MusterOperator, StepTask
from muster_airflow.reference import CHILD, work_ref
from muster_airflow.starting import is_paused, is_there, start_run
from muster_airflow.triggers.children import ChildTrigger

if TYPE_CHECKING:
    from muster.execution.children import Child
    from muster.execution.piece import Piece
    from muster.execution.references import WorkRef
    from muster.execution.services import Services


class RunStep(MusterOperator):
    """Starts a run of another automation, once, and waits for its end without a worker.

    Only a task process may start a run; the triggerer may not.
    """

    custom_operator_name = "run"
    ui_color = "#cffafe"

    def __init__(self, *, slot: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slot = slot

    @leaves
    def execute(self, context: Context) -> Any:
        """Ask for the run, have Airflow start it, and leave the wait to the triggerer."""
        return _start_and_wait(context)

    @leaves
    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Fail as the log says the step has; while it says nothing, wait on."""
        return _start_and_wait(context)


def _start_and_wait(context: Context) -> Outcome:
    """How the step ended, where it has.

    Raises:
        TaskDeferred: its run goes on; the triggerer waits for it.
    """
    from muster_airflow.services import run, services_in_worker

    services = services_in_worker(context)
    asked = run(services, _asked(services, context))
    if isinstance(asked, Outcome):
        return asked
    ref, piece, child = asked
    try:
        _start(child)
    except PermanentError as error:
        run(services, _failed(services, piece, error))
        raise
    push(context, CHILD, child.run)
    raise TaskDeferred(trigger=ChildTrigger.of(ref), method_name="execute_complete")


async def _asked(services: Services, context: Context) -> Outcome | tuple[WorkRef, Piece, Child]:
    from muster.execution.children import ask_for, settle
    from muster.execution.performing import begin

    ref = await work_ref(services, context["ti"], context["dag_run"], lane="worker")
    piece = await begin(services, ref)
    if isinstance(piece, Outcome):
        return await concealed(services, ref.run, ref.step, piece)
    try:
        return ref, piece, await ask_for(services, piece)
    except PermanentError as error:
        return await concealed(services, ref.run, ref.step, await settle(services, piece, error))


async def _failed(services: Services, piece: Piece, error: PermanentError) -> Outcome:
    from muster.execution.children import settle

    return await settle(services, piece, error)


def _start(child: Child) -> None:
    """Have Airflow start the run; one that is there already is the one.

    Raises:
        PermanentError: it cannot be started.
        TransientError: Airflow did not start it now.
    """
    from airflow.sdk.execution_time.comms import TriggerDagRun

    name = child.automation
    # One that was started before its Dag was paused is waited for.
    if is_paused(name) and not is_there(name, child.dag_run_id):
        raise PermanentError(f"{name} is paused in Airflow, so a run of it would not begin.", remedy="Unpause it.")
    start_run(TriggerDagRun(dag_id=name, run_id=child.dag_run_id, conf=child.conf, reset_dag_run=False))


TASK = StepTask.by_lane({"worker": RunStep})
