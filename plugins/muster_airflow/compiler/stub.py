"""What stands in for an automation that is not valid, where no import error of its own can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import DAG

if TYPE_CHECKING:
    from muster.language.problems import Problem


def build_stub(name: str, problems: Sequence[Problem]) -> DAG:
    """A Dag without tasks or schedule that says what is wrong with automation `name`."""
    text = "\n\n".join(str(problem) for problem in problems)
    return DAG(
        dag_id=name,
        schedule=None,
        description=f"NOT VALID: {problems[0].message}",
        doc_md=f"This automation is not valid and cannot run.\n\n```\n{text}\n```",
        tags=["muster", "not valid"],
        is_paused_upon_creation=True,
    )
