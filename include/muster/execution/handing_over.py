"""Whether a work item is left to its fallback: who comes after goes on there, or with the step itself."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from muster.events.model import Event
from muster.events.payloads.work import StepFellBack, StepStarted
from muster.execution.services import Services
from muster.execution.work_item import WorkItem

_TELLING = (StepStarted.type, StepFellBack.type)


def handed_over(work_item: WorkItem, epoch: int, since: Iterable[Event] = ()) -> Event | None:
    """The event that left the work item to its fallback in an epoch, as far as it was read; `since` is what came later.

    One by a process in whose place another had begun the work before that was written is none: the other has not seen
    it, and may have done what the step does.
    """
    known = [event for kind in _TELLING for event in work_item.view.events_of(kind, work_item.step.id, work_item.index)]
    begun = 0
    for event in [*sorted(known, key=attrgetter("version")), *since]:
        if event.type == StepStarted.type:
            begun = event.version
        elif event.epoch == epoch and StepFellBack.of(event).execution in (None, begun):
            return event
    return None


async def has_fallen_back(services: Services, work_item: WorkItem) -> bool:
    """Whether the work item is left to its fallback in this epoch, by this execution or one before it."""
    if work_item.step.fallback is None or work_item.first:
        return False
    return handed_over(work_item, work_item.ref.epoch, await _since(services, work_item)) is not None


async def _since(services: Services, work_item: WorkItem) -> list[Event]:
    """What was said of it after its view was read."""
    after = work_item.view.events[-1].version if work_item.view.events else 0
    read = services.log.aread(work_item.ref.run, after_version=after, steps=(work_item.step.id,), types=_TELLING)
    return [event async for event in read if event.index == work_item.index]
