"""Which conversation with an agent a work item goes on with; what was answered in it is in the log."""

from __future__ import annotations

import math

from muster.agents.call import doer
from muster.events.model import EventType
from muster.events.payloads.work import StepFailed, StepRetried
from muster.execution.handing_over import handed_over
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.recovery.ledger import Ledger


def asked_under(work_item: WorkItem, epoch: int, agent: str | None = None) -> str:
    """What the keys of a conversation in an epoch begin with; `agent` is who has it, when not the step's own.

    What was answered before is asked again once an answer was of no use.
    """
    key = f"{work_item.key}@{epoch}" if epoch else work_item.key
    # Who takes over finds what was asked of others under the step's own key, and would never find its own answers.
    if work_item.falls_back:
        key += "/fallback"
    elif takes_over(work_item, agent):
        key += f"/agent/{agent}"
    return f"{key}/afresh/{work_item.fresh}" if work_item.fresh else key


def takes_over(work_item: WorkItem, agent: str | None) -> bool:
    """True of an agent that does the work in the place of the step's own, as the next one that fits."""
    return not work_item.falls_back and agent not in (None, *work_item.step.agents[:1])


async def conversation_of(services: Services, work_item: WorkItem) -> int:
    """The epoch whose conversation is gone on with: of an earlier one, where that left in doubt what a tool did.

    It leads to the same call, which finds out. Who comes after an execution that went on with it does so too.
    """
    now = work_item.ref.epoch
    kinds = (EventType.MODEL_CALLED, EventType.TOOL_CALLED) if now and not work_item.undoes else ()
    said = [event for kind in kinds for event in work_item.view.events_of(kind, work_item.step.id, work_item.index)]
    started = work_item.view.events_of(EventType.STEP_STARTED, work_item.step.id, work_item.index)
    begun = next((event.version for event in started if event.epoch == now), math.inf)
    outside = await Ledger(services.database).aoutside(work_item.view.id, work_item.effect_key) if said else None
    agent = doer(work_item.effect_key, outside.key)[0] if outside is not None else None
    for epoch in range(now, -1, -1):
        under = tuple(f"{asked_under(work_item, epoch, agent)}/{what}/" for what in ("model", "tool"))
        own = [event.version for event in said if event.key is not None and event.key.startswith(under)]
        if own and (epoch == now or max(own) > begun or (outside is not None and outside.status != "done")):
            return epoch
        if own:
            break
    return now


def bad_answers(work_item: WorkItem) -> int:
    """How many conversations with an agent have come to nothing: repeated, their recorded answers would again.

    Those of its fallback count from when that took over: it has a journal of its own.
    """
    kinds = (StepRetried, StepFailed)
    ended = (
        (kind, event)
        for kind in kinds
        for event in work_item.view.events_of(kind.type, work_item.step.id, work_item.index)
    )
    since = _fell_back_at(work_item) if work_item.falls_back else 0
    return sum(event.version > since and kind.of(event).error.class_ == "BadOutput" for kind, event in ended)


def _fell_back_at(work_item: WorkItem) -> float:
    """The version of the event that its fallback took over in this epoch; beyond all it has read, when that is new."""
    found = handed_over(work_item, work_item.ref.epoch)
    return math.inf if found is None else found.version
