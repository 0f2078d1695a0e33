"""What stands in for an automation that is not valid, where no import error of its own can be shown."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from muster.language.problems import NOT_VALID
from muster_airflow.compiler.shown import shown

TASK = "muster.not_valid"
"""Its only task: no step's id has a dot, so that a run which is under way has none of this name yet."""


class NotValid(BaseOperator):
    """Fails the run and says what is wrong: a run of which no step is performed has not succeeded."""

    custom_operator_name = "not valid"
    ui_color = "#fecaca"

    def __init__(self, *, problem: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.problem = problem

    def execute(self, context: Context) -> None:
        """Fail for good."""
        raise AirflowFailException(f"This automation is not valid and cannot run.\n\n{self.problem}")


def build_stub(name: str, problem: str, *, paused: bool | None = None) -> DAG:
    """A Dag without schedule in place of automation `name`: its description and its only task say what is wrong.

    Its task fails every run that begins, or had begun in a folder without versions, before the automation is mended.

    Args:
        paused: As the Dag that it stands for is created: Airflow keeps to that when the Dag is mended.
    """
    problem = shown(problem)
    dag = DAG(
        dag_id=name,
        schedule=None,
        description=NOT_VALID + problem.splitlines()[0],
        doc_md=f"This automation is not valid and cannot run.\n\n```\n{problem}\n```",
        tags=["muster", "not valid"],
        is_paused_upon_creation=paused,
        auto_register=False,
    )
    with dag:
        NotValid(task_id=TASK, problem=problem)
    return dag
