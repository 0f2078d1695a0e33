"""Which steps were cleared in Airflow by hand: the log says only that some were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.events.model import Event
from muster.events.state import RunState
from muster.execution.again import Execution
from muster.execution.verdict import belongs
from muster.language.definition import Definition, ResolvedStep
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
    for step in definition.steps:
        touched = [event for event in events if _is_touched(event, step, execution.epoch)]
        own = {task: task_state for task, task_state in tasks.items() if belongs(task, step.id)}
        if not touched and all(task_state in UNTOUCHED for task_state in own.values()):
            left.add(step.id)
        elif not _is_done_whole(definition, state, step, touched, own):
            return None
    return frozenset(left)


def _is_touched(event: Event, step: ResolvedStep, epoch: int) -> bool:
    return bool(event.data.get("step") == step.id and event.data.get("epoch") == epoch)


def _is_done_whole(
    definition: Definition,
    state: RunState,
    step: ResolvedStep,
    touched: Sequence[Event],
    own: Mapping[str, str | None],
) -> bool:
    """True when nothing of a step that was cleared was left out."""
    if step.each is None or step.pack == "all":
        return True
    positions = {event.data["index"] for event in touched if event.data.get("index") is not None}
    known = positions.intersection(state.step(step.id).indices)
    begun = {f"{step.id}_{slot_of(definition, state, step.id, index)}" for index in known}
    instances = own.keys() - {step.id, f"{step.id}.items"}
    return all(task in begun or own[task] not in UNTOUCHED for task in instances)
