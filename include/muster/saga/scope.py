"""The work of a run that has happened and is not undone."""

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
    """Begun work that is not undone, of steps that can be undone: positions by step, last step first.

    Work with an unknown outcome counts as begun, because its process may have died between effect and record. The
    compensation finds out whether anything happened.
    """
    pending: WorkItems = {}
    for step in reversed(definition.steps):
        if step.can_be_undone and (indices := state.step(step.id).standing):
            pending[step.id] = indices
    return pending


def to_undo(definition: Definition, state: RunState) -> WorkItems:
    """The work items that undoing a run names: all that are pending, or those undone already when none is pending."""
    work_items = pending_compensations(definition, state)
    # A person has undone all that was left of a stuck run. Named nothing, it would close as failed, not compensated.
    if not work_items and state.status == "stuck":
        for step, index, work in state.works():
            if work.status == "undone":
                work_items.setdefault(step, []).append(index)
    return work_items


def irreversible_steps_begun(definition: Definition, state: RunState) -> list[str]:
    """The steps that cannot be undone and may have happened, last step first."""
    return [step.id for step in reversed(definition.steps) if step.irreversible and state.step(step.id).standing]


def undone_by_hand(state: RunState, steps: Iterable[str], epoch: int, by: str | None = None) -> Iterator[NewEvent]:
    """Events saying that a person has undone all work of these steps outside: done again, it gets other effect keys."""
    for step in steps:
        for index in state.step(step).standing:
            yield from work_item_undone_by_hand(state, step, index, epoch, by)


def work_item_undone_by_hand(
    state: RunState, step: str, index: int | None, epoch: int, by: str | None = None
) -> Iterator[NewEvent]:
    """The events saying that a person has undone one work item."""
    work = state.step(step).work(index)
    place = Place(step=step, index=index, epoch=epoch)
    # Take the key of the ending first: a process that was taken for dead could otherwise end the work as succeeded
    # after a person has undone it.
    if not work.ended:
        yield given_up(step, index, work.epoch)
    # The compensation uses the same key, so the work is undone once, by the machine or by a person.
    key = keys.undone(work_key(step, index), work.epoch)
    said = CompensationSucceeded(**place, work_epoch=work.epoch, output=None, by_hand=True)
    yield said.event(actor=by or "muster", key=key)
