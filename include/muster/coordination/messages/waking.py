"""Wakes those who wait for messages, or for what stands on a blackboard: one connection of a process listens for all.

A NOTIFY inside of a transaction that writes makes all such commits queue for one lock, each with its wait for the
disk. So the bell is rung after the commit, by a thread that merges what is rung while it is at work. A bell that is not
heard, because a process died before it rang or a connection broke, costs `POLL` seconds: so often the listener looks.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import psycopg

from muster.coordination.messages import statements
from muster.database import Database, network_limits
from muster.errors import MusterError
from muster.events.driver import Query, Work, run

POLL = 2.0
"""Seconds between two looks at what nobody rang for: times that have come, and bells that were not heard."""
MERGED = 0.02
"""Seconds between two rings at least: what is sent meanwhile is rung for together."""
KEYS_AT_ONCE = 400
"""Of 17 bytes each: a notification may have 8000."""
IDLE = 10.0
"""Seconds after which a listener ends that nobody waits with."""
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to reach the database."""


class Place(Protocol):
    """What is waited at."""

    @property
    def key(self) -> str:
        """What a notification says for it."""
        ...

    @property
    def is_for_all(self) -> bool:
        """True when a ring wakes all that wait there; else one, who takes what has come."""
        ...

    @classmethod
    def due(cls, connection: psycopg.Connection, places: Sequence[Any]) -> list[Place]:
        """Of these places, those that have something: nobody rang for it, or the bell was not heard."""
        ...


def key_of(*names: str) -> str:
    """What a notification says for a place of these names."""
    return blake2b("\n".join(names).encode(), digest_size=8).hexdigest()


class Address(NamedTuple):
    """A mailbox of a run."""

    run: str
    mailbox: str

    @property
    def key(self) -> str:
        """What a notification says for it."""
        return key_of(self.run, self.mailbox)

    @property
    def is_for_all(self) -> bool:
        """False: one receives what has come."""
        return False

    @classmethod
    def due(cls, connection: psycopg.Connection, places: Sequence[Address]) -> list[Place]:
        """The mailboxes that have something to hand out, or something that has expired."""
        values = {"runs": [each.run for each in places], "mailboxes": [each.mailbox for each in places]}
        return [places[place - 1] for (place,) in connection.execute(statements.DUE, values).fetchall()]


