"""How a run went: why it counts as failed, and whether what it did has to be undone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from muster.events.sealing import words
from muster.events.state import CANCELLED, UNWINDING, RunState
from muster.events.work import StepState
from muster.execution.flow import UPSTREAM_FAILED, decide, not_begun, unfinished
from muster.execution.task_keys import TaskKey, task_of, works_of
from muster.language.definition import Definition
from muster.language.kinds import KINDS
from muster.language.resolved_step import ResolvedStep

TaskStates = Mapping[str, str | None]
"""Airflow's state by task (`step`, `step_<map index>`, `step.items`). It tells of work whose process died before it
wrote an outcome into the log."""

HARMLESS = frozenset(name for name, kind in KINDS.items() if kind.resolved.is_harmless)
"""Kinds of step whose failure is no reason to undo the run."""


def failures(definition: Definition, state: RunState, task_states: TaskStates) -> list[str]:
    """The reasons why the run failed, one clause for each step; empty when it succeeded.

    The reasons repeat nothing that is sealed in `state`, because they are stored and told in plain text.
    """
    if state.status == "unknown":
        return ["the run was never opened"]
    reasons, stopped = [], _stopped_in_airflow(definition, task_states)
    for step in definition.steps:
        result = state.step(step.id)
        reason = _failure(result) or _stopped(definition, state, result, stopped) or _left_out(result)
        if reason := reason or _without_outcome(definition, state, result):
            reasons.append(reason)
    # The order of a person comes first: steps that a cancelled run stopped in the middle have not failed by themselves.
    # Each of the others is asked only if nothing before it gives a reason, because it follows from those failures.
    reasons = _ordered(state) or reasons or _never_begun(definition, state, definition.steps)
    reasons = reasons or _kept_from_going_ahead(definition, state) or _undone(definition, state)
    return reasons or _not_done_again(definition, state, task_states)


def _ordered(state: RunState) -> list[str]:
    """The reason for which somebody ordered the run to be undone or cancelled; empty when nobody did."""
    if state.undo_reason is not None:
        return [state.undo_reason]
    if state.cancelled_by is None:
        return []
    return [f"cancelled by {state.cancelled_by}" + (f": {state.cancel_reason}" if state.cancel_reason else "")]


def reasons_to_undo(definition: Definition, state: RunState, task_states: TaskStates) -> list[str]:
    """The reasons why the run has to be undone; empty when its work stands.

    A fan-out of which some items failed and others succeeded is no reason: the failed items wait as dead letters for a
    person. The key `failures` of a step says otherwise: `undo` makes one failed item a reason.
    """
    if state.status == "unknown":
        return []
    if ordered := _ordered(state):
        return ordered
    reasons, stopped = [], _stopped_in_airflow(definition, task_states)
    for step in definition.steps:
        result = state.step(step.id)
        lost = _is_lost(step, result)
        reason = _failure(result) if lost else None
        if reason is None and (lost or result.status == "succeeded") and not _is_owed_in_part(result):
            reason = _stopped(definition, state, result, stopped)
        if reason is None and (lost or not result.is_fan_out):
            reason = _without_outcome(definition, state, result)
        if reason is not None and step.kind not in HARMLESS:
            reasons.append(reason)
    counting = [step for step in definition.steps if step.kind not in HARMLESS]
    owed = [step for step in counting if not _is_owed_in_part(state.step(step.id))]
    # A compensation that has begun may have taken back a part, so undoing goes on although every step succeeded.
    return reasons or _half_undone(definition, state) or _never_begun(definition, state, owed)


def _is_lost(step: ResolvedStep, result: StepState) -> bool:
    """True when the step counts as failed as a whole."""
    by_items = result.is_fan_out and not result.ended_as_a_whole
    if by_items and result.counts["failed"] and step.failures != "continue":
        return step.failures == "undo"
    return _lost_altogether(result)


def _lost_altogether(result: StepState) -> bool:
    if not result.is_fan_out or result.ended_as_a_whole:
        return result.status != "succeeded"
    return not result.counts["succeeded"] and not result.counts["set_aside"]


def _is_owed_in_part(result: StepState) -> bool:
    """True when only some items of a list were to be done again: the other items stand in any case."""
    return bool(result.owed) and not _lost_altogether(result)


def _failure(result: StepState) -> str | None:
    if result.whole.status == "failed" and (result.ended_as_a_whole or not result.is_fan_out):
        if not result.whole.has_outcome:
            return None  # It was to be done again since, and something else kept it from that.
        return f"step {result.id} failed: {words((result.whole.error or {}).get('message'))}"
    if result.is_fan_out and (lost := result.counts["failed"]):
        left_out = f", and {len(left)} did not begin after that" if (left := not_begun(result)) else ""
        return f"{lost} of {len(result.indices)} items of step {result.id} failed{left_out}"
    return f"every item of step {result.id} was set aside" if result.status == "failed" else None


def _stopped_in_airflow(definition: Definition, task_states: TaskStates) -> set[str]:
    """The steps with a task that Airflow failed, either one that performs the step or one that lays it out."""
    failed = (task_of(definition, key) for key, state in task_states.items() if state == "failed")
    return {task.step.id for task in failed if task is not None and task.role != "undoes"}


def _stopped(definition: Definition, state: RunState, result: StepState, stopped: Collection[str]) -> str | None:
    """Why a failed task matters: it left no outcome, or the steps after it were not performed; None otherwise."""
    if result.id not in stopped:
        return None
    if unfinished(definition.step(result.id), state):
        return f"step {result.id} stopped without an outcome"
    if result.status == "succeeded" and not all(state.step(step.id).ended for step in definition.steps):
        return f"step {result.id} stopped after its outcome"
    # Airflow may fail a task whose outcome is in the log already: an answered question, for one
    # (apache/airflow#72716). The log knows better.
    return None


def _left_out(result: StepState) -> str | None:
    """The work that a cancellation, or a failed item of the list, kept from beginning; None when there is none."""
    if left := not_begun(result):
        some = f"{len(left)} of {len(result.indices)} items of step {result.id}"
        return f"{some} did not begin when another one failed, and were not done since"
    skipped = [work.reason for work in result.works if work.status == "skipped"]
    if CANCELLED in skipped or UNWINDING in skipped:
        return f"step {result.id} was left out when the run was cancelled, and has not been done since"
    return None


def _without_outcome(definition: Definition, state: RunState, result: StepState) -> str | None:
    """The work of a step that has begun and never ended, whatever Airflow says of its tasks; None when all ended."""
    if all(work.ended or work.status == "pending" for work in result.works):
        return None
    left = unfinished(definition.step(result.id), state)
    if left and left != [None]:
        return f"{len(left)} of {len(result.indices)} items of step {result.id} have no outcome"
    return f"step {result.id} has no outcome" if left else None


def _kept_from_going_ahead(definition: Definition, state: RunState) -> list[str]:
    """The steps that were skipped because of a step before them that shows no failure any more."""
    return [
        f"step {step.id} was left out for what came before it"
        for step in definition.steps
        if any(work.status == "skipped" and work.reason == UPSTREAM_FAILED for work in state.step(step.id).works)
    ]


def _undone(definition: Definition, state: RunState) -> list[str]:
    """The steps with work that was undone and not done again since."""
    return [
        f"step {step.id} was undone, and has not been done since"
        for step in definition.steps
        if state.step(step.id).has_undone
    ]


def _half_undone(definition: Definition, state: RunState) -> list[str]:
    """The steps with a compensation that has begun and not ended."""
    return [
        f"undoing step {step.id} has begun and has not come to its end"
        for step in definition.steps
        if any(work.half_undone for work in state.step(step.id).works)
    ]


def _not_done_again(definition: Definition, state: RunState, task_states: TaskStates) -> list[str]:
    """The steps that were cleared by hand and whose tasks Airflow failed before they wrote an event."""
    # The log says that tasks were cleared, not which: the outcome of the earlier execution still counts there. Only
    # Airflow's failed tasks show that a step should have been done again.
    failed = (task_of(definition, key) for key, airflow in task_states.items() if state.by_hand and airflow == "failed")
    silent = [task for task in failed if task is not None and task.role != "undoes" and _is_of_before(state, task)]
    return [f"step {name} stopped before it was done again" for name in dict.fromkeys(task.step.id for task in silent)]


def _is_of_before(state: RunState, task: TaskKey) -> bool:
    """True when the task has no outcome of the execution that is under way."""
    if task.role == "lays out":
        return state.step(task.step.id).laid_out < state.epoch
    return all((work.outcome or 0) < state.epoch for work in works_of(state, task))


def _never_begun(definition: Definition, state: RunState, steps: Iterable[ResolvedStep]) -> list[str]:
    """The steps without an outcome that nothing kept from going ahead."""
    return [
        f"step {step.id} has no outcome"
        for step in steps
        if unfinished(step, state) == [None] and decide(definition, step, state) is None
    ]
