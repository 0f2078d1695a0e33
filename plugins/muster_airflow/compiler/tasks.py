"""The tasks of a Dag: one for each step, one more for each fan-out, those that undo the run, and the two ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TaskGroup
from airflow.sdk.definitions.mappedoperator import MappedOperator

from muster.execution import ITEMS_SUFFIX
from muster.language.resolved_step import ResolvedStep
from muster.language.sagas import undone_after
from muster_airflow.compiler.shown import shown
from muster_airflow.operators.base import restart_policy
from muster_airflow.operators.kinds import task_of
from muster_airflow.operators.opening import OpenRun
from muster_airflow.operators.steps import CloseRun, ItemsStep, UndoStep, UnwindRun
from muster_airflow.reference import BEGIN, CLOSE, OPEN, UNWIND

if TYPE_CHECKING:
    from muster.language.definition import Definition

Task = BaseOperator | MappedOperator


def add_tasks(definition: Definition) -> None:
    """Add the tasks of `definition` to the Dag in context, wired as its steps say."""
    first = OpenRun(task_id=OPEN, definition=definition, **restart_policy())
    # Performed whatever became of the other tasks: without it the run would end in Airflow and stay open in the log.
    last = CloseRun(task_id=CLOSE, trigger_rule="all_done")
    tasks: dict[str, Task] = {}
    for step in definition.steps:
        entry, tasks[step.id] = _add(definition, step)
        entry.set_upstream([tasks[name] for name in step.after] or [first])
    leaves = [task for name, task in tasks.items() if not _has_successor(definition, name)]
    last.set_upstream([*(leaves or [first]), *_add_unwinding(definition, leaves or [first])])


def _add(definition: Definition, step: ResolvedStep) -> tuple[Task, Task]:
    """The task that comes first for a step and the one that does its work; often the same."""
    operator, arguments = task_of(step.kind).operator(step), _arguments(definition, step)
    if not step.is_mapped:
        task = operator(task_id=step.id, **arguments)
        return task, task
    items = ItemsStep(
        task_id=step.id + ITEMS_SUFFIX,
        task_display_name=f"{shown(step.title)}: items",
        trigger_rule=arguments["trigger_rule"],
    )
    work = operator.partial(task_id=step.id, **{**arguments, "trigger_rule": "none_failed"}).expand(slot=items.output)
    return items, work


def _arguments(definition: Definition, step: ResolvedStep) -> dict[str, Any]:
    """What Airflow is told of a step; absent keys keep Airflow's defaults."""
    arguments: dict[str, Any] = {
        "task_display_name": shown(step.title),
        "trigger_rule": _trigger_rule(definition, step),
    }
    if step.priority is not None:
        arguments |= {"priority_weight": step.priority, "weight_rule": "absolute"}
    if step.pool is not None:
        arguments["pool"] = step.pool
    return arguments | task_of(step.kind).retries(step)


def _trigger_rule(definition: Definition, step: ResolvedStep) -> str:
    """`all_done` after a fan-out, which may go on although Airflow counts an item as failed: then the log decides."""
    fanned_out = any(definition.step(name).each is not None for name in step.after)
    return "all_done" if fanned_out else "none_failed"


def _has_successor(definition: Definition, name: str) -> bool:
    return any(name in step.after for step in definition.steps)


def _add_unwinding(definition: Definition, leaves: Sequence[Task]) -> list[BaseOperator]:
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
