"""Group commit for coroutines: requests under one key that meet are performed as one, such as appends to a stream."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from muster.errors import TransientError

R = TypeVar("R")
A = TypeVar("A")

WOKEN_AT_ONCE = 8
"""How many callers are answered before the event loop has its turn. An answered caller goes on at once, so everything
else in the loop would wait for a thousand that are answered together."""
GROUP_LIMIT = 1_000
"""How much is performed as one at most, unless a single request brings more: of appends, events in a transaction."""


@dataclass
class _Waiting(Generic[R, A]):
    request: R
    answer: asyncio.Future[A]


class Coalescer(Generic[R, A]):
    """Collects requests that arrive while the last group of their key is under way, then performs them as one.

    What answers a request was begun after the request had arrived.
    """

    def __init__(
        self, perform: Callable[[str, Sequence[R]], Awaitable[list[A]]], size: Callable[[R], int] = lambda _: 1
    ) -> None:
        self._perform, self._size = perform, size
        # By loop, because a future belongs to one: callers of two loops are never performed together.
        self._waiting: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, list[_Waiting[R, A]]]] = (
            weakref.WeakKeyDictionary()
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, stream: str, request: R) -> A:
        """The request's own outcome; of an append, after its transaction committed.

        A caller that is cancelled stops waiting; its request may be performed all the same.
        """
        loop = asyncio.get_running_loop()
        streams = self._waiting.setdefault(loop, {})
        answer: asyncio.Future[A] = loop.create_future()
        if stream in streams:
            streams[stream].append(_Waiting(request, answer))
        else:
            streams[stream] = [_Waiting(request, answer)]
            # Not the caller's own task: others depend on it when the caller is cancelled.
            task = loop.create_task(self._flush(streams, stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _flush(self, streams: dict[str, list[_Waiting[R, A]]], stream: str) -> None:
        group: list[_Waiting[R, A]] = []
        try:
            # Nothing is awaited between finding nobody waiting and the `pop` below, so no request can join a list that
            # nobody performs any more.
            while group := self._take(streams[stream]):
                await self._write(stream, group)
        finally:
            # For the case that this task is cancelled: nobody else would ever answer those who wait.
            for caller in [*group, *streams.pop(stream)]:
                if not caller.answer.done():
                    caller.answer.cancel()

    async def _write(self, stream: str, group: Sequence[_Waiting[R, A]]) -> None:
        try:
            outcomes = await self._perform(stream, [caller.request for caller in group])
        except Exception as error:
            # A lost database is told to all of them. It may have committed before it was lost: tried again one by one,
            # events without a key would be written twice.
            if len(group) > 1 and not isinstance(error, TransientError):
                # Somebody's events were refused: apart, each caller meets its own error only.
                for caller in group:
                    await self._write(stream, [caller])
                return
            for caller in group:
                if not caller.answer.done():
                    caller.answer.set_exception(error)
            return
        for number, (caller, outcome) in enumerate(zip(group, outcomes, strict=True), 1):
            if not caller.answer.done():
                caller.answer.set_result(outcome)
            if number % WOKEN_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _take(self, waiting: list[_Waiting[R, A]]) -> list[_Waiting[R, A]]:
        """Remove and return the next group, without the callers that gave up."""
        group: list[_Waiting[R, A]] = []
        size = 0
        while waiting and (not group or size + self._size(waiting[0].request) <= GROUP_LIMIT):
            caller = waiting.pop(0)
            if not caller.answer.done():
                group.append(caller)
                size += self._size(caller.request)
        return group
