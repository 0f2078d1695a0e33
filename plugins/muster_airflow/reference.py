"""What an Airflow task instance stands for in Muster's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from muster.execution import ITEMS_SUFFIX, UNDOES, WorkRef, run_id

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from muster.execution import Services

RECONCILER = "muster_reconciler"
"""The Dag that looks after all runs."""

QUESTION = "HumanStep"
"""The operator that asks people, as Airflow names it."""
CHILD = "muster_child"
"""The key under which a task's XCom names the run it has asked for."""

OPEN, CLOSE = "open", "close"
"""The tasks of every automation that are none of its steps."""
UNWIND, BEGIN = "unwind", "begin"
"""The group of tasks that undo a run, and the first of them; each of the others has the name of the step it undoes."""


def beside(automation: str, trigger: str) -> str:
    """The id of the Dag that a kind of trigger brings beside the automation's own."""
    return f"{automation}.{trigger}"


def automation_of(dag_id: str) -> str:
    """The automation that a Dag is of, or stands beside; another Dag's own id."""
    from muster.language.triggers import TRIGGERS

    name, _, trigger = dag_id.rpartition(".")
    return name if trigger in TRIGGERS else dag_id


def step_of(task_id: str) -> str | None:
    """The step that a task performs, lays out or undoes; None for the ends of a run."""
    if task_id in (OPEN, CLOSE, UNDOES + BEGIN):
        return None
    return task_id.removeprefix(UNDOES).removesuffix(ITEMS_SUFFIX)


def question_page(ref: WorkRef) -> str | None:
    """Where people answer the question of a task; None where nobody has said how Airflow is reached."""
    from airflow.sdk.configuration import conf

    if not (base := conf.get("api", "base_url", fallback="")):
        return None
    dag_id, run_id = (quote(part, safe="") for part in ref.run.split("/", 1))
    mapped = "" if ref.slot is None else f"/mapped/{ref.slot}"
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{run_id}/tasks/{ref.step}{mapped}/required_actions"


async def work_ref(services: Services, ti: RuntimeTaskInstanceProtocol, dag_run: Any, *, lane: str) -> WorkRef:
    """The work item that `ti` was started for."""
    from muster.execution import epoch_of

    run = run_id(ti.dag_id, ti.run_id)
    step, epoch = step_of(ti.task_id), await epoch_of(services, run, dag_run.start_date)
    mapped = ti.map_index is not None and ti.map_index >= 0
    return WorkRef(
        run=run,
        step=step or ti.task_id,
        slot=ti.map_index if mapped else None,
        lane=lane,
        attempt=ti.try_number,
        epoch=epoch.number,
        # The step's own task is preserved, not the task that undoes it.
        is_preserved=step in epoch.preserved_steps and not ti.task_id.startswith(UNDOES),
    )
