"""What stands in for an automation that is not valid, where no import error of its own can be shown."""

from __future__ import annotations

from airflow.sdk import DAG


def build_stub(name: str, problem: str) -> DAG:
    """A Dag without tasks or schedule that says what is wrong with automation `name`."""
    return DAG(
        dag_id=name,
        schedule=None,
        description=f"NOT VALID: {problem.splitlines()[0]}",
        doc_md=f"This automation is not valid and cannot run.\n\n```\n{problem}\n```",
        tags=["muster", "not valid"],
        is_paused_upon_creation=True,
    )
