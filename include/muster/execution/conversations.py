"""Which conversation with an agent a piece of work goes on with; what was answered in it is in the log."""

from __future__ import annotations

import math

from muster.agents.call import doer
from muster.events.model import EventType
from muster.events.payloads.work import StepFailed, StepRetried
from muster.execution.handing_over import handed_over
from muster.execution.piece import Piece
from muster.execution.services import Services
from muster.recovery.ledger import Ledger


def asked_under(piece: Piece, epoch: int, agent: str | None = None) -> str:
    """What the keys of a conversation in an epoch begin with; `agent` is who has it, when not the step's own.

    What was answered before is asked again once an answer was of no use.
    """
    key = f"{piece.key}@{epoch}" if epoch else piece.key
    # Who takes over finds what was asked of others under the step's own key, and would never find its own answers.
    if piece.falls_back:
        key += "/fallback"
    elif takes_over(piece, agent):
        key += f"/agent/{agent}"
    return f"{key}/afresh/{piece.fresh}" if piece.fresh else key


def takes_over(piece: Piece, agent: str | None) -> bool:
    """True of an agent that does the work in the place of the step's own, as the next one that fits."""
    return not piece.falls_back and agent not in (None, *piece.step.agents[:1])


async def conversation_of(services: Services, piece: Piece) -> int:
    """The epoch whose conversation is gone on with: of an earlier one, where that left in doubt what a tool did.

    It leads to the same call, which finds out. Who comes after an execution that went on with it does so too.
    """
    now = piece.ref.epoch
    kinds = (EventType.MODEL_CALLED, EventType.TOOL_CALLED) if now and not piece.undoes else ()
    said = [event for kind in kinds for event in piece.view.events_of(kind, piece.step.id, piece.index)]
    started = piece.view.events_of(EventType.STEP_STARTED, piece.step.id, piece.index)
    begun = next((event.version for event in started if event.epoch == now), math.inf)
    outside = await Ledger(services.database).aoutside(piece.view.id, piece.effect_key) if said else None
    agent = doer(piece.effect_key, outside.key)[0] if outside is not None else None
    for epoch in range(now, -1, -1):
        under = tuple(f"{asked_under(piece, epoch, agent)}/{what}/" for what in ("model", "tool"))
        own = [event.version for event in said if event.key is not None and event.key.startswith(under)]
        if own and (epoch == now or max(own) > begun or (outside is not None and outside.status != "done")):
            return epoch
        if own:
            break
    return now


def bad_answers(piece: Piece) -> int:
    """How many conversations with an agent have come to nothing: repeated, their recorded answers would again.

    Those of its fallback count from when that took over: it has a journal of its own.
    """
    kinds = (StepRetried, StepFailed)
    ended = ((kind, event) for kind in kinds for event in piece.view.events_of(kind.type, piece.step.id, piece.index))
    since = _fell_back_at(piece) if piece.falls_back else 0
    return sum(event.version > since and kind.of(event).error.class_ == "BadOutput" for kind, event in ended)


def _fell_back_at(piece: Piece) -> float:
    """The version of the event that its fallback took over in this epoch; beyond all it has read, when that is new."""
    found = handed_over(piece, piece.ref.epoch)
    return math.inf if found is None else found.version
