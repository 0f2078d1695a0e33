"""How work on one piece begins: once in an execution of its run, and with word of who goes on with it."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from muster.events import keys
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.work import StepFellBack, StepStarted
from muster.execution.handing_over import handed_over
from muster.execution.overtaken import ending_ahead
from muster.execution.piece import Piece
from muster.execution.services import Services
from muster.recovery.attempts import revoke
from muster.recovery.ledger import Ledger


async def begin_piece(services: Services, piece: Piece) -> Piece | Event:
    """Write that work on the piece begins; the piece with the number of this execution of the work.

    The first beginning takes a key, and so does the first in a later epoch: of two processes one finds a `begins` that
    is not its own. What the other has begun is begun here again, and may write nothing any more. What a triggerer that
    is alive has begun ahead of Airflow is left to it: then this is how the piece ended there.

    Raises:
        BegunBefore: this is such a triggerer, and another process has begun the piece.
    """
    # A mark of our own: an append under a key that is taken returns the event that is there, which else looks the same.
    begins, key = uuid4().hex, _key(piece)
    if key is not None:
        # In one append: who comes after a process that died in between would not know who had done the work last.
        events = [piece.started(begins, key), *await _still_fallen_back(services, piece, key)]
        begun = (await services.log.aappend(piece.ref.run, events))[0]
        if StepStarted.of(begun).begins == begins:
            return await _begun(services, piece, begun)
        piece = replace(piece, first=False)
    if (ended := await ending_ahead(services, piece)) is not None:
        return ended
    return await _begun(services, piece, (await services.log.aappend(piece.ref.run, [piece.started(begins, None)]))[0])


async def _begun(services: Services, piece: Piece, begun: Event) -> Piece:
    # The version is the fencing token: whoever begins the work later has a larger one, in whichever process.
    piece = replace(piece, execution=begun.version)
    if piece.ref.ahead:
        # The row that signs of life are written into: whoever finds the work begun waits while there are any.
        await revoke(services.database, run=piece.ref.run, work=piece.work, execution=piece.execution)
    return piece


def _key(piece: Piece) -> str | None:
    if piece.first:
        return keys.started(piece.key, None)
    known = piece.view.events_of(EventType.STEP_STARTED, piece.step.id, piece.index)
    begun = any(event.epoch == piece.ref.epoch for event in known)
    return None if begun else keys.started(piece.key, piece.ref.epoch)


async def _still_fallen_back(services: Services, piece: Piece, key: str | None) -> list[NewEvent]:
    """That the fallback goes on with a piece that is done again: it did it last, the step would do it a second time.

    Of what neither has done, or what was undone since, the step itself is tried again.
    """
    known = piece.view.events_of(EventType.STEP_STARTED, piece.step.id, piece.index)
    if piece.step.fallback is None or not known or key is None:
        return []
    last = handed_over(piece, known[-1].epoch)
    if last is None or await Ledger(services.database).aoutside(piece.view.id, piece.effect_key) is None:
        return []
    # Asked for after the ledger: another process that has begun since may have decided that the step itself goes on,
    # and the effect be that step's.
    if await services.log.aunder_keys(piece.ref.run, [key]):
        return []
    return [piece.fell_back(StepFellBack.of(last).error)]
