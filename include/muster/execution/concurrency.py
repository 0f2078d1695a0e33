"""Many pieces of work side by side in one task instance, within bounds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

ASYNC_AT_ONCE = 1_000
"""Pieces that wait for something outside at the same time."""
THREADS_AT_ONCE = (os.cpu_count() or 2) + 2
"""Pieces that use a thread at the same time."""


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
