"""The tasks of a Dag: one for each step, one more for each fan-out, and the two ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator

from muster.execution import ITEMS_SUFFIX
from muster_airflow.compiler.shown import shown
from muster_airflow.compiler.unwinding import add_unwinding
from muster_airflow.operators.base import restart_policy
from muster_airflow.operators.kinds import task_of
from muster_airflow.operators.opening import OpenRun
from muster_airflow.operators.steps import CloseRun, ItemsStep
from muster_airflow.reference import CLOSE, OPEN

if TYPE_CHECKING:
    from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep

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
    last.set_upstream([*(leaves or [first]), *add_unwinding(definition, leaves or [first])])


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
