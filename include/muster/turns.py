"""Turns at something scarce: so many at a time, in the order in which they were asked for."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait

from muster.errors import PermanentError

LOOK = 0.5
"""Seconds between two calls of `ensure_wanted` while a thread waits for its turn."""


class Turns:
    """So many turns for the threads and coroutines of one process; safe to keep across a fork."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lines: dict[int, _Line] = {}

    def take(self, ensure_wanted: Callable[[], object]) -> None:
        """Wait for a turn, without a limit; `give_back` it.

        `ensure_wanted` is called every `LOOK` seconds meanwhile: it raises when nobody waits for this thread any more,
        and the thread leaves the queue.

        Raises:
            PermanentError: none is free, and a coroutine asks. It would block the loop of those that have a turn.
        """
        line = self._line()
        turn = line.ask()
        try:
            # The coroutines that have the turns run in the loop of this thread: blocked here, none could give one back.
            if not turn.done() and _runs_a_loop():
                raise PermanentError(
                    "A coroutine has asked for a connection in a way that stops all others while it waits.",
                    remedy="Write `async with context.database.aconnection()` in an `async def`.",
                )
            while not turn.done():
                ensure_wanted()
                wait([turn], LOOK)
        except BaseException:
            # Whatever the error is: a turn that nobody takes would be one less for as long as the process lives.
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
    """True in a thread whose event loop runs: while this thread waits, every coroutine of the loop waits."""
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
        """Wait for it no more; a turn that was granted in this moment goes to the next one who waits."""
        # Cancelling fails when `next` has granted the turn since the waiter gave up: nobody else would give it back.
        if not turn.cancel():
            self.next()

    def next(self) -> None:
        """Grant the turn that has come back."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                # False for a waiter that has left. After True `cancel` fails, so a leaving waiter passes it on.
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._free += 1
