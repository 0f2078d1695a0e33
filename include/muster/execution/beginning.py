"""How work on a work item begins: one process begins it first, and a later one knows what it takes over."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from muster.events import keys
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.work import StepFellBack, StepStarted
from muster.execution.handing_over import handed_over
from muster.execution.overtaken import earlier_at_rest, ending_ahead, is_watched
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.recovery.attempts import revoke
from muster.recovery.ledger import Ledger


async def begin_work_item(services: Services, work_item: WorkItem) -> WorkItem | Event:
    """Write `step.started`; return the work item with the number of this execution of the work.

    The first start of a work item takes an idempotency key, and so does its first start in a later epoch. If two
    processes start at once, the second finds the other's mark in `begins`. It then starts a later execution without a
    key, and the token of that execution keeps the earlier one from writing anything more.

    If a live triggerer has begun the work ahead of Airflow, it is left to that triggerer: its ending is waited for and
    returned instead.

    Raises:
        BegunBefore: this process runs ahead of Airflow, and another process has begun the work item; do nothing.
    """
    # An append under a key that is taken returns the stored event, which looks like ours: only a random mark tells
    # whether this process was first.
    begins, key = uuid4().hex, _key(work_item)
    await earlier_at_rest(services, work_item)
    if key is not None:
        # One append for both events. If the process died between two, the next one would see a start without its
        # `step.fell_back`, and do as the step what the fallback has done.
        events = [work_item.started(begins, key), *await _still_fallen_back(services, work_item, key)]
        begun = (await services.log.aappend(work_item.ref.run, events))[0]
        if StepStarted.of(begun).begins == begins:
            return await _begun(services, work_item, begun)
        # Another process was first, so this execution has somebody to fence off: `_attempt_at` then writes its number
        # before the first attempt.
        work_item = replace(work_item, first=False)
    if (ended := await ending_ahead(services, work_item.ref, work_item.key)) is not None:
        return ended
    return await _begun(
        services, work_item, (await services.log.aappend(work_item.ref.run, [work_item.started(begins, None)]))[0]
    )


async def _begun(services: Services, work_item: WorkItem, begun: Event) -> WorkItem:
    # The version is the fencing token: the log orders all starts, so a later one has a larger token in every process.
    work_item = replace(work_item, execution=begun.version)
    if is_watched(work_item):
        # Makes the row of `attempts` now, because heartbeats are written into it. Without the row Airflow's task, which
        # comes seconds later, would see no sign of life and take the work over from a process that is at it.
        await revoke(services.database, run=work_item.ref.run, work=work_item.work, execution=work_item.execution)
        # Not the first: a skill that blocks the event loop now, before the heartbeats begin, lets Airflow's task in
        # another triggerer take the work over. `_attempt_at` then finds the number of that one, and does nothing.
        work_item = replace(work_item, first=False)
    return work_item


def _key(work_item: WorkItem) -> str | None:
    if work_item.first:
        return keys.started(work_item.key, None)
    known = work_item.view.events_of(EventType.STEP_STARTED, work_item.step.id, work_item.index)
    begun = any(event.epoch == work_item.ref.epoch for event in known)
    return None if begun else keys.started(work_item.key, work_item.ref.epoch)


async def _still_fallen_back(services: Services, work_item: WorkItem, key: str | None) -> list[NewEvent]:
    """The event that leaves work that is done again to its fallback; empty when the step itself is tried.

    The fallback goes on if it took over last time and an outside effect has happened since, or may have: the step would
    do that a second time. If nothing has happened, or all of it was undone, the step itself is tried again.
    """
    known = work_item.view.events_of(EventType.STEP_STARTED, work_item.step.id, work_item.index)
    if work_item.step.fallback is None or not known or key is None:
        return []
    last = handed_over(work_item, known[-1].epoch)
    if last is None or await Ledger(services.database).aoutside(work_item.view.id, work_item.effect_key) is None:
        return []
    # Read after the ledger. Otherwise: no start is found, another process starts the step itself and begins an effect,
    # the ledger shows that effect, and it is taken for the fallback's.
    if await services.log.aunder_keys(work_item.ref.run, [key]):
        return []
    return [work_item.fell_back(StepFellBack.of(last).error)]
