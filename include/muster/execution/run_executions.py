"""Which execution of a run this is: the first, or a later one after its tasks were cleared.

Airflow counts how often a run was cleared, but does not tell the triggerer. Both lanes know when the run was started
last: each such start is an epoch, numbered in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from muster.bounded_cache import BoundedCache
from muster.events import canonical, keys
from muster.events.keys import OPENED
from muster.events.lifecycle import LIFECYCLE_EVENTS, RunLifecycle
from muster.events.model import Event
from muster.events.payloads.runs import RunBegun, RunOpened
from muster.execution.concurrency import undisturbed
from muster.execution.rerun_scope import preserved_steps_of
from muster.execution.services import Services
from muster.execution.view import definition_of

_epochs: BoundedCache[tuple[str, str, str], Epoch] = BoundedCache(512)
RECONCILER = "reconciler"
"""The actor of what the reconciler does about a run."""


@dataclass(frozen=True)
class Epoch:
    """The number of an execution, counted from 0, and the steps that it leaves as they were."""

    number: int
    preserved_steps: frozenset[str] = frozenset()


async def epoch_of(services: Services, run: str, started: datetime | None) -> Epoch:
    """The epoch of the execution that Airflow started at `started`; begins a new one when that start is new.

    A task that is cleared while its run still goes on belongs to the same execution, and keeps its outcome.
    """
    if started is None:
        return Epoch(0)
    at = instant(started)
    known = (services.database.dsn, run, at)
    # Kept without asking the log again: the number of a start never changes.
    if (epoch := _epochs.get(known)) is None:
        epoch = _epochs[known] = await _epoch(services, run, at)
    return epoch


def instant(at: datetime) -> str:
    """An instant as the log keeps it: the same text in every process."""
    return canonical.instant(at.astimezone(UTC))


async def _epoch(services: Services, run: str, at: str) -> Epoch:
    key = keys.begun(at)
    events = await services.log.aunder_keys(run, [OPENED, key])
    if key in events:
        return _of(events[key])
    if OPENED not in events or RunOpened.of(events[OPENED]).started in (at, None):
        return Epoch(0)
    return await begin_epoch(services, run, key, at)


async def begin_epoch(
    services: Services, run: str, key: str, started: str | None, *, undone_with: str | None = None
) -> Epoch:
    """The execution that is written under `key`; writes the next one when there is none yet.

    Args:
        started: The instant at which Airflow started it; None for a child that is undone together with its parent.
        undone_with: The run that asked for this one and is undone with it.
    """
    return await undisturbed(partial(_begin, services, run, key, started, undone_with))


async def _begin(services: Services, run: str, key: str, started: str | None, undone_with: str | None) -> Epoch:
    # The version is read first. Two executions with different keys that begin at the same moment would else take one
    # number: with the version the second append is refused, and that execution counts from the first.
    version = await services.log.aversion(run)
    if (begun := (await services.log.aunder_keys(run, [key])).get(key)) is not None:
        return _of(begun)
    definition = await definition_of(services, run)
    last = RunLifecycle.of([event async for event in services.log.aread(run, types=LIFECYCLE_EVENTS)]).last
    # No order waits for this execution, and none died: so a person has cleared tasks in Airflow by hand. Airflow alone
    # knows which steps are done again.
    by_hand = not last.is_awaited
    preserved_steps = None if by_hand or not last.epoch else preserved_steps_of(definition, last)
    said = RunBegun(
        epoch=last.epoch + by_hand,
        started=started,
        preserved_steps=None if preserved_steps is None else sorted(preserved_steps),
        undone_with=undone_with,
    )
    # Several tasks of one execution begin at once: under the same key the first one's event counts for all.
    return _of((await services.log.aappend(run, [said.event(key=key)], expected=version, within=()))[0])


def _of(begun: Event) -> Epoch:
    said = RunBegun.of(begun)
    return Epoch(said.epoch, frozenset(said.preserved_steps or ()))
