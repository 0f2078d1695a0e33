"""Which execution of a run this is: the first, or a later one after its tasks were cleared.

Airflow counts how often a run was cleared, but does not tell the triggerer. What both lanes know is when the
run was started last; each time it was is an epoch, numbered in the log.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime

from muster.events import canonical
from muster.events.model import Event, EventType, NewEvent
from muster.execution.references import OPENED
from muster.execution.services import Services

_epochs: OrderedDict[tuple[str, str, str], int] = OrderedDict()
EPOCHS_KEPT = 512
RECONCILER = "reconciler"
"""The actor of what the reconciler does about a run."""


async def epoch_of(services: Services, run: str, started: datetime | None) -> int:
    """The epoch of the execution that Airflow started at `started`, counted from 0.

    What is cleared while its run still goes on belongs to the same execution, and keeps its outcome.
    """
    if started is None:
        return 0
    at = instant(started)
    known = (services.database.dsn, run, at)
    if known not in _epochs:
        _epochs[known] = await _epoch(services, run, at)
        while len(_epochs) > EPOCHS_KEPT:
            _epochs.popitem(last=False)
    return _epochs[known]


def latest_epoch(begun: Iterable[Event]) -> int:
    """The epoch of the last execution, from a run's `run.begun` events."""
    return max((int(event.data["epoch"]) for event in begun), default=0)


def instant(at: datetime) -> str:
    """An instant as the log keeps it: the same text in every process."""
    return canonical.instant(at.astimezone(UTC))


async def _epoch(services: Services, run: str, at: str) -> int:
    key = f"begun/{at}"
    found = await services.log.aunder_keys(run, [OPENED, key])
    if key in found:
        return int(found[key].data["epoch"])
    if OPENED not in found or found[OPENED].data.get("started") in (at, None):
        return 0
    return await begin_epoch(services, run, key, at)


async def begin_epoch(services: Services, run: str, key: str, started: str) -> int:
    """The number of the execution that is written under `key`: the next one when it is new."""
    if (found := (await services.log.aunder_keys(run, [key])).get(key)) is not None:
        return int(found.data["epoch"])
    kinds = [EventType.RUN_BEGUN, EventType.RUN_RESTARTED]
    before = [event async for event in services.log.aread(run, types=kinds)]
    latest = latest_epoch(event for event in before if event.type == EventType.RUN_BEGUN)
    # Restarted where it died, it is the same execution: what has ended in it is not done again.
    same = bool(before) and bool(before[-1].data.get("keeps"))
    # Of several tasks that begin at once the first one's event stands for all.
    data = {"epoch": latest if same else latest + 1, "started": started}
    begun = NewEvent(type=EventType.RUN_BEGUN, data=data, key=key)
    return int((await services.log.aappend(run, [begun]))[0].data["epoch"])
