"""A team as a mapped task: an instance for each of its members."""

from __future__ import annotations

from muster_airflow.operators.base import StepTask
from muster_airflow.operators.steps import AsyncStep, WorkerStep


class TeamStep(AsyncStep):
    """A member of a team in the triggerer."""

    custom_operator_name, ui_color = "team", "#ddd6fe"


class WorkerTeamStep(WorkerStep):
    """A member of a team in a task process."""

    custom_operator_name, ui_color = "team", "#ddd6fe"


TASK = StepTask.by_lane({"async": TeamStep, "worker": WorkerTeamStep})
