"""One piece of work, a step or one item of a fan-out: from `started` to how it ended."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

from muster.errors import DatabaseLost, ErrorClass, Final, PermanentError, SetAside
from muster.events import keys
from muster.events.model import Event, NewEvent
from muster.events.payloads.base import OfWork, Place, RecordedError, message_of
from muster.events.payloads.work import (
    OfRetry,
    StepFailed,
    StepFellBack,
    StepRetried,
    StepSetAside,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from muster.events.tampering import TamperedLog
from muster.execution.concurrency import undisturbed
from muster.execution.conversations import bad_answers, conversation_of
from muster.execution.locking import under_lock
from muster.execution.overtaken import Overtaken, ending_by_another
from muster.execution.references import LeftAsItWas, WorkRef
from muster.execution.retry_budget import spend
from muster.execution.retrying import with_retries
from muster.execution.services import Services
from muster.execution.stopping import Stopped, ensure_may_begin, has_closed
from muster.execution.view import RunView
from muster.failures import classify, took_too_long
from muster.language.definition import ResolvedStep
from muster.recovery.attempts import Superseded, attempting
from muster.recovery.heartbeats import beating
from muster.recovery.holding import acheck_held
from muster.recovery.leases import LeaseLost
from muster.recovery.ledger import Ledger, OutcomeUnknown, Outside


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What an action is given to work on."""

    view: RunView
    step: ResolvedStep
    ref: WorkRef
    index: int | None
    variables: Mapping[str, Any]
    """Everything its expressions may name, `item` and `index` included."""
    undoes: bool = False
    """True when the work is to undo the piece."""
    execution: int = 0
    """Version of the event that this execution of the work began with; 0 before that."""
    first: bool = True
    """True when no other execution of the work has ever begun."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), compare=False)
    """The numbers of its attempts, those of its fallback included."""
    falls_back: bool = False
    """True when its fallback does the work."""
    fresh: int = 0
    """How often an agent has to be asked afresh: what it answered before could not be used."""
    asked_in: int = 0
    """The epoch whose conversation with an agent is gone on with."""

    @property
    def key(self) -> str:
        """The idempotency key within the run."""
        return keys.work_key(self.step.id, self.index)

    @property
    def place(self) -> Place:
        """What every event about it says."""
        return {"step": self.step.id, "index": self.index, "epoch": self.ref.epoch}

    @property
    def work(self) -> str:
        """What attempts at it are known by."""
        return f"{self.ref.run}/{self.key}"

    @property
    def effect_key(self) -> str:
        """The key of what it does outside the log: another one once it has been undone."""
        result = self.view.state.step(self.step.id)
        work = result.whole if self.index is None else result.items.get(self.index)
        undone = work.undone if work is not None else 0
        return f"{self.view.id}/{self.key}" + (f"~{undone}" if undone else "")

    @property
    def fell_back_key(self) -> str:
        """The key of the event that its fallback has taken over, once per epoch."""
        return self.fell_back_in(self.ref.epoch)

    def fell_back_in(self, epoch: int) -> str:
        """`fell_back_key` of another epoch."""
        return keys.fell_back(self.key, epoch)

    @property
    def ended_key(self) -> str:
        """The key of the event that ends it: once per epoch, or once for each execution of the work that is undone."""
        if self.undoes:
            return keys.undone(self.key, self.view.state.step(self.step.id).work(self.index).epoch)
        return keys.ended(self.key, self.ref.epoch)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an action came back with."""

    output: Any
    """JSON-ready."""
    output_type: Any = None
    """How to hydrate it: a type by name, a JSON Schema, `skill:<name>`, or None for plain data."""
    produced_by: str = "rules"


T = TypeVar("T")
Action = Callable[[Services, Piece], Awaitable[Answer]]


def started(piece: Piece, begins: str, key: str | None) -> NewEvent:
    """The event that work on the piece begins: after it, an unknown outcome counts as started."""
    ref, kind = piece.ref, piece.step.kind
    said = StepStarted(**piece.place, kind=kind, lane=ref.lane, attempt=ref.attempt, begins=begins)
    return said.event(key=key, actor=_actor(piece))


def fell_back(piece: Piece, error: RecordedError) -> NewEvent:
    """The event that its fallback takes over, after an error."""
    return StepFellBack(**piece.place, error=error).event(key=piece.fell_back_key)


