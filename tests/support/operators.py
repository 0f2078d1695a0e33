"""Airflow operators that tests use as steps, and the context of a task process that executes one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred

executed: list[str] = []
"""What was done outside, in this process."""


def context_of(run: str, step: str, slot: int | None = None, *, try_number: int = 1, max_tries: int = 0) -> Any:
    """What Airflow gives an operator that it executes."""
    dag_id, _, run_id = run.partition("/")
    ti = SimpleNamespace(
        dag_id=dag_id,
        run_id=run_id,
        task_id=step,
        map_index=-1 if slot is None else slot,
        try_number=try_number,
        max_tries=max_tries,
        bundle_instance=None,
    )
    return {"ti": ti, "dag_run": SimpleNamespace(start_date=datetime.now(UTC), logical_date=None)}


class Submits(BaseOperator):
    """Hands a job to another system, and waits for its end in the triggerer."""

    def execute(self, context: Any) -> None:
        """Hand it over."""
        executed.append("submitted")
        raise TaskDeferred(trigger=TimeDeltaTrigger(timedelta(hours=3)), method_name="done")

    def done(self, context: Any, event: Any = None) -> str:
        """Take up what came of it."""
        return "done"
