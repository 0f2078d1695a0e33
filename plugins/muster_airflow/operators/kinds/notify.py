"""A notification as a task."""

from __future__ import annotations

from muster_airflow.operators.base import StepTask
from muster_airflow.operators.steps import AsyncStep, WorkerStep


class NotifyStep(AsyncStep):
    """A notification."""

    custom_operator_name, ui_color = "notify", "#fef9c3"


class WorkerNotifyStep(WorkerStep):
    """A notification from a task process."""

    custom_operator_name, ui_color = "notify", "#fef9c3"


TASK = StepTask.by_lane({"async": NotifyStep, "worker": WorkerNotifyStep})
