"""Links from a task in Airflow's UI to its events, and to the automation its run was made from.

They belong to the plugin and not to the operators: an operator's own links are written by the worker that
performs it, and a task in the triggerer has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from muster_airflow.operators.human import HumanStep
from muster_airflow.operators.opening import OpenRun
from muster_airflow.operators.steps import (
    AgentStep,
    AsyncSkillStep,
    BranchStep,
    CloseRun,
    ItemsStep,
    NotifyStep,
    SkillStep,
    WorkerAgentStep,
)
from muster_airflow.reference import ITEMS_SUFFIX

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

STEPS: list[type[Any]] = [
    AgentStep,
    AsyncSkillStep,
    BranchStep,
    CloseRun,
    HumanStep,
    ItemsStep,
    NotifyStep,
    OpenRun,
    SkillStep,
    WorkerAgentStep,
]
"""Every class whose tasks have the links."""


def run_url(dag_id: str, run_id: str, query: str = "") -> str:
    """The run's page."""
    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}/muster/runs/{quote(dag_id, safe='')}/{quote(run_id, safe='')}{query}"


class EventsLink(BaseOperatorLink):
    """The events of one task."""

    operators: ClassVar[list[type[Any]]] = STEPS
    name = "Events"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The run's page, with the task's step picked out."""
        step = ti_key.task_id.removesuffix(ITEMS_SUFFIX)
        own = step not in ("open", "close")
        return run_url(ti_key.dag_id, ti_key.run_id, f"?step={quote(step, safe='')}" if own else "")


class AutomationLink(BaseOperatorLink):
    """The automation that the task's run was made from."""

    operators: ClassVar[list[type[Any]]] = STEPS
    name = "Automation"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The place on the run's page where its definition stands."""
        return run_url(ti_key.dag_id, ti_key.run_id, "#definition")
