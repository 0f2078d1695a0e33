"""The retries that all steps of one run may use together, counted in the log, so that all processes share them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from muster.errors import RetriesExhausted
from muster.events.model import EventType, NewEvent
from muster.execution.references import WorkRef
from muster.execution.services import Services


async def spend(services: Services, ref: WorkRef, limit: int | None, data: Mapping[str, Any]) -> None:
    """Write `step.retried`, if the run's budget allows one more.

    Each retry takes one numbered key of the stream. Of two processes that want the same one, the log gives it to
    the first, and the other takes the next: the budget cannot be overspent, and nothing is locked.

    Raises:
        RetriesExhausted: the budget is used up; nothing was written.
    """
    if limit is None:
        await services.log.aappend(ref.run, [NewEvent(type=EventType.STEP_RETRIED, data=data)])
        return
    # What is stored may be sealed or redacted, so our own event is known by a mark and not by what it says.
    marked = {**data, "mark": uuid4().hex}
    for number in range(await _used(services, ref), limit):
        event = NewEvent(type=EventType.STEP_RETRIED, data=marked, key=f"retry/{number + 1}@{ref.epoch}")
        if (await services.log.aappend(ref.run, [event]))[0].data.get("mark") == marked["mark"]:
            return
    raise RetriesExhausted(
        f"The run has used all {limit} retries of its budget; the last attempt failed: {data['error']['message']}",
        remedy="Mend the cause and restart the step, which begins with a full budget, or raise `budget.retries`.",
    )


async def _used(services: Services, ref: WorkRef) -> int:
    """How many retries the run has used since a person last restarted it: those without a key cost nothing."""
    events = services.log.aread(ref.run, types=[EventType.STEP_RETRIED])
    return len([event async for event in events if event.key is not None and event.data["epoch"] == ref.epoch])
