"""Many work items side by side in one task instance, within bounds; and many processes at one log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from muster.errors import ConcurrencyError

T = TypeVar("T")

ASYNC_AT_ONCE = 1_000
"""Work items that wait for something outside at the same time."""
THREADS_AT_ONCE = (os.cpu_count() or 2) + 2
"""Work items that use a thread at the same time."""


async def at_once(jobs: Sequence[Callable[[], Awaitable[T]]], *, threads: bool) -> list[T]:
    """Run all jobs and return their results in the order of the jobs.

    Args:
        threads: Each job blocks a thread, so only `THREADS_AT_ONCE` of them run at the same time.

    Raises:
        BaseException: the error of the first job, by position, that raised; only after all jobs have ended.
    """
    gate = asyncio.Semaphore(THREADS_AT_ONCE if threads else ASYNC_AT_ONCE)

    async def one(job: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await job()

    # If one job raises, wait for the rest before the error goes on: Airflow may start the task again at once, and that
    # retry would find jobs of this one still running on the same items.
    results = await asyncio.gather(*(one(job) for job in jobs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def undisturbed(decide: Callable[[], Awaitable[T]]) -> T:
    """Call `decide` until nothing was written between its read and its write, and return its result.

    `decide` reads the version of the log, decides, and appends with that version as `expected`.
    """
    # No limit is needed: an append is refused only because another one came through, so some process always gets on.
    while True:
        with suppress(ConcurrencyError):
            return await decide()
