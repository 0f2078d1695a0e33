"""Whether a piece of work is left to its fallback: who comes after goes on there, or with the step itself."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from muster.events.model import Event
from muster.events.payloads.work import StepFellBack, StepStarted
from muster.execution.piece import Piece
from muster.execution.services import Services

_TELLING = (StepStarted.type, StepFellBack.type)


def handed_over(piece: Piece, epoch: int, since: Iterable[Event] = ()) -> Event | None:
    """The event that left the piece to its fallback in an epoch, as far as it was read; `since` is what came later.

    One by a process in whose place another had begun the work before that was written is none: the other has not seen
    it, and may have done what the step does.
    """
    known = [event for kind in _TELLING for event in piece.view.events_of(kind, piece.step.id, piece.index)]
    begun = 0
    for event in [*sorted(known, key=attrgetter("version")), *since]:
        if event.type == StepStarted.type:
            begun = event.version
        elif event.epoch == epoch and StepFellBack.of(event).execution in (None, begun):
            return event
    return None


async def has_fallen_back(services: Services, piece: Piece) -> bool:
    """Whether the piece is left to its fallback in this epoch: an execution before this one did so, or found it so."""
    if piece.step.fallback is None or piece.first:
        return False
    return handed_over(piece, piece.ref.epoch, await _since(services, piece)) is not None


async def _since(services: Services, piece: Piece) -> list[Event]:
    """What was said of it after its view was read."""
    after = piece.view.events[-1].version if piece.view.events else 0
    read = services.log.aread(piece.ref.run, after_version=after, steps=(piece.step.id,), types=_TELLING)
    return [event async for event in read if event.index == piece.index]
