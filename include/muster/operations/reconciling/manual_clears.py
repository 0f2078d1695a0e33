"""Which steps were cleared in Airflow by hand: the log says only that some were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.events.lifecycle import Execution
from muster.events.model import Event
from muster.events.state import RunState
from muster.execution.task_keys import TaskKey, task_of
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.operations.redoing import slot_of

UNTOUCHED = frozenset({"success", "skipped"})
"""Airflow's states of a task that has ended as it should: cleared, it would have one of them only after it has left
something in the log."""


def left_by_hand(
    definition: Definition,
    state: RunState,
    events: Sequence[Event],
    execution: Execution,
    tasks: Mapping[str, str | None],
) -> frozenset[str] | None:
    """The steps that were not cleared; None when some items of a list were and others not."""
    left = set()
    known = [(task_of(definition, key), task_state) for key, task_state in tasks.items()]
    for step in definition.steps:
        touched = [event for event in events if _is_touched(event, step, execution.epoch)]
        own = [(task, task_state) for task, task_state in known if task is not None and _is_part(task, step)]
        if not touched and all(task_state in UNTOUCHED for _, task_state in own):
            left.add(step.id)
        elif not _is_done_whole(definition, state, step, touched, own):
            return None
    return frozenset(left)


def _is_touched(event: Event, step: ResolvedStep, epoch: int) -> bool:
    return (event.step, event.epoch) == (step.id, epoch)


def _is_done_whole(
    definition: Definition,
    state: RunState,
    step: ResolvedStep,
    touched: Sequence[Event],
    own: Sequence[tuple[TaskKey, str | None]],
) -> bool:
    """True when nothing of a step that was cleared was left out."""
    if not step.is_mapped:
        return True
    positions = {event.index for event in touched}
    known = {index for index in state.step(step.id).indices if index in positions}
    begun = {slot_of(definition, state, step.id, index) for index in known}
    instances = [(task.slot, task_state) for task, task_state in own if task.slot is not None]
    return all(slot in begun or task_state not in UNTOUCHED for slot, task_state in instances)


def _is_part(task: TaskKey, step: ResolvedStep) -> bool:
    """True for the tasks that lay a step out or perform it."""
    return task.step.id == step.id and task.role != "undoes"
