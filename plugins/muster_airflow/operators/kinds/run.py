"""A run of another automation as a step: started by a short task process, awaited in the triggerer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from muster.errors import PermanentError
from muster.execution import Outcome
from muster_airflow.egress import leaves, push
from muster_airflow.operators.base import MusterOperator, StepTask
from muster_airflow.operators.elsewhere import Elsewhere
from muster_airflow.reference import CHILD
from muster_airflow.starting import is_paused, is_there, start_run
from muster_airflow.storable import storable
from muster_airflow.triggers.children import ChildTrigger

if TYPE_CHECKING:
    from muster.runs import Child


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
        """Fail as the log says that the step failed; wait on while the log holds no ending."""
        return _start_and_wait(context)


def _start_and_wait(context: Context) -> Outcome:
    """Have the child run started, and wait for it in the triggerer; returns the step's outcome if it has ended.

    Raises:
        TaskDeferred: the child run goes on; the triggerer waits for it.
    """
    from muster.runs import ask_for, settle

    log = Elsewhere(context)
    work_item = log.load_begun()
    if isinstance(work_item, Outcome):
        return work_item
    try:
        # `child.requested` is in the log before Airflow is asked. A process that dies in between asks for the same run
        # again, because the child's id follows from the parent's run, the step, the item and the execution.
        child = log.ask(partial(ask_for, log.services, work_item))
        _start(child)
    except PermanentError as error:
        return log.told(work_item, log.ask(partial(settle, log.services, work_item, error)))
    push(context, CHILD, child.run)
    raise TaskDeferred(trigger=ChildTrigger.of(work_item.ref), method_name="execute_complete")


def _start(child: Child) -> None:
    """Have Airflow start the child run; a run of its name is the child, started by an earlier attempt.

    Raises:
        PermanentError: the run can never be started; the step fails.
        TransientError: Airflow did not start it now; the task is tried again.
    """
    from airflow.sdk.execution_time.comms import TriggerDagRun

    name = child.automation
    # Only a new child is refused: one that was started before its Dag was paused is waited for.
    if is_paused(name) and not is_there(name, child.dag_run_id):
        raise PermanentError(f"{name} is paused in Airflow, so a run of it would not begin.", remedy="Unpause it.")
    conf = child.conf
    # Refused, not replaced: the run would be given other inputs than it is asked for with, which nobody would see.
    if storable(conf) != conf:
        raise PermanentError(
            f"{name} is given NUL or half a surrogate pair in a text, which Airflow's database cannot store.",
            remedy="Take it out of what `with` gives, in the skill that it comes from.",
        )
    start_run(TriggerDagRun(dag_id=name, run_id=child.dag_run_id, conf=conf, reset_dag_run=False))


TASK = StepTask.by_lane({"worker": RunStep})
