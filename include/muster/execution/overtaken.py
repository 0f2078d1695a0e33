"""What becomes of an execution of a work item whose place a later one has taken."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from muster.errors import TransientError
from muster.events import keys
from muster.events.model import Event, EventType
from muster.events.payloads.work import StepStarted
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.recovery.heartbeats import heartbeat

LONGEST_WAIT = 300.0
"""Seconds that it waits for the end of the later one or its next sign of life: a few heartbeats."""
LOOK = 1.0
"""Seconds between looks at it."""
AHEAD_BEAT = 3.0
"""Seconds between signs of life of work that a triggerer has begun ahead of Airflow: Airflow comes to it meanwhile, so
somebody waits for it as a rule."""
LONGEST_WAIT_AHEAD = 10.0
"""Seconds that whoever comes to such work waits for a sign of life: three of them."""


class Overtaken(TransientError):
    """Another process has begun the same work since: this one has no ending, as if its process had died."""


class BegunBefore(TransientError):
    """Another process has begun the work: it is not for a triggerer that goes ahead of Airflow."""


async def ending_ahead(services: Services, work_item: WorkItem) -> Event | None:
    """How a work item ended that a triggerer has begun ahead of Airflow, however long that takes while it is alive.

    None when nobody has begun it so in this execution, or whoever did has died: it is performed here.

    Raises:
        BegunBefore: it would be begun ahead of Airflow here, and somebody has begun it.
    """
    ref = work_item.ref
    starts = [keys.started(work_item.key, None), keys.started(work_item.key, ref.epoch)]
    found = (await services.log.aunder_keys(ref.run, starts)).values()
    begun = next((event for event in found if event.epoch == ref.epoch), None)
    if begun is None or begun.version == work_item.execution:
        return None
    if ref.ahead:
        raise BegunBefore(f"{work_item.key} of {ref.run} has begun in another process.")
    if not StepStarted.of(begun).ahead:
        return None
    died = Overtaken(f"Who has begun {work_item.key} of {ref.run} ahead of Airflow has died.")
    try:
        return await ending_by_another(
            services, replace(work_item, execution=begun.version - 1), died, LONGEST_WAIT_AHEAD
        )
    except Overtaken:
        return None


async def ending_by_another(
    services: Services, work_item: WorkItem, error: Overtaken, patience: float | None = None
) -> Event:
    """How the work item ended in the process that has begun it since, however long that takes while it is alive.

    Raises:
        Overtaken: it does not end there, and nobody is at it: it is performed again here.
    """
    over = (EventType.SAGA_UNWINDING, EventType.RUN_CLOSED)
    patience = LONGEST_WAIT if patience is None else patience
    until, sign = time.monotonic() + patience, None
    while time.monotonic() < until:
        # Asked for first: an ending that came before it is found below.
        since = services.log.aread(work_item.ref.run, after_version=work_item.execution, steps=(), types=over)
        is_over = [event async for event in since]
        found = await services.log.aunder_keys(work_item.ref.run, [work_item.ended_key])
        if work_item.ended_key in found:
            return found[work_item.ended_key]
        if is_over:
            # It was a compensation that took its place, or whoever closed the run: there will be no ending.
            break
        # Who took over from one that lives would be overtaken by it in turn, and so on, where the work takes longer.
        if (seen := await heartbeat(services.database, work_item.work, after=work_item.execution)) != sign:
            until, sign = time.monotonic() + patience, seen
        await asyncio.sleep(LOOK)
    raise error
