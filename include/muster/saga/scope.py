"""What of a run has happened and is not undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from muster.errors import MusterError
from muster.events import keys
from muster.events.keys import work_key
from muster.events.model import NewEvent
from muster.events.payloads.base import Place
from muster.events.payloads.work import CompensationSucceeded
from muster.events.state import RunState
from muster.execution.work_item import given_up
from muster.language.definition import Definition


class Irreversible(MusterError):
    """What happened cannot be undone."""

    repeats_data = False


WorkItems = dict[str, list[int | None]]
"""Positions by step; None stands for a step outside a fan-out."""


def pending_compensations(definition: Definition, state: RunState) -> WorkItems:
    """What a run has begun and not undone, of the steps that can be undone: positions by step, last step first.

    An unknown outcome counts as begun: whether anything came of it is for the compensation to find out.
    """
    found: WorkItems = {}
    for step in reversed(definition.steps):
        if step.can_be_undone and (indices := state.step(step.id).standing):
            found[step.id] = indices
    return found


def to_undo(definition: Definition, state: RunState) -> WorkItems:
    """What undoing a run is about: what is `started`; or what is undone, where people have undone all that was left.

    Without that a stuck run would not be known as one that was undone.
    """
    found = pending_compensations(definition, state)
    if not found and state.status == "stuck":
        for step, index, work in state.works():
            if work.status == "undone":
                found.setdefault(step, []).append(index)
    return found


def irreversible_steps_begun(definition: Definition, state: RunState) -> list[str]:
    """The steps that cannot be undone and may have happened, last step first."""
    return [step.id for step in reversed(definition.steps) if step.irreversible and state.step(step.id).standing]


def undone_by_hand(state: RunState, steps: Iterable[str], epoch: int, by: str | None = None) -> Iterator[NewEvent]:
    """That a person has undone, outside, all that these steps did: done again, it is other work."""
    for step in steps:
        for index in state.step(step).standing:
            yield from work_item_undone_by_hand(state, step, index, epoch, by)


def work_item_undone_by_hand(
    state: RunState, step: str, index: int | None, epoch: int, by: str | None = None
) -> Iterator[NewEvent]:
    """That a person has undone one work item."""
    work = state.step(step).work(index)
    place = Place(step=step, index=index, epoch=epoch)
    if not work.ended:
        yield given_up(step, index, work.epoch)
    key = keys.undone(work_key(step, index), work.epoch)
    said = CompensationSucceeded(**place, work_epoch=work.epoch, output=None, by_hand=True)
    yield said.event(actor=by or "muster", key=key)
