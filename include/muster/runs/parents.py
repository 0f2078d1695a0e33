"""Which work item a run was opened for."""

from __future__ import annotations

from muster.events.model import Event
from muster.events.payloads.base import ParentWorkItem
from muster.events.payloads.work import ChildRequested
from muster.events.state import RunState


def parent_of(asked: Event) -> ParentWorkItem:
    """The `parent` entry in `run.opened` of the run that was asked for."""
    said = ChildRequested.of(asked)
    return parent(asked.stream, said.step, said.index)


def is_child(state: RunState, run: str, step: str, index: int | None) -> bool:
    """True when a run was opened for that work item. Its id alone proves nothing: anybody may start a run by any id."""
    return state.parent == parent(run, step, index)


def parent(run: str, step: str, index: int | None) -> ParentWorkItem:
    """The `parent` entry in `run.opened` of a run that this work item has asked for."""
    return {"run": run, "step": step, "index": index}
