"""Links from a task in Airflow's UI to its events, and to the automation its run was made from.

They belong to the plugin and not to the operators: an operator's own links are written by the worker that
performs it, and a task in the triggerer has none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperator, BaseOperatorLink

from muster_airflow.operators import opening, steps
from muster_airflow.operators.kinds import kinds
from muster_airflow.operators.kinds.run import RunStep
from muster_airflow.reference import CHILD

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

STEPS: list[type[Any]] = [
    each
    for module in (opening, steps, *(import_module(f"muster_airflow.operators.kinds.{kind}") for kind in kinds()))
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, BaseOperator) and each.__module__ == module.__name__
]
"""Every class whose tasks have the links."""

FRAME = "/plugin/muster-automations"
"""Where Airflow's UI shows a page of this plugin inside its own navigation; the page's path follows."""


def run_url(dag_id: str, run_id: str, **query: str | int) -> str:
    """The run's page, inside Airflow's UI."""
    from airflow.configuration import conf

    # Only the path: the person may have come by another name of the same server.
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    page = f"{base}/muster/runs/{quote(dag_id, safe='')}/{quote(run_id, safe='')}"
    return f"{base}{FRAME}{page}{'?' + urlencode(query) if query else ''}"


class EventsLink(BaseOperatorLink):
    """The events of one task."""

    operators: ClassVar[list[type[Any]]] = STEPS
    name = "Events"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The events of the task's step, or of the items the task took."""
        slot = {"slot": ti_key.map_index} if ti_key.map_index >= 0 else {}
        return run_url(ti_key.dag_id, ti_key.run_id, task=ti_key.task_id, **slot)


class AutomationLink(BaseOperatorLink):
    """The automation that the task's run was made from."""

    operators: ClassVar[list[type[Any]]] = STEPS
    name = "Automation"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The run's page where it shows the automation."""
        return run_url(ti_key.dag_id, ti_key.run_id, show="automation")


class ChildLink(BaseOperatorLink):
    """The run that a task has asked for."""

    operators: ClassVar[list[type[Any]]] = [RunStep]
    name = "Child run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """That run's page; nothing before it was asked for."""
        from airflow.serialization.definitions.operatorlink import XComOperatorLink

        link: Any = XComOperatorLink(self.name, CHILD)
        dag_id, _, run_id = link.get_link(operator, ti_key=ti_key).partition("/")
        return run_url(dag_id, run_id) if run_id else ""
