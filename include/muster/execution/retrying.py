"""A step's own retries: the same in both lanes, with every attempt in the log."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from muster.errors import DatabaseLost, ErrorClass
from muster.failures import asked_to_wait, classify
from muster.language.resolved import ResolvedClassRetry, ResolvedRetry
from muster.recovery.leases import LeaseLost

T = TypeVar("T")
Recorder = Callable[[int, BaseException, float], Awaitable[None]]
"""Called with the attempt that failed, its error, and the seconds until the next one."""

NEVER = frozenset({ErrorClass.AUTH, ErrorClass.BAD_REQUEST, ErrorClass.PERMANENT})
"""Failures that are not repeated unless the step's `retry.on` asks for it."""
AT_ONCE = frozenset({ErrorClass.BAD_OUTPUT})
"""Failures that waiting does nothing for."""
_LARGEST_POWER = 1_000
"""Keeps `backoff ** n` a finite number."""


def is_final(error: BaseException) -> bool:
    """True when a failure is not repeated unless the step's `retry.on` asks for it."""
    return classify(error) in NEVER


class RetryState:
    """Counts the failures of one work item and draws the waits between its attempts. Never share it between items."""

    def __init__(self, retry: ResolvedRetry, rng: random.Random) -> None:
        self._retry = retry
        self._rng = rng
        self._failures: Counter[ErrorClass | None] = Counter()
        self.delay: float = 0.0
        """Seconds until the next attempt, after `may_go_on` has said yes."""

    def may_go_on(self, error: BaseException) -> bool:
        """Count a failure; False when the work is not to be tried again.

        A class with `times` of its own counts for itself, the others together.
        """
        kind = classify(error)
        own = self._retry.on.get(kind.value)
        counted = kind if own is not None and own.times is not None else None
        self._failures[counted] += 1
        if not isinstance(error, Exception) or self._failures[counted] > self._times(kind, own):
            return False
        self.delay = self._wait(kind, own, self._failures[counted], asked_to_wait(error))
        return True

    def _times(self, kind: ErrorClass, own: ResolvedClassRetry | None) -> int:
        if own is not None and own.times is not None:
            return own.times
        return 0 if kind in NEVER else self._retry.times

    def _wait(self, kind: ErrorClass, own: ResolvedClassRetry | None, failures: int, asked: float | None) -> float:
        """Full jitter, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, never over the limit.

        A wait that the other side asked for (`Retry-After`) is kept in full, and a random part is added: else all the
        callers that it sent away would come back at the same moment.
        """
        delay, backoff, limit = self._retry.delay, self._retry.backoff, self._retry.max_delay
        if own is not None:
            delay = delay if own.delay is None else own.delay
            backoff = backoff if own.backoff is None else own.backoff
            limit = limit if own.max_delay is None else own.max_delay
        if kind in AT_ONCE and (own is None or own.delay is None):
            delay = 0.0
        if asked is not None:
            return min(asked + self._rng.uniform(0.0, delay), limit)
        return self._rng.uniform(0.0, min(delay * _power(backoff, failures - 1), limit))


class _Judged(Exception):
    """A failed attempt of which it is decided what follows."""

    def __init__(self, error: Exception, delay: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.delay = delay
        """Seconds until the next attempt; None when there is none, and `error` is raised."""


async def with_retries(
    retry: ResolvedRetry,
    work: Callable[[], Awaitable[T]],
    record: Recorder,
    *,
    rng: random.Random,
    within: Callable[[Callable[[], Awaitable[T]]], Callable[[], Awaitable[T]]] | None = None,
    gives_up: Callable[[Exception], Awaitable[None]] | None = None,
) -> T:
    """Run `work` until it succeeds, fails for good, or its retries are used up; return its result.

    Args:
        record: Called before each wait; it refuses the retry by raising.
        within: Wraps each attempt, for example in locks. What follows a failed attempt is decided within, so `record`
            and `gives_up` are called while the locks are held; an error of the locks themselves is decided after them.
        gives_up: Called with the error after which no attempt follows; what it raises is raised in place of that.

    Raises:
        Exception: what the last attempt, `record` or `gives_up` raised.
    """
    patience, numbers = RetryState(retry, rng), itertools.count(1)

    async def judge(error: Exception) -> _Judged:
        try:
            # A lost database is no failed attempt. Judged as one, an error of the budget or of `record` would take its
            # place, and a fallback do a second time what has been done and could only not be written.
            if isinstance(error, DatabaseLost) or not patience.may_go_on(error):
                raise error
            # Before the wait, not after it: a process that dies while it waits has left the failed attempt in the log.
            await record(next(numbers), error, patience.delay)
        except Exception as refused:
            last = refused
        else:
            return _Judged(error, patience.delay)
        try:
            if gives_up is not None:
                await gives_up(last)
        except Exception as instead:
            last = instead
        return _Judged(last, None)

    async def attempt() -> T:
        try:
            return await work()
        except LeaseLost:
            raise  # Nothing is decided without the lock: `within` makes the attempt again, or gives it up.
        except Exception as error:
            raise await judge(error) from error

    attempted = attempt if within is None else within(attempt)
    while True:
        try:
            return await attempted()
        except _Judged as known:
            judged = known
        except Exception as error:
            judged = await judge(error)
        if judged.delay is None:
            raise judged.error
        await asyncio.sleep(judged.delay)


def _power(base: float, exponent: int) -> float:
    try:
        return float(base ** min(exponent, _LARGEST_POWER))
    except OverflowError:
        return float("inf")
