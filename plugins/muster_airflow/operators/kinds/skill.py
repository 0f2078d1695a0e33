"""A skill as a task."""

from __future__ import annotations

from muster_airflow.operators.base import StepTask
from muster_airflow.operators.steps import AsyncStep, WorkerStep


class SkillStep(WorkerStep):
    """A skill in a task process."""

    custom_operator_name, ui_color = "skill", "#dbeafe"


class AsyncSkillStep(AsyncStep):
    """A skill in the triggerer."""

    custom_operator_name, ui_color = "skill", "#dbeafe"


TASK = StepTask.by_lane({"worker": SkillStep, "async": AsyncSkillStep})
