"""`close`: the single leaf of every run, and the reason that Airflow's run state is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial

from muster.database import Database
from muster.errors import MusterError
from muster.events import keys
from muster.events.keys import work_key
from muster.events.model import Event, NewEvent
from muster.events.payloads.base import Place, RecordedError
from muster.events.payloads.runs import RunClosed, RunStuck
from muster.events.payloads.work import CompensationFailed, StepCompleted
from muster.events.state import RunState
from muster.events.work import ENDED, OPEN, WorkState
from muster.execution.concurrency import undisturbed
from muster.execution.outcome import Outcome, not_in_scope
from muster.execution.overtaken import state_at_rest
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.stopping import has_closed
from muster.execution.task_keys import BEGINS_TO_UNDO
from muster.execution.view import definition_of
from muster.execution.work_item import given_up
from muster.language.definition import Definition
from muster.language.sagas import compensation_order
from muster.recovery.attempts import StillRunning, revoke
from muster.saga.incidents import tell_stuck
from muster.saga.verdict import TaskStates, failures, reasons_to_undo


class UndoingStopped(MusterError):
    """A task that undoes ended without an event in the log: the run is stuck, and a person resumes it."""

    repeats_data = False


class UndoingNotBegun(MusterError):
    """The run has to be undone and its undoing never began: the run is stuck, and undone once a person resumes it."""

    repeats_data = False


async def close_run(services: Services, ref: WorkRef, task_states: TaskStates) -> Outcome:
    """Decide how the run ended, and write `run.closed`.

    If undoing has stopped without an event, or was requested too late to begin, `run.stuck` is written first and people
    are told, because only a run that is stuck in the log can be resumed. The outcome is `succeeded` only if the run is.
    """
    return await undisturbed(partial(_close, services, ref, task_states))


async def _close(services: Services, ref: WorkRef, task_states: TaskStates) -> Outcome:
    definition, key = await definition_of(services, ref.run), keys.closed(ref.epoch)
    if await has_closed(services, ref):
        # This process was taken for dead and wakes late. A later execution may be at work by now: revoking or closing
        # here would end its work.
        ended = (await services.log.aunder_keys(ref.run, [key])).get(key)
        return _how(ended) if ended is not None else not_in_scope(f"{ref.run} has ended without it.")
    state = await state_at_rest(services, ref.run)
    # Revoke before closing: a process that was taken for dead could otherwise write an effect after `run.closed`.
    await revoke_left(services.database, state, state.version + 1)
    reasons = failures(definition, state, task_states)
    unwinding = state.unwinding
    undone = _undone(state)
    stands = any(state.step(step.id).standing for step in definition.steps if step.can_be_undone)
    if unwinding is not None and unwinding.epoch < ref.epoch and all(undone) and stands:
        # An earlier execution has undone everything, and part of it was done again by hand since. That part
        # stands, so the run is not compensated.
        undone = []
    if unwinding is not None and (unwinding.epoch == ref.epoch or undone):
        # Keep the reason that undoing began with. The failed step may be `undone` by now, or its process woke up and
        # skipped it, so the state does not show the failure any more.
        reasons = [unwinding.reason]
    status = _status(state, undone, reasons, ref.epoch)
    first = _not_begun(definition, state, task_states, ref.epoch)
    if (first or status == "stuck") and not await services.log.aunder_keys(ref.run, [key, keys.stuck(ref.epoch)]):
        # This append moves the log past `state.version`. So the append below is refused, and `undisturbed` decides the
        # end anew, from a state that is stuck.
        await _record_silent_stop(services, ref, state, first or _stopped(definition, state))
    why, cost = "; ".join(reasons) or None, str(state.cost)
    said = RunClosed(status=status, reason=why, counts=counts_of(state), cost=cost, epoch=ref.epoch)
    events = [*left_open(state, ref.epoch), said.event(key=key)]
    # Append only at the version that was judged. If an answer, a request to cancel or an outcome came in between, the
    # append is refused and the end is decided anew; otherwise somebody is told "cancelled" of a run that succeeded.
    return _how((await services.log.aappend(ref.run, events, expected=state.version))[-1])


def _how(closed: Event) -> Outcome:
    """The outcome of the task that closed a run."""
    said = RunClosed.of(closed)
    if said.status != "succeeded":
        reason = said.reason if said.status == "failed" else f"{said.status}: {said.reason}"
        return Outcome(status="failed", output=said.counts, reason=reason, structural="all")
    return Outcome(status="succeeded", output=said.counts, structural="all")


async def revoke_left(
    database: Database, state: RunState, execution: int, among: Collection[tuple[str, int | None]] | None = None
) -> tuple[str, int | None, StillRunning] | None:
    """Refuse later writes of each work item that began and has no outcome, and of each compensation under way.

    Return the last work item whose commit does not come to an end, with its error; None when all are refused.

    Args:
        execution: Executions before this version of the log are refused.
        among: Only these work items; None for all.
    """
    hanging: tuple[str, int | None, StillRunning] | None = None
    for name, index, work in state.works():
        # Work that was skipped after it began may be under way all the same: its process was taken for dead, and the
        # next process skipped the work.
        left = work.attempt and (work.status not in ENDED or work.status == "skipped")
        if not (left or work.half_undone) or (among is not None and (name, index) not in among):
            continue
        try:
            await revoke(database, run=state.id, work=f"{state.id}/{work_key(name, index)}", execution=execution)
        except StillRunning as error:
            hanging = name, index, error
    return hanging


def left_open(state: RunState, epoch: int) -> Iterator[NewEvent]:
    """The events to write before `run.closed`: in a closed run nothing is at work, and nothing waits for a person."""
    for name, index, work in state.works():
        step = state.step(name)
        if index is None and step.is_fan_out and step.ended and work.status not in ("pending", "stopped", step.status):
            # All items have ended, and the process that ended the last one died before it wrote `step.completed`. A
            # list that was completed before its items were undone needs another key, because the first one is taken.
            key = (keys.completed if work.status in OPEN else keys.list_undone)(name, epoch)
            yield StepCompleted(step=name, counts=step.counts, epoch=epoch).event(key=key)
        elif work.status not in OPEN:
            continue
        elif work.status == "waiting":
            # Not under the key of the ending, because a question that nobody answered has none: a person who answers
            # late is told why the answer does not count.
            yield replace(given_up(name, index, epoch), key=keys.left(work_key(name, index), state.version))
        else:
            yield given_up(name, index, epoch)


def _status(state: RunState, undone: list[bool], reasons: list[str], epoch: int) -> str:
    if state.stuck is not None and state.stuck.epoch == epoch:
        return "stuck"
    if undone:
        return "compensated" if all(undone) else "stuck"
    return "failed" if reasons else "succeeded"


def _not_begun(
    definition: Definition, state: RunState, task_states: TaskStates, epoch: int
) -> tuple[str, int | None, UndoingNotBegun] | None:
    """Where undoing would begin, if the run has to be undone and this execution has not begun that; None otherwise."""
    begun = [undoing.epoch for undoing in (state.unwinding, state.stuck) if undoing is not None]
    # Undoing that an earlier execution began and did not finish has begun: `_stopped` says where it is.
    if epoch in begun or not all(_undone(state)):
        return None
    # Somebody cancelled the run after `unwind.begin` had found nothing to undo. They were told that it is cancelled, so
    # it must not end as a success.
    if state.cancelled_by is not None or state.undo_reason is not None:
        why = "That it is to be undone was said when it had been decided that nothing of it is."
    elif task_states.get(BEGINS_TO_UNDO) == "failed" and reasons_to_undo(definition, state, task_states):
        why = "The task that begins to undo it died."
    else:
        return None
    final = [step.id for step in reversed(definition.steps) if step.irreversible]
    for step in (*final, *compensation_order(definition)):
        for index in state.step(step).standing:
            return step, index, UndoingNotBegun(why, remedy="Nothing has to be mended.")
    return None


def _stopped(definition: Definition, state: RunState) -> tuple[str, int | None, UndoingStopped]:
    """The first work item that is not undone, in the order of undoing, and the error that says so."""
    order = compensation_order(definition)
    left = [(step, index) for step, index, work in _work_items(state) if work.status != "undone"]
    step, index = min(left, key=lambda work_item: order.index(work_item[0]))
    return (
        step,
        index,
        UndoingStopped(
            f"Undoing {work_key(step, index)} stopped without a word.",
            remedy="See in Airflow what became of its task, and whether anything of it is undone already.",
        ),
    )


async def _record_silent_stop(
    services: Services,
    ref: WorkRef,
    state: RunState,
    where: tuple[str, int | None, MusterError],
) -> None:
    """Write `run.stuck` for undoing that has stopped at a work item, or never began, and tell people."""
    step, index, error = where
    recorded, place = RecordedError.of(error), Place(step=step, index=index, epoch=ref.epoch)
    events = [RunStuck(**place, error=recorded).event(key=keys.stuck(ref.epoch))]
    if isinstance(error, UndoingStopped):
        # The compensation counts as tried, because its process may have died before or after the effect.
        failed = CompensationFailed(**place, error=recorded, work_epoch=state.step(step).work(index).epoch)
        events.insert(0, failed.event(key=keys.undoing_stopped(work_key(step, index), ref.epoch)))
    # Written before people are told: if this process dies in between, the reconciler finds a stuck run of which the
    # outbox has no notice, and tells it.
    await services.log.aappend(ref.run, events)
    await tell_stuck(services, ref, step, index, recorded)


def _undone(state: RunState) -> list[bool]:
    """For each work item that the run began to undo, whether it is undone."""
    return [work.status == "undone" for _, _, work in _work_items(state)]


def _work_items(state: RunState) -> Iterator[tuple[str, int | None, WorkState]]:
    """The work items that the run began to undo, without those that were performed anew since."""
    unwinding = state.unwinding
    for name, indices in unwinding.work_items.items() if unwinding is not None else ():
        for index in indices:
            work = state.step(name).work(index)
            if unwinding is not None and (work.epoch <= unwinding.epoch or work.half_undone):
                yield name, index, work


def counts_of(state: RunState) -> dict[str, int]:
    """How many work items ended in each way."""
    counts: Counter[str] = Counter()
    for result in state.steps.values():
        counts.update(result.counts if result.is_fan_out else {result.status: 1})
    return {name: counts.get(name, 0) for name in ("succeeded", "failed", "skipped", "set_aside", "undone")}
