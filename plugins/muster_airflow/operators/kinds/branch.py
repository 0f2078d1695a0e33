"""A choice between ways as a task."""

from __future__ import annotations

from muster_airflow.operators.base import StepTask
from muster_airflow.operators.steps import AsyncStep


class BranchStep(AsyncStep):
    """A choice between ways."""

    custom_operator_name, ui_color = "branch", "#e0f2fe"


TASK = StepTask.by_lane({"async": BranchStep})
