"""What of a run has happened and is not undone."""

from __future__ import annotations

from collections.abc import Iterator

from muster.errors import MusterError
from muster.events.state import RunState
from muster.events.work import StepState, WorkState
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
        if step.can_be_undone and (indices := list(_begun(state.step(step.id)))):
            found[step.id] = indices
    return found


def irrevocable(definition: Definition, state: RunState) -> str | None:
    """The step that cannot be undone and may have happened."""
    begun = [step.id for step in definition.steps if step.irreversible and list(_begun(state.step(step.id)))]
    return begun[-1] if begun else None


def _begun(result: StepState) -> Iterator[int | None]:
    if _may_have_happened(result.whole) and not result.is_fan_out:
        yield None
    for index in sorted(result.items):
        if _may_have_happened(result.items[index]):
            yield index


def _may_have_happened(work: WorkState) -> bool:
    if work.status == "skipped":
        # A process died in the middle of it, and the next one skipped it: the run had been cancelled meanwhile. Or an
        # earlier execution did it, and a later one had no work for it.
        return work.begun is not None
    return work.status not in ("pending", "undone")
