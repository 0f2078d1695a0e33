"""A step's own retries: the same in both lanes, with every attempt in the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from muster.errors import PermanentError, TransientError
from muster.language.definition import ResolvedRetry

T = TypeVar("T")
Recorder = Callable[[int, BaseException, float], Awaitable[None]]
"""Called with the attempt that failed, its error, and the seconds until the next one."""


def may_pass(error: BaseException) -> bool:
    """True when trying again can help: everything but what is permanent by its kind."""
    return isinstance(error, Exception) and not isinstance(error, PermanentError)


def delay_before(retry: ResolvedRetry, attempt: int, error: BaseException | None) -> float:
    """Seconds to wait after `attempt` (1, 2, …): exponential, capped, and never less than asked for."""
    wait = min(retry.delay * retry.backoff ** (attempt - 1), retry.max_delay)
    asked = error.retry_after if isinstance(error, TransientError) else None
    return max(wait, asked or 0.0)


async def with_retries(retry: ResolvedRetry, work: Callable[[], Awaitable[T]], record: Recorder) -> T:
    """Run `work` until it succeeds, fails permanently, or `retry.times` retries are used up.

    Raises:
        Exception: what the last attempt raised.
    """
    if retry.times == 0:
        return await work()

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return delay_before(retry, state.attempt_number, error)

    async def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            await record(state.attempt_number, error, wait(state))

    attempts = AsyncRetrying(
        stop=stop_after_attempt(retry.times + 1),
        wait=wait,
        retry=retry_if_exception(may_pass),
        before_sleep=before_sleep,
        reraise=True,
    )
    return await attempts(work)
