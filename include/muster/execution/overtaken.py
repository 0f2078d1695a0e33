"""What becomes of an execution of a piece of work whose place a later one has taken."""

from __future__ import annotations

import asyncio
import time

from muster.errors import TransientError
from muster.events.model import Event, EventType
from muster.execution.piece import Piece
from muster.execution.services import Services
from muster.recovery.heartbeats import heartbeat

PATIENCE = 300.0
"""Seconds that it waits for the end of the later one or its next sign of life: a few heartbeats."""
LOOK = 1.0
"""Seconds between looks at it."""


class Overtaken(TransientError):
    """Another process has begun the same work since: this one has no ending, as if its process had died."""


async def ending_by_another(services: Services, piece: Piece, error: Overtaken) -> Event:
    """How the piece ended in the process that has begun it since, however long that takes while it is alive.

    Raises:
        Overtaken: it does not end there, and nobody is at it: it is performed again here.
    """
    over = (EventType.SAGA_UNWINDING, EventType.RUN_CLOSED)
    until, sign = time.monotonic() + PATIENCE, None
    while time.monotonic() < until:
        # Asked for first: an ending that came before it is found below.
        since = services.log.aread(piece.ref.run, after_version=piece.execution, steps=(), types=over)
        is_over = [event async for event in since]
        found = await services.log.aunder_keys(piece.ref.run, [piece.ended_key])
        if piece.ended_key in found:
            return found[piece.ended_key]
        if is_over:
            # It was a compensation that took its place, or whoever closed the run: there will be no ending.
            break
        # Who took over from one that lives would be overtaken by it in turn, and so on, where the work takes longer.
        if (seen := await heartbeat(services.database, piece.work, after=piece.execution)) != sign:
            until, sign = time.monotonic() + PATIENCE, seen
        await asyncio.sleep(LOOK)
    raise error