class Waiter:
    """Somebody who waits at one place or several, in a thread or in a coroutine."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._heard = threading.Event() if loop is None else None
        self._aheard = None if loop is None else asyncio.Event()
        self.is_woken = False

    def wake(self) -> None:
        """Have it look again; from any thread."""
        self.is_woken = True
        if self._heard is not None:
            self._heard.set()
        elif self._loop is not None and self._aheard is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._aheard.set)

    def wait(self, seconds: float) -> None:
        """Return when woken, and after so many seconds."""
        assert self._heard is not None, "it waits in a coroutine"
        self._heard.wait(seconds)

    async def await_(self, seconds: float) -> None:
        """`wait` for coroutines."""
        assert self._aheard is not None, "it waits in a thread"
        try:
            await asyncio.wait_for(self._aheard.wait(), seconds)
        except TimeoutError:
            return


class Bell:
    """Rings for mailboxes and other places, and wakes those of this process that wait at them."""

    def __init__(self, database: Database) -> None:
        self._database = database.bare
        self._lock = threading.Condition()
        self._waiting: dict[str, deque[tuple[Place, Waiter]]] = {}
        self._rung: set[str] = set()
        self._listener: threading.Thread | None = None
        self._ringer: threading.Thread | None = None
        self._is_closed = False

    def ring(self, places: Iterable[Place]) -> None:
        """Tell all processes that these places have something; returns at once."""
        keys = {place.key for place in places}
        if not keys:
            return
        with self._lock:
            self._rung |= keys
            if self._ringer is None and not self._is_closed:
                self._ringer = threading.Thread(target=self._ring, name="muster-messages-bell", daemon=True)
                self._ringer.start()
            self._lock.notify_all()

    @contextmanager
    def waiting(self, place: Place, waiter: Waiter) -> Iterator[None]:
        """Wake the waiter once when the place has something, within the body."""
        key, waits = place.key, (place, waiter)
        with self._lock:
            waiters = self._waiting.setdefault(key, deque())
            waiters.append(waits)
            if self._listener is None and not self._is_closed:
                self._listener = threading.Thread(target=self._listen, name="muster-messages", daemon=True)
                self._listener.start()
        try:
            yield
        except BaseException:
            # It was woken for a message and goes without looking: another one has to.
            if waiter.is_woken:
                self.pass_on(place)
            raise
        finally:
            with self._lock:
                # Woken here it was taken out; woken at another place it still waits at this one.
                if waits in waiters:
                    waiters.remove(waits)
                if not waiters and self._waiting.get(key) is waiters:
                    del self._waiting[key]

    def pass_on(self, place: Place) -> None:
        """Wake the next one of this process: a ring wakes one, and there may be more than one message."""
        if not place.is_for_all:
            self._wake(place.key)

    def close(self) -> None:
        """Ring for what is left, and end; the listener ends with its next look. Whoever waits has its own time-out."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()
            ringer = self._ringer
        if ringer is not None:
            ringer.join(LONGEST_PAUSE)

    def _wake(self, key: str) -> None:
        with self._lock:
            waiters = self._waiting.get(key, ())
            while waiters:
                place, waiter = waiters.popleft()
                waiter.wake()
                if not place.is_for_all:
                    return

    def _places(self) -> Mapping[type[Place], Sequence[Place]]:
        """What is waited at, by its kind."""
        with self._lock:
            places = {place for waiters in self._waiting.values() for place, _ in waiters}
        by_kind: dict[type[Place], list[Place]] = {}
        for place in places:
            by_kind.setdefault(type(place), []).append(place)
        return by_kind

    def _listen(self) -> None:
        pause, quiet_since = 0.1, time.monotonic()
        while not self._is_closed:
            try:
                options: dict[str, Any] = dict(network_limits(self._database.dsn))
                with psycopg.connect(self._database.dsn, autocommit=True, **options) as connection:
                    connection.execute(f"LISTEN {statements.CHANNEL}")
                    pause = 0.1
                    while not self._is_closed:
                        # First of all: what was rung while nobody listened.
                        self._look(connection)
                        for note in connection.notifies(timeout=POLL):
                            for key in note.payload.split(","):
                                self._wake(key)
                        with self._lock:
                            if self._waiting:
                                quiet_since = time.monotonic()
                            elif time.monotonic() - quiet_since > IDLE:
                                self._listener = None
                                return
            except (psycopg.Error, OSError):
                with self._lock:
                    self._lock.wait_for(lambda: self._is_closed, pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _look(self, connection: psycopg.Connection) -> None:
        for kind, places in self._places().items():
            for place in kind.due(connection, places):
                self._wake(place.key)

    def _ring(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._rung or self._is_closed)
                keys, self._rung = sorted(self._rung), set()
                if not keys:
                    return
            for first in range(0, len(keys), KEYS_AT_ONCE):
                try:
                    run(self._database, _notify(keys[first : first + KEYS_AT_ONCE]))
                except (MusterError, psycopg.Error, OSError):
                    # Nobody is told: those who wait find the message when they look.
                    break
            if self._is_closed:
                return
            time.sleep(MERGED)


def _notify(keys: list[str]) -> Work[None]:
    # A notification is written to no disk, so its commit need not wait for one.
    yield [
        Query(
            "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%(channel)s, %(keys)s)",
            {"channel": statements.CHANNEL, "keys": ",".join(keys)},
        )
    ]


_bells: dict[tuple[int, str], Bell] = {}
_bells_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_bells={}, _bells_lock=threading.Lock()))


def bell_of(database: Database) -> Bell:
    """The one bell that this process has for the database."""
    key = os.getpid(), database.dsn
    with _bells_lock:
        bell = _bells.get(key)
        if bell is None or bell._is_closed:
            bell = _bells[key] = Bell(database)
        return bell
