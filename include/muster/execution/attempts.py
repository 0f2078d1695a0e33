"""A work item from its beginning to its end: its attempts, its fallback, and how that is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

from muster.errors import DatabaseLost, ErrorClass, Final, PermanentError, SetAside
from muster.events.model import Event, NewEvent
from muster.events.payloads.base import RecordedError, message_of
from muster.events.payloads.work import OfRetry, StepRetried, StepStarted
from muster.events.sealing import ForgottenMeanwhile, ensure_still_known
from muster.events.tampering import TamperedLog
from muster.execution.concurrency import undisturbed
from muster.execution.conversations import bad_answers, conversation_of
from muster.execution.handing_over import has_fallen_back
from muster.execution.locking import under_lock
from muster.execution.overtaken import AHEAD_BEAT, Overtaken, ending_by_another
from muster.execution.references import StepNotInScope
from muster.execution.retry_budget import write_retried
from muster.execution.retrying import with_retries
from muster.execution.services import Services
from muster.execution.stopping import Stopped, ensure_may_begin, has_closed, why_held_back
from muster.execution.work_item import Action, ActionResult, WorkItem
from muster.failures import classify, took_too_long
from muster.recovery.attempts import Superseded, attempting
from muster.recovery.heartbeats import beating
from muster.recovery.holding import acheck_held
from muster.recovery.leases import LeaseLost
from muster.recovery.ledger import Ledger

T = TypeVar("T")


async def finish(services: Services, work_item: WorkItem, act: Action, fall_back: Action) -> Event:
    """Perform a started work item with its retries and fallback, and write how it ended.

    The ending is idempotent: when another execution of the same work ended first, its ending is
    returned and this one's is dropped.

    Raises:
        DatabaseLost, ForgottenMeanwhile: the work has no ending, as if its process had died; perform it again.
    """
    try:
        # Around the waits for locks and retries as well: whoever was overtaken by this execution would else take it for
        # dead.
        every = AHEAD_BEAT if work_item.ref.ahead else None
        with beating(services.database, work_item.work, work_item.execution, every=every):
            ending = await _ending(services, work_item, act, fall_back)
    except Overtaken as error:
        return await ending_by_another(services, work_item, error)
    return await written(work_item, ending, lambda event: services.log.aappend(work_item.ref.run, [event]))


async def written(work_item: WorkItem, ending: NewEvent, append: Callable[[NewEvent], Awaitable[list[Event]]]) -> Event:
    """Write how a work item ended; one whose output the log cannot hold has failed."""
    try:
        return (await append(ending))[0]
    except TamperedLog:
        raise
    except PermanentError as error:
        return (await append(work_item.failed(error)))[0]


async def _ending(services: Services, work_item: WorkItem, act: Action, fall_back: Action) -> NewEvent:
    try:
        # Asked after `step.started` is written; the other side of this is in `_hand_over`.
        if not await has_fallen_back(services, work_item):
            try:
                # A work item without a lock was asked for when it began, a moment ago.
                ends = partial(_conclude, services, work_item)
                return work_item.succeeded(
                    await attempts(services, work_item, act, asked=not work_item.step.lock, ends=ends)
                )
            except Exception as error:
                await _hand_over(services, work_item, error)
        work_item = replace(work_item, falls_back=True)
        ends = partial(_conclude, services, work_item, fallback=True)
        return work_item.succeeded(await attempts(services, work_item, fall_back, ends=ends), fallback=True)
    except SetAside as error:
        return work_item.set_aside(error)
    except Stopped as error:
        return work_item.skipped(error.skip.reason)
    except (DatabaseLost, ForgottenMeanwhile, TamperedLog, Overtaken, StepNotInScope):
        raise
    except Exception as error:
        return work_item.failed(error)


async def _conclude(services: Services, work_item: WorkItem, answer: ActionResult, *, fallback: bool = False) -> None:
    """Write that it came through while its locks are held, so that whoever gets them next does not do it again."""
    if work_item.step.lock:
        await services.log.aappend(work_item.ref.run, [work_item.succeeded(answer, fallback=fallback)])


async def attempts(
    services: Services,
    work_item: WorkItem,
    act: Callable[[Services, WorkItem], Awaitable[T]],
    retried: type[OfRetry] = StepRetried,
    *,
    asked: bool = False,
    ends: Callable[[T], Awaitable[None]] | None = None,
) -> T:
    """What `act` answers, after the step's retries; each attempt that failed is written down as `retried`.

    Before each attempt it is asked whether it may still begin, but for a first one when that was `asked` a moment ago.
    `ends` is given the answer while the step's locks are held.

    Raises:
        Stopped: the run begins nothing any more.
        Overtaken: another process has begun the same work since.
        Exception: what the last attempt raised.
    """

    fresh = bad_answers(work_item)
    asked_in = await conversation_of(services, replace(work_item, fresh=fresh))
    waits = not (asked or work_item.falls_back or work_item.undoes)

    async def once() -> T:
        nonlocal asked, waits
        if not asked:
            await _ensure_due(services, work_item)
        if waits and (skip := await why_held_back(services, work_item, waits=True)) is not None:
            raise Stopped(skip)
        asked = waits = False
        limit = asyncio.timeout(work_item.step.timeout)
        try:
            # The limit is within the attempt: what it cuts off is revoked before another attempt begins, and waiting
            # for an earlier one to end takes none of the time.
            async with _attempt_at(services, work_item), limit:
                given = replace(work_item, fresh=fresh, asked_in=asked_in)
                if services.intercept is not None:
                    answer = cast("T", await services.intercept(given, lambda: act(services, given)))
                else:
                    answer = await act(services, given)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise took_too_long(work_item.step.timeout) from error
        if ends is not None:
            # Where a lock was lost meanwhile the answer does not count.
            await acheck_held()
            await ends(answer)
        return answer

    async def record(attempt: int, error: BaseException, delay: float) -> None:
        nonlocal fresh
        kind = classify(error)
        fresh += kind == ErrorClass.BAD_OUTPUT
        cause = RecordedError.of(error)
        said = retried(**work_item.place, attempt=attempt, error=cause, delay=delay, class_=kind.value)
        # A compensation is never given up for the sake of a budget, nor work that was no failure of its own.
        unlimited = work_item.undoes or isinstance(error, LeaseLost)
        limit = None if unlimited else work_item.view.definition.retries
        await undisturbed(partial(write_retried, services, work_item, said, limit))

    work = under_lock(services, work_item, once, record, partial(_ensure_due, services, work_item))
    try:
        return await with_retries(work_item.step.retry, work, record, rng=services.rng)
    except Superseded as error:
        raise Overtaken(error.message) from error


async def _ensure_due(services: Services, work_item: WorkItem) -> None:
    """While this execution waited for a lock, or between two attempts, another one may have come to its end.

    Raises:
        Stopped: the run begins nothing any more.
        StepNotInScope: the execution of the run has ended.
        Superseded: it has come to its end; or what was to be undone was not by the time the run was closed.
        ForgottenMeanwhile: what is in memory is not to be gone on with.
    """
    # A compensation is what a run that begins nothing any more still does, until it is closed.
    if not work_item.undoes:
        await ensure_may_begin(services, work_item.ref)
    else:
        await ensure_still_known(services.log.aseals)
        if await has_closed(services, work_item.ref):
            raise Superseded(f"{work_item.ref.run} has ended: nothing of {work_item.key} is undone any more.")
    if await services.log.aunder_keys(work_item.ref.run, [work_item.ended_key]):
        raise Superseded(f"{work_item.key} has ended in another process.")


def _attempt_at(services: Services, work_item: WorkItem) -> AbstractAsyncContextManager[object]:
    """One attempt at a work item, as the body; its fallback and its compensation are attempts at the same work."""
    # The first execution of all has nobody to refuse, and is spared the write. A later one writes its number before it
    # does anything: what the one before it has not committed by then is refused.
    number = next(work_item.numbers)
    return attempting(
        services.database,
        run=work_item.ref.run,
        work=work_item.work,
        execution=work_item.execution,
        number=number,
        seizes=not work_item.first and number == 1,
    )


async def _hand_over(services: Services, work_item: WorkItem, error: Exception) -> None:
    """Leave the work item to its fallback, and write why: whoever goes on with it goes on there.

    Raises:
        Exception: `error`, when no fallback takes its place.
        Final: what the work item began has happened, or may have: the fallback would do it a second time.
        Overtaken: another process has begun the same work since.
    """
    if work_item.step.fallback is None or isinstance(error, _NEVER_HANDED_OVER):
        raise error
    if (outside := await Ledger(services.database).aoutside(work_item.view.id, work_item.effect_key)) is not None:
        # Under the fallback's own key the ledger would let it happen once more.
        untried = f"so the fallback of {work_item.key} was not tried."
        remedy = "Mend what failed and restart the step: what has happened is not repeated."
        raise outside.keeps(untried, remedy, before=f"{message_of(error)} ") from error
    await services.log.aappend(work_item.ref.run, [work_item.fell_back(RecordedError.of(error))])
    # After the writing: who begins the same work writes that first, and looks then whether it was left to the fallback.
    # So of two at the same moment one sees the other, and what comes first is not done beside its fallback. Who began
    # before the writing, and after the ledger was asked, may have done it since: then what is written does not count.
    kinds = (StepStarted.type,)
    since = services.log.aread(
        work_item.ref.run, after_version=work_item.execution, steps=(work_item.step.id,), types=kinds
    )
    if any([event.index == work_item.index async for event in since]):
        raise Overtaken(f"Another process has begun {work_item.key} since.")


_NEVER_HANDED_OVER = (SetAside, Final, DatabaseLost, TamperedLog, Overtaken, StepNotInScope)
"""Errors that no fallback is an answer to."""
