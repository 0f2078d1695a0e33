"""How a process says that it lives: in a thread and on a connection of its own, never waited for without a limit."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import psycopg

from muster.database import network_limits


def say(dsn: str, sql: str, values: Mapping[str, object], seconds: float) -> list[tuple[Any, ...]]:
    """The rows that the statement gives back.

    A connection of its own, because the work that takes so long may hold all of the pool's. It is cut when the answer
    takes longer than `seconds`: a network may confirm what it swallows, which no setting of TCP finds out.

    Raises:
        psycopg.Error: it was not done, or nobody knows.
    """
    options: dict[str, Any] = {**network_limits(dsn), "connect_timeout": max(2, math.ceil(seconds))}
    with psycopg.connect(dsn, autocommit=True, **options) as connection:
        limit = threading.Timer(seconds, _cut, [connection.fileno()])
        limit.start()
        try:
            # In one round trip, which is one transaction: the limit is the statement's only, and no session's.
            with connection.pipeline():
                connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds * 1000:.0f}ms"])
                cursor = connection.execute(sql, values)
            return cursor.fetchall()
        finally:
            limit.cancel()
            # Before the connection is closed: a timer that fires after that would cut whatever has been opened since
            # under the same number.
            limit.join()


def _cut(number: int) -> None:
    # A duplicate, because closing this socket would close the number that libpq goes on using. A shutdown reaches both.
    with socket.socket(fileno=os.dup(number)) as same:
        same.shutdown(socket.SHUT_RDWR)


class Lasting(Protocol):
    """What is under way in this process, of which others are told again and again that it goes on."""

    dsn: str
    due: float
    """When they are told next, on the monotonic clock."""


L = TypeVar("L", bound=Lasting)


class Teller(Generic[L]):
    """A thread of this process that tells others of all that is under way here.

    A thread, because work may block the thread or the event loop that performs it; one for all, started with the first.

    Args:
        name: The thread's.
        tell: Tells of what is due in one database, and sets when each is due next. What it raised would end the thread.
    """

    def __init__(self, name: str, tell: Callable[[str, list[L]], None]) -> None:
        self._name, self._tell = name, tell
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        # In a forked child as well: it has no such thread, and a lock that may have been held at that moment.
        self._changed = threading.Condition()
        self._under_way: set[L] = set()
        self._thread: threading.Thread | None = None

    def add(self, work: L) -> None:
        """Tell of it from when it is due."""
        with self._changed:
            self._under_way.add(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            # The thread sleeps until what it knew to be due first: work that is due before that wakes it.
            elif work.due <= min(other.due for other in self._under_way):
                self._changed.notify()

    def remove(self, work: L) -> None:
        """Tell of it no more."""
        with self._changed:
            self._under_way.discard(work)

    def _run(self) -> None:
        while True:
            by_dsn = defaultdict[str, list[L]](list)
            with self._changed:
                soonest = min((work.due for work in self._under_way), default=None)
                self._changed.wait(None if soonest is None else max(0.0, soonest - time.monotonic()))
                now = time.monotonic()
                for work in self._under_way:
                    if work.due <= now:
                        by_dsn[work.dsn].append(work)
            # Without the lock, so that work which begins or ends meanwhile does not wait for the network. Of work that
            # ends meanwhile others are told once too often, so what is said must change nothing then.
            for dsn, due in by_dsn.items():
                self._tell(dsn, due)
