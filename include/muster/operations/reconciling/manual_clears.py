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
"""Airflow's states of a task that ended well. A cleared task gets one of them only after it has written an event."""


def left_by_hand(
    definition: Definition,
    state: RunState,
    events: Sequence[Event],
    execution: Execution,
    tasks: Mapping[str, str | None],
) -> frozenset[str] | None:
    """The ids of the steps that nobody cleared; None when only some items of a list were cleared."""
    left = set()
    known = [(task_of(definition, key), task_state) for key, task_state in tasks.items()]
    for step in definition.steps:
        touched = [event for event in events if _is_touched(event, step, execution.epoch)]
        own = [(task, task_state) for task, task_state in known if task is not None and _is_part(task, step)]
        # A step without an event in this execution may have been cleared all the same: its process died before the
        # first event. Its task has not ended well in Airflow then, so it counts as cleared.
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
    """True when a step that was cleared was cleared as a whole."""
    if not step.is_mapped:
        return True
    positions = {event.index for event in touched}
    known = {index for index in state.step(step.id).indices if index in positions}
    begun = {slot_of(definition, state, step.id, index) for index in known}
    instances = [(task.slot, task_state) for task, task_state in own if task.slot is not None]
    return all(slot in begun or task_state not in UNTOUCHED for slot, task_state in instances)


def _is_part(task: TaskKey, step: ResolvedStep) -> bool:
    """True when the task lays the step out or performs it."""
    return task.step.id == step.id and task.role != "undoes"
