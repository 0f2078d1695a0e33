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
    """The results of all jobs, in their order; `threads` says that each of them blocks a thread.

    When one raises, the others come to their end first: whoever does all of it again must not meet them.
    """
    gate = asyncio.Semaphore(THREADS_AT_ONCE if threads else ASYNC_AT_ONCE)

    async def one(job: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await job()

    results = await asyncio.gather(*(one(job) for job in jobs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def undisturbed(decide: Callable[[], Awaitable[T]]) -> T:
    """What is decided by the log: anew when something was written between what it read and what it writes.

    `decide` appends with the version `expected` that it has read.
    """
    # Without a limit: who is refused here was refused because another append came through, so somebody always gets on.
    while True:
        with suppress(ConcurrencyError):
            return await decide()
