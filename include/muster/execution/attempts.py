"""A work item from its beginning to its end: its attempts, its fallback, and how that is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import NoReturn, TypeVar, cast

from muster.errors import DatabaseLost, ErrorClass, Final, PermanentError, SetAside
from muster.events.failures import lost_if_refused
from muster.events.model import Event, NewEvent
from muster.events.payloads.base import RecordedError, message_of
from muster.events.payloads.work import OfRetry, StepRetried
from muster.events.sealing import ForgottenMeanwhile, ensure_still_known
from muster.events.tampering import TamperedLog
from muster.execution.concurrency import undisturbed
from muster.execution.conversations import bad_answers, conversation_of
from muster.execution.handing_over import has_fallen_back
from muster.execution.locking import under_lock
from muster.execution.overtaken import AHEAD_BEAT, Overtaken, ending_by_another, ensure_not_overtaken, is_watched
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

    The ending has an idempotency key. If another execution of the same work ended first, that ending is returned and
    this one is dropped. If another process has taken the work over, its ending is waited for and returned.

    Raises:
        DatabaseLost, ForgottenMeanwhile: no ending was written, as after a crash; perform the work again.
        Overtaken: the process that took the work over wrote no ending and gives no sign of life; perform it again.
    """
    try:
        # Beat also while this execution waits for a lock or between two attempts. The execution whose place it took
        # watches the heartbeat; if the beat stopped during a wait, that one would do the work again beside this one.
        every = AHEAD_BEAT if is_watched(work_item) else None
        with beating(services.database, work_item.ref.run, work_item.work, work_item.execution, every=every):
            ending = await _ending(services, work_item, act, fall_back)
    except Overtaken as error:
        return await ending_by_another(services, work_item, error)
    return await written(work_item, ending, partial(_append, services, work_item))


async def written(work_item: WorkItem, ending: NewEvent, append: Callable[[NewEvent], Awaitable[list[Event]]]) -> Event:
    """Write how a work item ended, and return the stored event.

    If the log cannot hold the output, `step.failed` is written under the same key instead.

    Raises:
        DatabaseLost: the database has not stored it.
    """
    with lost_if_refused():
        try:
            return (await append(ending))[0]
        except TamperedLog:
            raise
        except PermanentError as error:
            # An error that escapes here reaches `perform`, which takes it for one from before the work began and fails
            # the step as a whole: the output of one item would fail its whole list.
            return (await append(work_item.failed(error)))[0]


async def _ending(services: Services, work_item: WorkItem, act: Action, fall_back: Action) -> NewEvent:
    try:
        # Read after `step.started` is written, the reverse order of `_hand_over`: an earlier process that hands over at
        # the same moment is seen here, or it sees this start. So the step never runs beside its fallback.
        if not await has_fallen_back(services, work_item):
            with suppress(_HandedOver):
                # `_start` asked a moment ago whether the work may begin. Only the wait for a lock lets the run be
                # cancelled or closed in between, so only with a lock is it asked again.
                return await _attempted(services, work_item, act, asked=not work_item.step.lock)
        return await _attempted(services, replace(work_item, falls_back=True), fall_back)
    except Exception as error:
        if (ending := _ended_by(work_item, error)) is None:
            raise
        return ending


async def _attempted(services: Services, work_item: WorkItem, act: Action, *, asked: bool = False) -> NewEvent:
    """Make the attempts at the step, or at its fallback, and return the success; with a lock the ending is written."""

    # Both are called while the leases are held, and write the ending of a work item with a lock; without one `finish`
    # writes it. Written after the release, the ending would not be there yet when the next holder looks for it: another
    # execution of this work would do it twice, and an item would begin although another one has failed (`failures`).
    async def ends(answer: ActionResult) -> None:
        await _conclude(services, work_item, work_item.succeeded(answer, fallback=work_item.falls_back))

    async def gives_up(error: Exception) -> None:
        try:
            if isinstance(error, Stopped):
                # In a wait this process may have been taken for dead: what another one does is not skipped here.
                await ensure_not_overtaken(services, work_item)
            if work_item.falls_back:
                raise error
            await _hand_over(services, work_item, error)
        except Exception as final:
            await _conclude(services, work_item, _ended_by(work_item, final))
            raise

    answer = await attempts(services, work_item, act, asked=asked, ends=ends, gives_up=gives_up)
    return work_item.succeeded(answer, fallback=work_item.falls_back)


