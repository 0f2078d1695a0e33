"""A person's wish that a run goes no further."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from muster.errors import ConcurrencyError, PermanentError
from muster.events import keys
from muster.events.lifecycle import LIFECYCLE_EVENTS, REPEAT_ORDERS, RunLifecycle
from muster.events.log import EventLog
from muster.events.payloads.runs import RunCancelRequested
from muster.events.payloads.work import ChildRequested
from muster.events.state import fold
from muster.runs.children import is_child


def request_cancel(log: EventLog, run: str, *, by: str, reason: str | None = None) -> None:
    """Write that the run is to be cancelled: steps that have not begun skip themselves, and what was done is undone.

    Raises:
        PermanentError: the run is not there, or it has ended.
    """
    # Decided by what is read, and anew where the run has ended, or was begun again, since.
    while True:
        with suppress(ConcurrencyError):
            return _request_cancel(log, run, by, reason)


def _request_cancel(log: EventLog, run: str, by: str, reason: str | None) -> None:
    version = log.version(run)
    events = list(log.read(run, types=LIFECYCLE_EVENTS))
    state = fold(events)
    again = [event.version for event in events if event.type in REPEAT_ORDERS]
    if state.status == "unknown":
        raise PermanentError(f"There is no run {run}.", remedy="`muster runs` lists them.")
    if not RunLifecycle.of(events).performs_steps:
        raise PermanentError(f"{run} has ended ({state.status}): nothing is left to cancel.")
    said = RunCancelRequested(reason=reason).event(actor=by, key=keys.cancel(len(again)))
    # What steps have written since says nothing about it.
    log.append(run, [said], expected=version, within=())


def open_children(log: EventLog, run: str) -> Iterator[str]:
    """The runs below a run, asked for by it or by those it has asked for, that are open or done again."""
    for event in log.read(run, types=[ChildRequested.type]):
        said = ChildRequested.of(event)
        child, events = said.child, list(log.read(said.child, types=LIFECYCLE_EVENTS))
        if events and not is_child(fold(events), run, said.step, said.index):
            # Somebody else has started it by that name.
            continue
        if RunLifecycle.of(events).performs_steps:
            yield child
        # Below one that has ended a person may have had another done again.
        yield from open_children(log, child)
