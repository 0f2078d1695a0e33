"""`close`: the single leaf of every run, and the reason that Airflow's run state is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from muster.database import Database
from muster.errors import MusterError
from muster.events.model import EventType, NewEvent
from muster.events.state import RunState
from muster.events.work import ENDED, OPEN, WorkState
from muster.execution.concurrency import undisturbed
from muster.execution.outcome import Outcome
from muster.execution.piece import describe
from muster.execution.references import WorkRef, work_key
from muster.execution.services import Services
from muster.execution.verdict import TaskStates, failures
from muster.execution.view import definition_of
from muster.language.definition import Definition
from muster.language.sagas import compensation_order
from muster.recovery.attempts import StillRunning, revoke

TellStuck = Callable[[Services, WorkRef, str, int | None, Mapping[str, Any]], Awaitable[None]]
"""Tells people where undoing has stopped, a step and an index, and why."""


class UndoingStopped(MusterError):
    """A task that undoes ended without a word in the log."""

    repeats_data = False


async def close_run(
    services: Services, ref: WorkRef, task_states: TaskStates, tell: TellStuck | None = None
) -> Outcome:
    """Decide how the run ended, and write `run.closed`.

    Where undoing has stopped without a word, that is written first and people are told with `tell`: only what is known
    to be stuck can be resumed.
    """
    return await undisturbed(partial(_close, services, ref, task_states, tell))


async def _close(services: Services, ref: WorkRef, task_states: TaskStates, tell: TellStuck | None) -> Outcome:
    definition, state = await definition_of(services, ref.run), await services.log.astate(ref.run)
    key = f"closed@{ref.epoch}"
    # What is left of a piece that has no outcome says nothing any more once the run is closed.
    await revoke_left(services.database, state, state.version + 1)
    reasons = failures(definition, state, task_states)
    unwinding = state.unwinding
    if unwinding is not None and (unwinding.epoch == ref.epoch or _undone(state)):
        # What failed may have been undone itself since, or have come to life and skipped itself.
        reasons = [unwinding.reason]
    status = _status(state, reasons, ref.epoch)
    if status == "stuck" and not await services.log.aunder_keys(ref.run, [key, stuck_key(ref)]):
        await _own_up(services, ref, definition, state, tell)
    counts = _counts(state)
    data = {
        "status": status,
        "reason": "; ".join(reasons) or None,
        "counts": counts,
        "cost": str(state.cost),
        "epoch": ref.epoch,
    }
    event = NewEvent(type=EventType.RUN_CLOSED, data=data, key=key)
    events = [*left_open(state, ref.epoch), event]
    closed = (await services.log.aappend(ref.run, events, expected=state.version))[-1]
    if closed.data["status"] != "succeeded":
        said, how = closed.data["reason"], closed.data["status"]
        reason = said if how == "failed" else f"{how}: {said}"
        return Outcome(status="failed", output=counts, reason=reason, structural="all")
    return Outcome(status="succeeded", output=counts, structural="all")


async def revoke_left(
    database: Database, state: RunState, execution: int
) -> tuple[str, int | None, StillRunning] | None:
    """Refuse what is left of each piece that was begun and has no outcome; the last one where that cannot be done.

    What was skipped after it began may be at work as well: its process was taken for dead, and the next one skipped it.
    """
    hanging: tuple[str, int | None, StillRunning] | None = None
    for name, index, work in state.works():
        if not work.attempt or (work.status in ENDED and work.status != "skipped"):
            continue
        try:
            await revoke(database, run=state.id, work=f"{state.id}/{work_key(name, index)}", execution=execution)
        except StillRunning as error:
            hanging = name, index, error
    return hanging


def left_open(state: RunState, epoch: int) -> Iterator[NewEvent]:
    """What is to be written before a run closes: in a closed run nothing is at work, and nothing waits for a person.

    A fan-out whose items have all ended is completed: whoever ended the last one died before saying so. One that was
    completed before its items were undone is so anew.
    """
    for name, index, work in state.works():
        step = state.step(name)
        if index is None and step.is_fan_out and step.ended and work.status not in ("pending", "stopped", step.status):
            data = {"step": name, "counts": step.counts, "epoch": epoch}
            key = f"{name}/completed@{epoch}" if work.status in OPEN else f"{name}/undone@{epoch}"
            yield NewEvent(type=EventType.STEP_COMPLETED, data=data, key=key)
        elif work.status not in OPEN:
            continue
        elif work.status == "waiting":
            # A question has no ending: whoever answers late is told why.
            yield replace(given_up(name, index, epoch), key=f"{work_key(name, index)}/left@{state.version}")
        else:
            yield given_up(name, index, epoch)


def given_up(step: str, index: int | None, epoch: int) -> NewEvent:
    """The ending of a piece of work that nobody waits for any more: one that comes later is none."""
    data = {"step": step, "index": index, "epoch": epoch}
    return NewEvent(type=EventType.STEP_STOPPED, data=data, key=f"{work_key(step, index)}/ended@{epoch}")


def _status(state: RunState, reasons: list[str], epoch: int) -> str:
    if state.stuck is not None and state.stuck.epoch == epoch:
        return "stuck"
    if undone := _undone(state):
        return "compensated" if all(undone) else "stuck"
    return "failed" if reasons else "succeeded"


async def _own_up(
    services: Services, ref: WorkRef, definition: Definition, state: RunState, tell: TellStuck | None
) -> None:
    """Write that undoing has stopped at the first piece that is left, in the order of undoing, and tell people."""
    order = compensation_order(definition)
    left = [(step, index, work) for step, index, work in _pieces(state) if work.status != "undone"]
    step, index, work = min(left, key=lambda piece: order.index(piece[0]))
    error = describe(
        UndoingStopped(
            f"Undoing {work_key(step, index)} stopped without a word.",
            remedy="See in Airflow what became of its task, and whether anything of it is undone already.",
        )
    )
    data = {"step": step, "index": index, "error": error, "epoch": ref.epoch}
    failed = {**data, "work_epoch": work.epoch}
    events = [
        # It counts as tried, so that a person who does it by hand can say so.
        NewEvent(type=EventType.COMPENSATION_FAILED, data=failed, key=f"{work_key(step, index)}/stopped@{ref.epoch}"),
        NewEvent(type=EventType.RUN_STUCK, data=data, key=stuck_key(ref)),
    ]
    await services.log.aappend(ref.run, events)
    if tell is not None:
        await tell(services, ref, step, index, error)


def stuck_key(ref: WorkRef) -> str:
    """The key of the event that undoing has stopped in an execution."""
    return f"stuck@{ref.epoch}"


def _undone(state: RunState) -> list[bool]:
    """For each piece the run began to undo, whether that is done."""
    return [work.status == "undone" for _, _, work in _pieces(state)]


def _pieces(state: RunState) -> Iterator[tuple[str, int | None, WorkState]]:
    """What the run began to undo; what was performed anew since is not among it."""
    unwinding = state.unwinding
    for name, indices in unwinding.pieces.items() if unwinding is not None else ():
        for index in indices:
            work = state.step(name).work(index)
            if unwinding is not None and work.epoch <= unwinding.epoch:
                yield name, index, work


def _counts(state: RunState) -> dict[str, int]:
    """How many pieces of work ended in each way."""
    counts: Counter[str] = Counter()
    for result in state.steps.values():
        counts.update(result.counts if result.is_fan_out else {result.status: 1})
    return {name: counts.get(name, 0) for name in ("succeeded", "failed", "skipped", "set_aside", "undone")}