async def _conclude(services: Services, work_item: WorkItem, ending: NewEvent | None) -> None:
    if work_item.step.lock and ending is not None:
        await written(work_item, ending, partial(_append, services, work_item))


async def _append(services: Services, work_item: WorkItem, ending: NewEvent) -> list[Event]:
    if work_item.growing is not None:
        return await work_item.growing.append(services, work_item, ending)
    return await services.log.aappend(work_item.ref.run, [ending])


def _ended_by(work_item: WorkItem, error: Exception) -> NewEvent | None:
    """The event that a work item ended with this error; None when the error does not say how it ended."""
    if isinstance(error, SetAside):
        return work_item.set_aside(error)
    if isinstance(error, Stopped):
        return work_item.skipped(error.skip.reason)
    # `step.failed` would take the key of the ending, and the outcome of whoever performs the work next, or does it
    # already, would be dropped.
    silent = DatabaseLost | ForgottenMeanwhile | TamperedLog | Overtaken | Superseded | StepNotInScope | _HandedOver
    if isinstance(error, silent):
        return None
    return work_item.failed(error)


async def attempts(
    services: Services,
    work_item: WorkItem,
    act: Callable[[Services, WorkItem], Awaitable[T]],
    retried: type[OfRetry] = StepRetried,
    *,
    asked: bool = False,
    ends: Callable[[T], Awaitable[None]] | None = None,
    gives_up: Callable[[Exception], Awaitable[None]] | None = None,
) -> T:
    """Call `act` with the step's timeout and retries, and return its result.

    Each failed attempt that another one follows is written to the log as a `retried` event.

    Args:
        asked: The caller has just checked that the work may begin, so the first attempt skips that check.
        ends: Called with the result while the step's locks are still held.
        gives_up: Called with the error after which no attempt follows, also while they are held, unless they could not
            be had or were lost. What it raises is raised in place of that.

    Raises:
        Stopped: the run begins nothing any more; the work item is skipped.
        Overtaken: another process has begun the same work, or the execution has ended; nothing is to be written.
        Exception: the error of the last attempt, once it may not be retried.
    """

    # Recorded answers are found by a key that counts the conversations that came to nothing. With the old count a
    # retry would be given the very answer that was of no use.
    fresh, failures = bad_answers(work_item), 0
    asked_in = await conversation_of(services, replace(work_item, fresh=fresh))
    # True for an item that waits for a lock before its first attempt. Its `step.started` may be older than another
    # item's failure, although it has done nothing yet: so `failures: stop` is asked again when it has the lock.
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
            async with _held_to_the_end(), _attempt_at(services, work_item), limit:
                given = replace(work_item, fresh=fresh, asked_in=asked_in, failures=failures)
                if services.intercept is not None:
                    answer = cast("T", await services.intercept(given, lambda: act(services, given)))
                else:
                    answer = await act(services, given)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise took_too_long(work_item.step.timeout) from error
        if ends is not None:
            with lost_if_refused():
                await ends(answer)
        return answer

    async def record(attempt: int, error: BaseException, delay: float) -> None:
        nonlocal fresh, failures
        kind = classify(error)
        failures += 1
        fresh += kind == ErrorClass.BAD_OUTPUT
        cause = RecordedError.of(error)
        said = retried(**work_item.place, attempt=attempt, error=cause, delay=delay, class_=kind.value)
        # A compensation must not stop for want of budget: the run would be left half undone. A lost lease is not the
        # step's failure, so it costs the run none of its retries.
        unlimited = work_item.undoes or isinstance(error, LeaseLost)
        limit = None if unlimited else work_item.view.definition.retries
        with lost_if_refused():
            await undisturbed(partial(write_retried, services, work_item, said, limit))

    def within(work: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        return under_lock(services, work_item, work, record, partial(_ensure_due, services, work_item))

    retry = work_item.step.retry
    try:
        return await with_retries(retry, once, record, rng=services.rng, within=within, gives_up=gives_up)
    except Superseded as error:
        raise Overtaken(error.message) from error


async def _ensure_due(services: Services, work_item: WorkItem) -> None:
    """Check before an attempt that the work is still to be done here.

    While this execution waited for a lock or for its next attempt, another one may have ended the work.

    Raises:
        Stopped: the run begins nothing any more.
        StepNotInScope: the execution of the run has ended.
        Superseded: another process has written the ending; or the run was closed before this compensation was done.
        ForgottenMeanwhile: the person whom the run is about was forgotten, so the data in memory may not be used.
    """
    # A run that is cancelled or being undone begins no step, but its compensations go on until it is closed.
    if not work_item.undoes:
        await ensure_may_begin(services, work_item.ref)
    else:
        await ensure_still_known(services.log.aseals)
        if await has_closed(services, work_item.ref):
            raise Superseded(f"{work_item.ref.run} has ended: nothing of {work_item.key} is undone any more.")
    if await services.log.aunder_keys(work_item.ref.run, [work_item.ended_key]):
        raise Superseded(f"{work_item.key} has ended in another process.")
    # A lease that is lost while the hand-over is written leads back to here.
    step_itself = not (work_item.undoes or work_item.falls_back)
    if step_itself and await has_fallen_back(services, replace(work_item, first=False)):
        raise _HandedOver(f"{work_item.key} is left to its fallback.")


@asynccontextmanager
async def _held_to_the_end() -> AsyncIterator[None]:
    """What comes of the body counts only if the leases of the work are still held at its end."""
    # A lease that ran out meanwhile may have let another holder in: then neither a success nor a failure counts, and
    # the work is done again under a new lease.
    try:
        yield
    except LeaseLost:
        raise
    except Exception:
        await _ensure_held()
        raise
    await _ensure_held()


async def _ensure_held() -> None:
    # A refusal of this read says nothing about the work, but without an answer what came of it cannot count.
    with lost_if_refused():
        await acheck_held()


def _attempt_at(services: Services, work_item: WorkItem) -> AbstractAsyncContextManager[object]:
    """One attempt at a work item, as the body; its fallback and its compensation are attempts at the same work."""
    # The first execution of all has no earlier one to fence off, and is spared the write. A later one writes its number
    # before it does anything: a stalled earlier process that wakes up and commits after that is refused. Without it,
    # that commit could land beside the same work done here.
    number = next(work_item.numbers)
    return attempting(
        services.database,
        run=work_item.ref.run,
        work=work_item.work,
        execution=work_item.execution,
        number=number,
        seizes=not work_item.first and number == 1,
    )


async def _hand_over(services: Services, work_item: WorkItem, error: Exception) -> NoReturn:
    """Write `step.fell_back` with the error, so that a process that takes over goes on with the fallback.

    Raises:
        _HandedOver: it is written.
        Exception: `error` itself, when the step has no fallback or the error allows none.
        Final: an outside effect of the work item has happened, or may have; the fallback would do it a second time.
        Overtaken: another process has begun the same work since; this execution does nothing more.
        DatabaseLost: it is not written.
    """
    if work_item.step.fallback is None or isinstance(error, _NEVER_HANDED_OVER):
        raise error
    if (outside := await Ledger(services.database).aoutside(work_item.view.id, work_item.effect_key)) is not None:
        # The fallback's effects have keys of their own, so the ledger could not see that it does the same thing again.
        untried = f"so the fallback of {work_item.key} was not tried."
        remedy = "Mend what failed and restart the step: what has happened is not repeated."
        raise outside.keeps(untried, remedy, before=f"{message_of(error)} ") from error
    with lost_if_refused():
        await services.log.aappend(work_item.ref.run, [work_item.fell_back(RecordedError.of(error))])
    # Read after the write, the reverse order of a process that begins the same work: it writes `step.started` first and
    # looks for `step.fell_back` then. So of two at the same moment one sees the other, and the step is not done beside
    # its fallback. A process that began after the ledger was asked may have acted since: then the hand-over is void.
    await ensure_not_overtaken(services, work_item)
    raise _HandedOver(f"{work_item.key} is left to its fallback.") from error


class _HandedOver(Final):
    """The step is left to its fallback, which does the work now."""


_NEVER_HANDED_OVER = (SetAside, Final, DatabaseLost, TamperedLog, Overtaken, StepNotInScope)
"""Errors after which no fallback is tried: they are final, or the work is set aside, out of scope or done elsewhere, or
the database is lost or the log altered."""
