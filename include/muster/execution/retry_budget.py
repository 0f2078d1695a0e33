"""The retries that all steps of one run may use together, counted in the log, so that all processes share them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from muster.errors import RetriesExhausted
from muster.events import keys
from muster.events.payloads.work import OfRetry, StepRetried
from muster.execution.references import WorkRef
from muster.execution.services import Services


async def spend(
    services: Services, ref: WorkRef, limit: int | None, said: OfRetry, *, expected: int | None = None
) -> None:
    """Write that an attempt failed and another follows, if the run's budget allows one more.

    Each retry takes one numbered key of the stream. Of two processes that want the same one, the log gives it to
    the first, and the other takes the next: the budget cannot be overspent, and nothing is locked.

    Raises:
        ConcurrencyError: something that belongs to no step has come after the version `expected`.
        RetriesExhausted: the budget is used up; nothing was written.
    """
    if limit is None:
        await services.log.aappend(ref.run, [said.event()], expected=expected, within=())
        return
    # What is stored may be sealed or redacted, so our own event is known by a mark and not by what it says.
    marked = replace(said, mark=uuid4().hex)
    for number in range(await _used(services, ref), limit):
        event = marked.event(key=keys.retried(number + 1, ref.epoch))
        stored = await services.log.aappend(ref.run, [event], expected=expected, within=())
        if type(said).of(stored[0]).mark == marked.mark:
            return
    raise RetriesExhausted(
        f"The run has used all {limit} retries of its budget; the last attempt failed: {said.error.message}",
        remedy="Mend the cause and restart the step, which begins with a full budget, or raise `budget.retries`.",
    )


async def _used(services: Services, ref: WorkRef) -> int:
    """How many retries the run has used since a person last restarted it: those without a key cost nothing."""
    events = services.log.aread(ref.run, types=[StepRetried.type])
    return len([event async for event in events if event.key is not None and event.epoch == ref.epoch])
