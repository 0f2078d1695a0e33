"""Which conversation with an agent a work item goes on with; the answers of each are in the log."""

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
    """The prefix of the keys of a conversation in an epoch; `agent` is the agent that has it, if not the step's own.

    After an answer that was of no use the prefix changes, so that the agent is asked afresh.
    """
    key = f"{work_item.key}@{epoch}" if epoch else work_item.key
    # An agent that takes over needs a prefix of its own. Under the step's it would find the questions to the other
    # agent, and after a crash never its own answers, so that it would ask everything twice.
    if work_item.falls_back:
        key += "/fallback"
    elif takes_over(work_item, agent):
        key += f"/agent/{agent}"
    return f"{key}/afresh/{work_item.fresh}" if work_item.fresh else key


def takes_over(work_item: WorkItem, agent: str | None) -> bool:
    """True for an agent that does the work in place of the step's own, as the next one that fits."""
    return not work_item.falls_back and agent not in (None, *work_item.step.agents[:1])


async def conversation_of(services: Services, work_item: WorkItem) -> int:
    """The epoch whose conversation the work item goes on with; mostly the present one."""
    # An earlier epoch if its conversation left an outside effect of a tool in doubt: replaying it leads to the same
    # call, which asks the ledger what happened. A new conversation could do it a second time, in another call. An
    # execution that takes over from one which went on with an earlier epoch goes on with that epoch, too.
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
    """The number of conversations that gave no usable answer; it makes the key under which the agent is asked next."""
    # Without the count a retry would replay the recorded answers and fail in the same way. The fallback has a journal
    # of its own, so for it only failures since it took over count.
    kinds = (StepRetried, StepFailed)
    ended = (
        (kind, event)
        for kind in kinds
        for event in work_item.view.events_of(kind.type, work_item.step.id, work_item.index)
    )
    since = _fell_back_at(work_item) if work_item.falls_back else 0
    return sum(event.version > since and kind.of(event).error.class_ == "BadOutput" for kind, event in ended)


def _fell_back_at(work_item: WorkItem) -> float:
    """The version of the `step.fell_back` of this epoch; infinite when it was written after the view was read."""
    fell_back = handed_over(work_item, work_item.ref.epoch)
    return math.inf if fell_back is None else fell_back.version
