"""The retries that all steps of one run may use together, counted in the log, so that all processes share them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from muster.errors import RetriesExhausted
from muster.events import keys
from muster.events.payloads.work import OfRetry, StepRetried
from muster.execution.overtaken import Overtaken
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.stopping import Stopped, has_closed, why_stopped
from muster.execution.work_item import WorkItem


async def write_retried(services: Services, work_item: WorkItem, said: OfRetry, limit: int | None) -> None:
    """Write that an attempt failed and another follows, unless the run has ended or begins nothing any more.

    Raises:
        Overtaken: the execution of the run has ended; this process was taken for dead, and makes no other attempt.
        Stopped: the run was cancelled or is being undone; the work item is skipped. Not raised for a compensation.
        ConcurrencyError: an event of no step was written meanwhile; call this again.
        RetriesExhausted: the run's budget is used up; the step fails.
    """
    # The version is read first. In the other order: the run looks open, it is closed, the version is read, and the
    # append goes through: a closed run would show an attempt that still follows.
    version = await services.log.aversion(work_item.ref.run)
    if await has_closed(services, work_item.ref):
        raise Overtaken(f"{work_item.ref.run} has ended: no attempt at {work_item.key} follows.")
    if not work_item.undoes and (skip := await why_stopped(services, work_item.ref)) is not None:
        raise Stopped(skip)
    await spend(services, work_item.ref, limit, said, expected=version)


async def spend(
    services: Services, ref: WorkRef, limit: int | None, said: OfRetry, *, expected: int | None = None
) -> None:
    """Write that an attempt failed and another follows, if the run's budget allows one more.

    Each retry takes one numbered key of the stream. If two processes want the same number, the log gives it to the
    first and the other takes the next one: the budget cannot be overspent, and nothing is locked.

    If `said` has a `mark`, the event is written once, however often this is called: call it again after a lost answer.

    Args:
        limit: The retries that the run may use; None for no limit.

    Raises:
        ConcurrencyError: an event of no step has come after the version `expected`; nothing was written.
        RetriesExhausted: the budget is used up; nothing was written.
    """
    if limit is None:
        key = None if said.mark is None else keys.retried(said.mark, ref.epoch)
        await services.log.aappend(ref.run, [said.event(key=key)], expected=expected, within=())
        return
    # An append under a taken key returns the stored event. Its content may be sealed or redacted, so only the mark
    # tells whether it is ours.
    marked, used = replace(said, mark=said.mark or uuid4().hex), await _used(services, ref)
    if marked.mark in used:
        return
    # The count may be outdated as soon as it is read, because another process retries as well. The keys decide; the
    # count only skips numbers that are known to be taken.
    for number in range(len(used), limit):
        event = marked.event(key=keys.retried(number + 1, ref.epoch))
        stored = await services.log.aappend(ref.run, [event], expected=expected, within=())
        if type(said).of(stored[0]).mark == marked.mark:
            return
    raise RetriesExhausted(
        f"The run has used all {limit} retries of its budget; the last attempt failed: {said.error.message}",
        remedy="Mend the cause and restart the step, which begins with a full budget, or raise `budget.retries`.",
    )


async def _used(services: Services, ref: WorkRef) -> list[str | None]:
    """The marks of the retries that this execution of the run has used of its budget."""
    # An event without a key was written without a limit, for a compensation or a lost lease: it costs nothing.
    events = services.log.aread(ref.run, types=[StepRetried.type])
    return [StepRetried.of(event).mark async for event in events if event.key is not None and event.epoch == ref.epoch]