async def finish(services: Services, piece: Piece, act: Action, fall_back: Action) -> Event:
    """Perform a started piece with its retries and fallback, and write how it ended.

    The ending is idempotent: when another execution of the same work ended first, its ending is
    returned and this one's is dropped.

    Raises:
        DatabaseLost: the work has no ending, as if its process had died; perform it again.
    """
    try:
        with beating(services.database, piece.work, piece.execution):
            ending = await _ending(services, piece, act, fall_back)
    except Overtaken as error:
        return await ending_by_another(services, piece, error)
    return await written(piece, ending, lambda event: services.log.aappend(piece.ref.run, [event]))


async def written(piece: Piece, ending: NewEvent, append: Callable[[NewEvent], Awaitable[list[Event]]]) -> Event:
    """Write how a piece ended; one whose output the log cannot hold has failed."""
    try:
        return (await append(ending))[0]
    except TamperedLog:
        raise
    except PermanentError as error:
        return (await append(failed(piece, error)))[0]


async def _ending(services: Services, piece: Piece, act: Action, fall_back: Action) -> NewEvent:
    try:
        if not await _has_fallen_back(services, piece):
            try:
                # A piece without a lock was asked for when it began, a moment ago.
                ends = partial(_conclude, services, piece)
                return succeeded(piece, await attempts(services, piece, act, asked=not piece.step.lock, ends=ends))
            except Exception as error:
                await _hand_over(services, piece, error)
        piece = replace(piece, falls_back=True)
        ends = partial(_conclude, services, piece, fallback=True)
        return succeeded(piece, await attempts(services, piece, fall_back, ends=ends), fallback=True)
    except SetAside as error:
        return _set_aside(piece, error)
    except Stopped as error:
        return skipped(piece, error.skip.reason)
    except (DatabaseLost, TamperedLog, Overtaken, LeftAsItWas):
        raise
    except Exception as error:
        return failed(piece, error)


async def _conclude(services: Services, piece: Piece, answer: Answer, *, fallback: bool = False) -> None:
    """Write that it came through while its locks are held, so that whoever gets them next does not do it again."""
    if piece.step.lock:
        await services.log.aappend(piece.ref.run, [succeeded(piece, answer, fallback=fallback)])


def succeeded(piece: Piece, answer: Answer, *, fallback: bool = False) -> NewEvent:
    """The event that the piece came through."""
    said = StepSucceeded(
        **piece.place,
        output=answer.output,
        output_type=answer.output_type,
        produced_by=answer.produced_by,
        fallback=fallback,
    )
    return _ending_of(piece, said)


def failed(piece: Piece, error: BaseException) -> NewEvent:
    """The event that the piece failed for good."""
    return _ending_of(piece, StepFailed(**piece.place, error=RecordedError.of(error)))


def failed_as_a_whole(ref: WorkRef, error: BaseException) -> NewEvent:
    """The event that a step failed before any piece of it began."""
    said = StepFailed(step=ref.step, index=None, epoch=ref.epoch, error=RecordedError.of(error))
    return said.event(key=keys.ended(ref.step, ref.epoch))


def skipped(piece: Piece, reason: str) -> NewEvent:
    """The event that the piece was not done; `reason` is one of Muster's own, which decide about what comes after."""
    return _ending_of(piece, StepSkipped(**piece.place, reason=reason))


def skipped_itself(piece: Piece, words: str) -> NewEvent:
    """The event that an Airflow operator skipped itself, in words of its own.

    They stand behind Muster's: an operator that says "rejected" or "cancelled" is not what Muster means by it.
    """
    return skipped(piece, "the operator skipped itself" + (f": {words}" if words else ""))


