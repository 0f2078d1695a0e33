"""Group commit for coroutines: appends to one stream that meet share one transaction."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from muster.errors import TransientError
from muster.events.batch import Outcome, Request

GROUP_LIMIT = 1_000
"""Events in one transaction at most, unless a single request brings more."""

Perform = Callable[[str, Sequence[Request]], Awaitable[list[Outcome]]]


@dataclass
class _Waiting:
    request: Request
    answer: asyncio.Future[Outcome]


class Coalescer:
    """Collects what arrives while the last transaction of the stream is under way, then writes it as one."""

    def __init__(self, perform: Perform) -> None:
        self._perform = perform
        self._waiting: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, list[_Waiting]]] = (
            weakref.WeakKeyDictionary()
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, stream: str, request: Request) -> Outcome:
        """The request's own outcome, after its transaction committed.

        A caller that is cancelled stops waiting; its events may be written all the same.
        """
        loop = asyncio.get_running_loop()
        streams = self._waiting.setdefault(loop, {})
        answer: asyncio.Future[Outcome] = loop.create_future()
        if stream in streams:
            streams[stream].append(_Waiting(request, answer))
        else:
            streams[stream] = [_Waiting(request, answer)]
            # Not the caller's own task: others depend on it when the caller is cancelled.
            task = loop.create_task(self._flush(streams, stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _flush(self, streams: dict[str, list[_Waiting]], stream: str) -> None:
        group: list[_Waiting] = []
        try:
            while group := _take(streams[stream]):
                await self._write(stream, group)
        finally:
            for each in [*group, *streams.pop(stream)]:
                if not each.answer.done():
                    each.answer.cancel()

    async def _write(self, stream: str, group: Sequence[_Waiting]) -> None:
        try:
            outcomes = await self._perform(stream, [each.request for each in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, TransientError):
                # Somebody's events were refused: apart, each caller meets its own error only.
                for each in group:
                    await self._write(stream, [each])
                return
            for each in group:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        for each, outcome in zip(group, outcomes, strict=True):
            if not each.answer.done():
                each.answer.set_result(outcome)


def _take(waiting: list[_Waiting]) -> list[_Waiting]:
    """Remove and return the next group, without the callers that gave up."""
    group: list[_Waiting] = []
    size = 0
    while waiting and (not group or size + len(waiting[0].request.events) <= GROUP_LIMIT):
        each = waiting.pop(0)
        if not each.answer.done():
            group.append(each)
            size += len(each.request.events)
    return group
