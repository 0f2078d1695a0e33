"""Requests of a person to cancel a run."""

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
from muster.runs.parents import is_child


def request_cancel(log: EventLog, run: str, *, by: str, reason: str | None = None) -> None:
    """Write that the run is to be cancelled: steps that have not begun are skipped, and work that was done is undone.

    Raises:
        PermanentError: there is no such run, or it has ended; nothing was written.
    """
    # If the run is closed, or begun again, between the read and the append, the append is refused and the request is
    # decided anew. Otherwise a person would be told "cancelled" of a run that has just succeeded.
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
    # The key counts the orders to do the run again: a run that was cancelled once can be cancelled again after one, and
    # two requests about the same execution are one.
    said = RunCancelRequested(reason=reason).event(actor=by, key=keys.cancel(len(again)))
    # `within=()`: events of steps may have come since and do not refuse this; only events of the run itself do.
    log.append(run, [said], expected=version, within=())


def open_children(log: EventLog, run: str) -> Iterator[str]:
    """The ids of runs that this run, or one below it, has asked for, and that are open or done again."""
    for event in log.read(run, types=[ChildRequested.type]):
        said = ChildRequested.of(event)
        child, events = said.child, list(log.read(said.child, types=LIFECYCLE_EVENTS))
        if events and not is_child(fold(events), run, said.step, said.index):
            # A stranger has started a run under the child's name: it is not this run's to cancel.
            continue
        if RunLifecycle.of(events).performs_steps:
            yield child
        # Look below a child that has ended, too: a person may have had one of its own children done again.
        yield from open_children(log, child)
