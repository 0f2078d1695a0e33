"""The task group that undoes a run: one task for each step that can be undone, in reverse order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import TaskGroup

from muster.language.sagas import undone_after
from muster_airflow.operators.steps import UndoStep, UnwindRun
from muster_airflow.reference import BEGIN, UNWIND

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    from muster.language.definition import Definition


def add_unwinding(definition: Definition, leaves: Sequence[BaseOperator | MappedOperator]) -> list[BaseOperator]:
    """Add the group to the Dag in context, after all else; the tasks it ends with, none when nothing can be undone.

    In a run that succeeds only the first of them is started. It is skipped, and Airflow skips the others with it.
    """
    if not any(step.can_be_undone or step.irreversible for step in definition.steps):
        return []
    with TaskGroup(UNWIND, tooltip="Undoes what the run did, when it cannot be finished"):
        begin = UnwindRun(task_id=BEGIN, task_display_name="unwind", trigger_rule="all_done")
        begin.set_upstream(list(leaves))
        tasks: dict[str, BaseOperator] = {}
        waits = undone_after(definition)
        for step_id, after in waits.items():
            title = f"Undo: {definition.step(step_id).title}"
            # By this rule Airflow skips them all with `begin`, without starting one. Where `begin` succeeded, a
            # compensation that has nothing to do is skipped, and those after it are performed all the same.
            tasks[step_id] = UndoStep(
                task_id=step_id, task_display_name=title, trigger_rule="none_failed_min_one_success"
            )
            tasks[step_id].set_upstream([begin, *(tasks[name] for name in after)])
    awaited = {name for after in waits.values() for name in after}
    return [task for name, task in tasks.items() if name not in awaited] or [begin]
