"""Whether a work item is left to its fallback, so that a process that takes over goes on at the right place."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from muster.events.model import Event
from muster.events.payloads.work import StepFellBack, StepStarted
from muster.execution.services import Services
from muster.execution.work_item import WorkItem

_TELLING = (StepStarted.type, StepFellBack.type)


def handed_over(work_item: WorkItem, epoch: int, since: Iterable[Event] = ()) -> Event | None:
    """The `step.fell_back` event that counts in an epoch; None when the step itself is to be done.

    `since` are events that are later than the work item's view.
    """
    known = [event for kind in _TELLING for event in work_item.view.events_of(kind, work_item.step.id, work_item.index)]
    begun = 0
    for event in [*sorted(known, key=attrgetter("version")), *since]:
        if event.type == StepStarted.type:
            begun = event.version
        # A hand-over by an execution that is not the latest start does not count. Its process handed over after another
        # had begun the work: that one had looked before, saw no hand-over, and may have done what the step does.
        elif event.epoch == epoch and StepFellBack.of(event).execution in (None, begun):
            return event
    return None


async def has_fallen_back(services: Services, work_item: WorkItem) -> bool:
    """True when this execution of the work, or an earlier one in the same epoch, has left it to its fallback."""
    if work_item.step.fallback is None or work_item.first:
        return False
    return handed_over(work_item, work_item.ref.epoch, await _since(services, work_item)) is not None


async def _since(services: Services, work_item: WorkItem) -> list[Event]:
    """The starts and hand-overs of the work item that were written after its view was read."""
    after = work_item.view.events[-1].version if work_item.view.events else 0
    read = services.log.aread(work_item.ref.run, after_version=after, steps=(work_item.step.id,), types=_TELLING)
    return [event async for event in read if event.index == work_item.index]