async def attempts(
    services: Services,
    piece: Piece,
    act: Callable[[Services, Piece], Awaitable[T]],
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

    fresh = bad_answers(piece)
    asked_in = await conversation_of(services, replace(piece, fresh=fresh))

    async def once() -> T:
        nonlocal asked
        if not asked:
            await _ensure_due(services, piece)
        asked = False
        limit = asyncio.timeout(piece.step.timeout)
        try:
            async with _attempt_at(services, piece), limit:
                given = replace(piece, fresh=fresh, asked_in=asked_in)
                if services.intercept is not None:
                    answer = cast("T", await services.intercept(given, lambda: act(services, given)))
                else:
                    answer = await act(services, given)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise took_too_long(piece.step.timeout) from error
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
        said = retried(**piece.place, attempt=attempt, error=cause, delay=delay, class_=kind.value)
        # A compensation is never given up for the sake of a budget, nor work that was no failure of its own.
        unlimited = piece.undoes or isinstance(error, LeaseLost)
        limit = None if unlimited else piece.view.definition.retries
        await undisturbed(partial(_retried, services, piece, said, limit))

    work = under_lock(services, piece, once, record, partial(_ensure_due, services, piece))
    try:
        return await with_retries(piece.step.retry, work, record, rng=services.rng)
    except Superseded as error:
        raise Overtaken(error.message) from error


async def _retried(services: Services, piece: Piece, said: OfRetry, limit: int | None) -> None:
    """Write that an attempt failed and another follows, unless the execution of the run has ended meanwhile.

    Raises:
        Overtaken: it has: its process was taken for dead.
        RetriesExhausted: the run's budget is used up.
    """
    version = await services.log.aversion(piece.ref.run)
    if await has_closed(services, piece.ref):
        raise Overtaken(f"{piece.ref.run} has ended: no attempt at {piece.key} follows.")
    await spend(services, piece.ref, limit, said, expected=version)


async def _ensure_due(services: Services, piece: Piece) -> None:
    """While this execution waited for a lock, or between two attempts, another one may have come to its end.

    Raises:
        Stopped: the run begins nothing any more.
        LeftAsItWas: the execution of the run has ended.
        Superseded: it has come to its end; or what was to be undone was not by the time the run was closed.
    """
    # A compensation is what a run that begins nothing any more still does, until it is closed.
    if not piece.undoes:
        await ensure_may_begin(services, piece.ref)
    elif await has_closed(services, piece.ref):
        raise Superseded(f"{piece.ref.run} has ended: nothing of {piece.key} is undone any more.")
    if await services.log.aunder_keys(piece.ref.run, [piece.ended_key]):
        raise Superseded(f"{piece.key} has ended in another process.")


def _attempt_at(services: Services, piece: Piece) -> AbstractAsyncContextManager[object]:
    """One attempt at a piece, as the body; its fallback and its compensation are attempts at the same work."""
    number = next(piece.numbers)
    return attempting(
        services.database,
        run=piece.ref.run,
        work=piece.work,
        execution=piece.execution,
        number=number,
        seizes=not piece.first and number == 1,
    )


async def _has_fallen_back(services: Services, piece: Piece) -> bool:
    """Whether the piece is left to its fallback in this epoch: an execution before this one did so, or found it so."""
    if piece.step.fallback is None or piece.first:
        return False
    return bool(await services.log.aunder_keys(piece.ref.run, [piece.fell_back_key]))


async def _hand_over(services: Services, piece: Piece, error: Exception) -> None:
    """Leave the piece to its fallback, and write why: whoever goes on with it goes on there.

    Raises:
        Exception: `error`, when no fallback takes its place.
        Final: what the piece began has happened, or may have: the fallback would do it a second time.
        Overtaken: another process has begun the same work since.
    """
    if piece.step.fallback is None or isinstance(error, _NEVER_HANDED_OVER):
        raise error
    if (outside := await Ledger(services.database).aoutside(piece.view.id, piece.effect_key)) is not None:
        raise _kept_from_its_fallback(piece, error, outside) from error
    await services.log.aappend(piece.ref.run, [fell_back(piece, RecordedError.of(error))])
    # After the writing: who begins the same work writes that first, and looks then whether it was left to the fallback.
    # So of two at the same moment one sees the other, and what comes first is not done beside its fallback.
    kinds = (StepStarted.type,)
    since = services.log.aread(piece.ref.run, after_version=piece.execution, steps=(piece.step.id,), types=kinds)
    if any([event.index == piece.index async for event in since]):
        raise Overtaken(f"Another process has begun {piece.key} since.")


def _kept_from_its_fallback(piece: Piece, error: Exception, outside: Outside) -> Final:
    untried = f"so the fallback of {piece.key} was not tried."
    if outside.status == "done":
        # Under the fallback's own key the ledger would let it happen once more.
        return Final(
            f"{message_of(error)} {outside.key!r} has happened, {untried}",
            remedy="Mend what failed and restart the step: what has happened is not repeated.",
        )
    return OutcomeUnknown.of(outside.key, f"{message_of(error)} Whether {outside.key!r} happened is unknown, {untried}")


_NEVER_HANDED_OVER = (SetAside, Final, DatabaseLost, TamperedLog, Overtaken, LeftAsItWas)
"""Errors that no fallback is an answer to."""


def _set_aside(piece: Piece, error: SetAside) -> NewEvent:
    """Outside a fan-out there are no other items to go on with, so the step fails."""
    if piece.index is None:
        return failed(piece, error)
    findings = [finding.model_dump(mode="json") for finding in error.findings]
    return _ending_of(piece, StepSetAside(**piece.place, findings=findings, error=RecordedError.of(error)))


def _ending_of(piece: Piece, said: OfWork) -> NewEvent:
    return said.event(key=piece.ended_key, actor=_actor(piece))


def _actor(piece: Piece) -> str:
    """The agent that does the work, else Muster itself."""
    return piece.step.agent or "muster"
