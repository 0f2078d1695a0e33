"""A person's wish that a run goes no further."""

from __future__ import annotations

from collections.abc import Iterator

from muster.errors import PermanentError
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.state import fold

AGAIN = (EventType.RUN_RESTARTED, EventType.DEAD_LETTER_REDRIVEN)
"""A person's word that a run that has ended is done again."""


def request_cancel(log: EventLog, run: str, *, by: str, reason: str | None = None) -> None:
    """Write that the run is to be cancelled: steps that have not begun skip themselves, and what was done is undone.

    Raises:
        PermanentError: the run is not there, or it has ended.
    """
    events = list(log.read(run, types=[EventType.RUN_OPENED, EventType.RUN_CLOSED, *AGAIN]))
    state = fold(events)
    again = [event.version for event in events if event.type in AGAIN]
    if state.status == "unknown":
        raise PermanentError(f"There is no run {run}.", remedy="`muster runs` lists them.")
    # What is done again is under way, whatever the run ended as before.
    if state.status != "open" and not (again and events[-1].version == again[-1]):
        raise PermanentError(f"{run} has ended ({state.status}): nothing is left to cancel.")
    event = NewEvent(
        type=EventType.RUN_CANCEL_REQUESTED,
        data={"reason": reason},
        actor=by,
        key=f"cancel@{len(again)}" if again else "cancel",
    )
    log.append(run, [event])


def open_children(log: EventLog, run: str) -> Iterator[str]:
    """The runs that a run has asked for and that are open, each followed by its own."""
    for event in log.read(run, types=[EventType.CHILD_REQUESTED]):
        child = event.data["child"]
        if fold(log.read(child, types=[EventType.RUN_OPENED, EventType.RUN_CLOSED])).status == "open":
            yield child
            yield from open_children(log, child)
