"""An agent as a task."""

from __future__ import annotations

from muster_airflow.operators.base import StepTask
from muster_airflow.operators.steps import AsyncStep, WorkerStep


class AgentStep(AsyncStep):
    """An agent in the triggerer."""

    custom_operator_name, ui_color = "agent", "#ede9fe"


class WorkerAgentStep(WorkerStep):
    """An agent in a task process."""

    custom_operator_name, ui_color = "agent", "#ede9fe"


TASK = StepTask.by_lane({"async": AgentStep, "worker": WorkerAgentStep})
