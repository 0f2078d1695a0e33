"""Which execution of a run this is: the first, or a later one after its tasks were cleared.

Airflow counts how often a run was cleared, but does not tell the triggerer. What both lanes know is when the
run was started last; each time it was is an epoch, numbered in the log.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime

from muster.events.model import EventType, NewEvent
from muster.execution.references import OPENED
from muster.execution.services import Services

_epochs: OrderedDict[tuple[str, str, str], int] = OrderedDict()
EPOCHS_KEPT = 512


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


def instant(at: datetime) -> str:
    """An instant as the log keeps it: the same text in every process."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


async def _epoch(services: Services, run: str, at: str) -> int:
    key = f"begun/{at}"
    found = await services.log.aunder_keys(run, [OPENED, key])
    if key in found:
        return int(found[key].data["epoch"])
    if OPENED not in found or found[OPENED].data.get("started") in (at, None):
        return 0
    before = [event async for event in services.log.aread(run, types=[EventType.RUN_BEGUN])]
    # Of several tasks that begin at once the first one's event stands for all.
    begun = NewEvent(type=EventType.RUN_BEGUN, data={"epoch": len(before) + 1, "started": at}, key=key)
    return int((await services.log.aappend(run, [begun]))[0].data["epoch"])
