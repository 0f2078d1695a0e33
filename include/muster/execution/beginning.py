"""How work on one work item begins: once in an execution of its run, and with word of who goes on with it."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from muster.events import keys
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.work import StepFellBack, StepStarted
from muster.execution.handing_over import handed_over
from muster.execution.overtaken import ending_ahead
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.recovery.attempts import revoke
from muster.recovery.ledger import Ledger


async def begin_work_item(services: Services, work_item: WorkItem) -> WorkItem | Event:
    """Write that work on the work item begins; the work item with the number of this execution of the work.

    The first beginning takes a key, and so does the first in a later epoch: of two processes one finds a `begins` that
    is not its own. What the other has begun is begun here again, and may write nothing any more. What a triggerer that
    is alive has begun ahead of Airflow is left to it: then this is how the work item ended there.

    Raises:
        BegunBefore: this is such a triggerer, and another process has begun the piece.
    """
    # A mark of our own: an append under a key that is taken returns the event that is there, which else looks the same.
    begins, key = uuid4().hex, _key(work_item)
    if key is not None:
        # In one append: who comes after a process that died in between would not know who had done the work last.
        events = [work_item.started(begins, key), *await _still_fallen_back(services, work_item, key)]
        begun = (await services.log.aappend(work_item.ref.run, events))[0]
        if StepStarted.of(begun).begins == begins:
            return await _begun(services, work_item, begun)
        work_item = replace(work_item, first=False)
    if (ended := await ending_ahead(services, work_item)) is not None:
        return ended
    return await _begun(
        services, work_item, (await services.log.aappend(work_item.ref.run, [work_item.started(begins, None)]))[0]
    )


async def _begun(services: Services, work_item: WorkItem, begun: Event) -> WorkItem:
    # The version is the fencing token: whoever begins the work later has a larger one, in whichever process.
    work_item = replace(work_item, execution=begun.version)
    if work_item.ref.ahead:
        # The row that signs of life are written into: whoever finds the work begun waits while there are any.
        await revoke(services.database, run=work_item.ref.run, work=work_item.work, execution=work_item.execution)
    return work_item


def _key(work_item: WorkItem) -> str | None:
    if work_item.first:
        return keys.started(work_item.key, None)
    known = work_item.view.events_of(EventType.STEP_STARTED, work_item.step.id, work_item.index)
    begun = any(event.epoch == work_item.ref.epoch for event in known)
    return None if begun else keys.started(work_item.key, work_item.ref.epoch)


async def _still_fallen_back(services: Services, work_item: WorkItem, key: str | None) -> list[NewEvent]:
    """That the fallback goes on with a work item that is done again: the step would do what the fallback has done.

    Of what neither has done, or what was undone since, the step itself is tried again.
    """
    known = work_item.view.events_of(EventType.STEP_STARTED, work_item.step.id, work_item.index)
    if work_item.step.fallback is None or not known or key is None:
        return []
    last = handed_over(work_item, known[-1].epoch)
    if last is None or await Ledger(services.database).aoutside(work_item.view.id, work_item.effect_key) is None:
        return []
    # Asked for after the ledger: another process that has begun since may have decided that the step itself goes on,
    # and the effect be that step's.
    if await services.log.aunder_keys(work_item.ref.run, [key]):
        return []
    return [work_item.fell_back(StepFellBack.of(last).error)]
