"""What an execution of a work item does once another process has begun the same work: it waits for the ending."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from muster.errors import TransientError
from muster.events import keys
from muster.events.model import Event, EventType
from muster.events.payloads.work import StepStarted
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.recovery.heartbeats import heartbeat

LONGEST_WAIT = 300.0
"""Seconds without an ending or a heartbeat after which the other process counts as dead: a few heartbeats."""
LOOK = 1.0
"""Seconds between two looks for an ending."""
AHEAD_BEAT = 3.0
"""Seconds between heartbeats of work that a triggerer has begun ahead of Airflow. They are close together because
Airflow's task usually waits for that work, and must soon know when its process has died."""
LONGEST_WAIT_AHEAD = 10.0
"""Seconds without a heartbeat after which work ahead of Airflow is taken over: about three heartbeats."""


class Overtaken(TransientError):
    """Another process has begun the same work since, so this execution writes no ending: the other one's counts."""


class BegunBefore(TransientError):
    """Another process has begun the work, so a triggerer that runs ahead of Airflow leaves it alone."""


async def ending_ahead(services: Services, work_item: WorkItem) -> Event | None:
    """Wait for the ending of a work item that a triggerer has begun ahead of Airflow, as long as that triggerer lives.

    None when no triggerer has begun it in this execution of the run, or that triggerer has died: perform it here.

    Raises:
        BegunBefore: this process runs ahead of Airflow itself, and another one has begun the work; do nothing.
    """
    ref = work_item.ref
    starts = [keys.started(work_item.key, None), keys.started(work_item.key, ref.epoch)]
    events = (await services.log.aunder_keys(ref.run, starts)).values()
    begun = next((event for event in events if event.epoch == ref.epoch), None)
    if begun is None or begun.version == work_item.execution:
        return None
    # Work ahead only saves time, and Airflow's task comes anyway: so of two that want the work it is the one to give
    # way, and never takes over.
    if ref.ahead:
        raise BegunBefore(f"{work_item.key} of {ref.run} has begun in another process.")
    if not StepStarted.of(begun).ahead:
        return None
    died = Overtaken(f"Who has begun {work_item.key} of {ref.run} ahead of Airflow has died.")
    try:
        # One less than the other's version: heartbeats and endings are looked for from executions after this number.
        return await ending_by_another(
            services, replace(work_item, execution=begun.version - 1), died, LONGEST_WAIT_AHEAD
        )
    except Overtaken:
        return None


async def ending_by_another(
    services: Services, work_item: WorkItem, error: Overtaken, patience: float | None = None
) -> Event:
    """Wait for the ending of a work item that another process has begun since, as long as that process lives.

    Args:
        patience: Seconds without a heartbeat after which the other process counts as dead.

    Raises:
        Overtaken: `error`. There will be no ending: the other process has died, or the run is undone or closed. The
            task is performed again.
    """
    over = (EventType.SAGA_UNWINDING, EventType.RUN_CLOSED)
    patience = LONGEST_WAIT if patience is None else patience
    # Counted in looks, on no clock: while a skill blocks the event loop here, heartbeats may come that nobody sees.
    silent, sign = 0.0, None
    while silent < patience:
        # Read before the ending. In the other order: no ending is found, the ending is written, the run is closed, and
        # the close that is seen then would hide the ending.
        since = services.log.aread(work_item.ref.run, after_version=work_item.execution, steps=(), types=over)
        is_over = [event async for event in since]
        endings = await services.log.aunder_keys(work_item.ref.run, [work_item.ended_key])
        if work_item.ended_key in endings:
            return endings[work_item.ended_key]
        if is_over:
            # A compensation or the close of the run has taken the place of this execution, and writes no such ending.
            break
        # Each new heartbeat starts the wait afresh. Taking over from a live process would make that one the overtaken
        # one, which would take over in turn: work that takes longer than the wait would never end.
        if (seen := await heartbeat(services.database, work_item.work, after=work_item.execution)) != sign:
            silent, sign = 0.0, seen
        await asyncio.sleep(LOOK)
        silent += LOOK
    raise error
