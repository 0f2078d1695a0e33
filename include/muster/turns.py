"""Turns at something of which there is not enough for all: so many at a time, whoever asked first."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait

from muster.errors import PermanentError

LOOK = 0.5
"""Seconds between two looks at whether a thread that waits for its turn still has to."""


class Turns:
    """So many turns for the threads and coroutines of one process; safe to keep across a fork."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lines: dict[int, _Line] = {}

    def take(self, ensure_wanted: Callable[[], object]) -> None:
        """Wait for a turn, without a limit; `give_back` it.

        `ensure_wanted` is called now and then meanwhile: it raises when nobody waits for this thread any more.

        Raises:
            PermanentError: none is free, and a coroutine asks: those who have one could not go on to give it back.
        """
        line = self._line()
        turn = line.ask()
        try:
            if not turn.done() and _runs_a_loop():
                raise PermanentError(
                    "A coroutine has asked for a connection in a way that stops all others while it waits.",
                    remedy="Write `async with context.database.aconnection()` in an `async def`.",
                )
            while not turn.done():
                ensure_wanted()
                wait([turn], LOOK)
        except BaseException:
            line.leave(turn)
            raise

    async def atake(self) -> None:
        """`take` for coroutines, which can be cancelled."""
        line = self._line()
        turn = line.ask()
        try:
            if not turn.done():
                await asyncio.wrap_future(turn)
        except BaseException:
            line.leave(turn)
            raise

    def give_back(self) -> None:
        """Let the next one have its turn."""
        self._line().next()

    def _line(self) -> _Line:
        # As the pools: a forked child has nobody to wait for, and would inherit a lock that may be held.
        return self._lines.get(os.getpid()) or self._lines.setdefault(os.getpid(), _Line(self._size))


def _runs_a_loop() -> bool:
    """True in a thread whose event loop runs: what waits here, everything in it waits for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Line:
    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def ask(self) -> Future[None]:
        """A turn, which is there once it is done."""
        turn = Future[None]()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set_result(None)
            else:
                self._waiting.append(turn)
        return turn

    def leave(self, turn: Future[None]) -> None:
        """Wait for it no more; one that was granted in this moment is somebody else's."""
        if not turn.cancel():
            self.next()

    def next(self) -> None:
        """Grant the turn that has come back."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._free += 1
