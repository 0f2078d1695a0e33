"""`echo` as a task."""

from __future__ import annotations

from muster_airflow.operators.base import StepTask
from muster_airflow.operators.steps import AsyncStep, WorkerStep


class EchoStep(WorkerStep):
    """Says something again in a task process."""

    custom_operator_name, ui_color = "echo", "#fce7f3"


class AsyncEchoStep(AsyncStep):
    """Says something again in the triggerer."""

    custom_operator_name, ui_color = "echo", "#fce7f3"


TASK = StepTask.by_lane({"worker": EchoStep, "async": AsyncEchoStep})
