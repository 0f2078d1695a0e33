"""What an execution of a work item does once another process has begun the same work: it waits for the ending."""

from __future__ import annotations

import asyncio
import time

from muster.errors import TransientError
from muster.events import keys
from muster.events.model import Event, EventType
from muster.events.payloads.work import StepStarted
from muster.events.state import RunState
from muster.events.work import OPEN
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.work_item import WorkItem

LONGEST_WAIT = 300.0
"""Seconds without an ending or a heartbeat after which the other process counts as dead: a few heartbeats."""
LOOK = 1.0
"""Seconds between two looks for an ending."""
AHEAD_BEAT = 3.0
"""Seconds between heartbeats of work that a triggerer has begun ahead of Airflow. They are close together because
Airflow's task usually waits for that work, and must soon know when its process has died."""
LONGEST_WAIT_AHEAD = 30.0
"""Seconds without a heartbeat after which work ahead of Airflow is taken over. A heartbeat may take 10 s and be lost,
and the next one may take as long."""


class Overtaken(TransientError):
    """Another process has begun the same work since, so this execution writes no ending: the other one's counts."""


class BegunBefore(TransientError):
    """Another process has begun the work, so a triggerer that runs ahead of Airflow leaves it alone."""


def is_watched(work_item: WorkItem) -> bool:
    """True for work that another process soon takes over when whoever does it has died."""
    # Airflow's task takes over what was begun ahead of it, and an idle member of a team what another one has.
    return work_item.ref.ahead or work_item.step.pulls


async def ending_ahead(services: Services, ref: WorkRef, key: str, execution: int = 0) -> Event | None:
    """Wait for the ending of a work item that a triggerer has begun ahead of Airflow, as long as that triggerer lives.

    None when no triggerer has begun it in this execution of the run, or that triggerer has died: perform it here.

    Args:
        execution: The version of the event that the work began with here, if it has.

    Raises:
        BegunBefore: this process runs ahead of Airflow itself, and another one has begun the work; do nothing.
    """
    starts = [keys.started(key, None), keys.started(key, ref.epoch)]
    events = (await services.log.aunder_keys(ref.run, starts)).values()
    begun = next((event for event in events if event.epoch == ref.epoch), None)
    if begun is None or begun.version == execution:
        return None
    # Work ahead only saves time, and Airflow's task comes anyway: so of two that want the work it is the one to give
    # way, and never takes over.
    if ref.ahead:
        raise BegunBefore(f"{key} of {ref.run} has begun in another process.")
    return await _ending_of(services, begun) if StepStarted.of(begun).ahead else None


async def earlier_at_rest(services: Services, work_item: WorkItem) -> None:
    """Wait until no triggerer is at the work item any more, which it began ahead in an earlier execution of the run.

    Airflow stops a task before it performs it again, but does not know of a step that it has not come to.
    """
    starts = work_item.view.events_of(EventType.STEP_STARTED, work_item.step.id, work_item.index)
    if starts and starts[-1].epoch < work_item.ref.epoch and StepStarted.of(starts[-1]).ahead:
        await _ending_of(services, starts[-1])


async def state_at_rest(services: Services, run: str) -> RunState:
    """The state of a run once no triggerer is at work that it has begun ahead of Airflow, unless it has died.

    Airflow fails or skips a task without waiting for a step that it has not come to. Undone beside it, the step could
    have an effect afterwards that nobody undoes.
    """
    died = set[int]()
    while True:
        state = await services.log.astate(run)
        left = [begun for begun in await _at_work_ahead(services, state) if begun.version not in died]
        if not left:
            return state
        # At once: a triggerer that died leaves all items of its pack without an ending, and each is waited for as long.
        endings = await asyncio.gather(*(_ending_of(services, begun) for begun in left))
        died.update(begun.version for begun, ending in zip(left, endings, strict=True) if ending is None)


async def _at_work_ahead(services: Services, state: RunState) -> list[Event]:
    """The starts of the work items at work of which the latest was ahead of Airflow."""
    at_work = {(step, index) for step, index, work in state.works() if work.status in OPEN}
    if not at_work:
        return []
    steps = {step for step, _ in at_work}
    starts = services.log.aread(state.id, steps=steps, types=(EventType.STEP_STARTED,))
    latest = {(event.step, event.index): event async for event in starts}
    return [event for place, event in latest.items() if place in at_work and StepStarted.of(event).ahead]


async def ensure_not_overtaken(services: Services, work_item: WorkItem) -> None:
    """Check that no other process has begun the work item since this execution of it did.

    Raises:
        Overtaken: one has.
    """
    kinds, steps = (StepStarted.type,), (work_item.step.id,)
    since = services.log.aread(work_item.ref.run, after_version=work_item.execution, steps=steps, types=kinds)
    if any([event.index == work_item.index async for event in since]):
        raise Overtaken(f"Another process has begun {work_item.key} since.")


async def ending_by_another(services: Services, work_item: WorkItem, error: Overtaken) -> Event:
    """Wait for the ending of a work item that another process has begun since, as long as that process lives.

    Raises:
        Overtaken: `error`. There will be no ending: the other process has died, or the run is undone or closed. The
            task is performed again.
    """
    ref, after = work_item.ref, work_item.execution
    ending = await _ending(services, ref.run, work_item.work, work_item.ended_key, after, LONGEST_WAIT)
    if ending is None:
        raise error
    return ending


async def _ending_of(services: Services, begun: Event) -> Event | None:
    """The ending of work that was begun ahead; None when whoever began it has died, or the run is undone or closed."""
    key = keys.work_key(begun.step or "", begun.index)
    ended, after = keys.ended(key, begun.epoch), begun.version - 1
    return await _ending(services, begun.stream, f"{begun.stream}/{key}", ended, after, LONGEST_WAIT_AHEAD)


async def _ending(services: Services, run: str, work: str, ended_key: str, after: int, patience: float) -> Event | None:
    """Wait for an ending as long as there are heartbeats of executions of the work after the version `after`."""
    # Counted in looks, on no clock: while a skill blocks the event loop here, heartbeats may come that nobody sees.
    silent, sign = 0.0, None
    while silent < patience:
        is_over, ending, seen = await services.elsewhere.submit(run, (work, ended_key, after))
        if ending is not None:
            return ending
        if is_over:
            # A compensation or the close of the run has taken the place of this execution, and writes no such ending.
            break
        # Each new heartbeat starts the wait afresh. Taking over from a live process would make that one the overtaken
        # one, which would take over in turn: work that takes longer than the wait would never end.
        if seen != sign:
            silent, sign = 0.0, seen
        # All who wait look at the same moments, and share a read: the items of a pack that is under way elsewhere.
        await asyncio.sleep(LOOK - time.monotonic() % LOOK)
        silent += LOOK
    return None
