"""What an Airflow task stands for, by the key under which Airflow reports its state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    # Commands ask only which tasks end a run, and the language is heavy.
    from muster.events.state import RunState
    from muster.events.work import WorkState
    from muster.language.definition import Definition
    from muster.language.resolved_step import ResolvedStep

OPENS = "open"
"""The first task of every run, which opens it in the log."""
ITEMS_SUFFIX = ".items"
"""Ends the id of the task that lays out a fan-out; a step's id has no dot."""
UNDOES = "unwind."
"""Begins the id of the tasks that undo a run."""
BEGINS_TO_UNDO = f"{UNDOES}begin"
"""The task that decides whether a run is undone, before those that undo it."""


def ends(task_id: str) -> bool:
    """True for the tasks that undo a run and close it."""
    return task_id == "close" or task_id.startswith(UNDOES)


class TaskKey(NamedTuple):
    """The step, slot and role of one task instance."""

    step: ResolvedStep
    slot: int | None
    """The map index; None for a task that is not mapped."""
    role: Literal["performs", "lays out", "undoes"]


def task_of(definition: Definition, key: str) -> TaskKey | None:
    """The task behind a key (`task`, or `task_<map index>`); None for the first and the last task of a run."""
    # Airflow joins a task id and a map index with `_`, which step ids may contain: only the definition tells step `a_1`
    # from item 1 of step `a`. If both could be meant, `muster lint` refuses the names.
    undoes = key.startswith(UNDOES)
    name = key.removeprefix(UNDOES)
    for step in definition.steps:
        if name == step.id:
            return TaskKey(step, None, "undoes" if undoes else "performs")
        if name == step.id + ITEMS_SUFFIX:
            return TaskKey(step, None, "lays out")
    for step in definition.steps:
        if step.is_mapped and (slot := re.fullmatch(rf"{re.escape(step.id)}_(\d+)", name)):
            return TaskKey(step, int(slot[1]), "undoes" if undoes else "performs")
    return None


def positions_of(state: RunState, task: TaskKey) -> Sequence[int | None]:
    """The positions of the work items of one task instance; None stands for a step without items."""
    if task.step.each is None:
        return [None]
    indices = state.step(task.step.id).indices
    return indices if task.slot is None else task.step.of_slot(indices, task.slot)


def works_of(state: RunState, task: TaskKey) -> list[WorkState]:
    """The state of each work item of one task instance, whether or not it has begun."""
    result = state.step(task.step.id)
    return [result.work(index) for index in positions_of(state, task)]
