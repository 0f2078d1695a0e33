"""What of a run has happened and is not undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from muster.errors import MusterError
from muster.events.model import EventType, NewEvent
from muster.events.state import RunState
from muster.events.work import StepState, WorkState
from muster.execution.closing import given_up
from muster.execution.references import work_key
from muster.language.definition import Definition


class Irreversible(MusterError):
    """What happened cannot be undone."""

    repeats_data = False


Pieces = dict[str, list[int | None]]
"""Positions by step; None stands for a step outside a fan-out."""


def started(definition: Definition, state: RunState) -> Pieces:
    """What a run has begun and not undone, of the steps that can be undone: positions by step, last step first.

    An unknown outcome counts as begun: whether anything came of it is for the compensation to find out.
    """
    found: Pieces = {}
    for step in reversed(definition.steps):
        if step.can_be_undone and (indices := list(begun(state.step(step.id)))):
            found[step.id] = indices
    return found


def irrevocable(definition: Definition, state: RunState) -> list[str]:
    """The steps that cannot be undone and may have happened, last step first."""
    return [step.id for step in reversed(definition.steps) if step.irreversible and list(begun(state.step(step.id)))]


def undone_by_hand(state: RunState, steps: Iterable[str], epoch: int, by: str | None = None) -> Iterator[NewEvent]:
    """That a person has undone, outside, all that these steps did: done again, it is other work."""
    for step in steps:
        for index in begun(state.step(step)):
            yield from piece_undone_by_hand(state, step, index, epoch, by)


def piece_undone_by_hand(
    state: RunState, step: str, index: int | None, epoch: int, by: str | None = None
) -> Iterator[NewEvent]:
    """That a person has undone one piece."""
    work = state.step(step).work(index)
    data = {"step": step, "index": index, "work_epoch": work.epoch, "epoch": epoch, "output": None, "by_hand": True}
    if not work.ended:
        yield given_up(step, index, work.epoch)
    key = f"{work_key(step, index)}/undone@{work.epoch}"
    yield NewEvent(type=EventType.COMPENSATION_SUCCEEDED, data=data, actor=by or "muster", key=key)


def begun(result: StepState) -> Iterator[int | None]:
    """The positions of a step that may have happened and are not undone; None stands for a step outside a fan-out."""
    if _may_have_happened(result.whole) and not result.is_fan_out:
        yield None
    for index in sorted(result.items):
        if _may_have_happened(result.items[index]):
            yield index


def _may_have_happened(work: WorkState) -> bool:
    # Whatever became of it: a process may have died in the middle, and the next one have skipped it; or an earlier
    # execution did it, and a later one had no work for it.
    return work.begun is not None
