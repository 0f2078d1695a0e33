"""Reads the whole log as it is written and keeps what it saw, to tell later whether anything was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from muster.database import Database
from muster.errors import MusterError
from muster.events.log import START, EventLog

LOOK = 0.5
"""Seconds between two looks at the end of the log."""


@dataclass(frozen=True)
class Seen:
    """One event as it was read while everything went on."""

    stream: str
    version: int
    hash: str
    type: str
    at: datetime
    noticed: float
    """When it was read, on the monotonic clock."""
    data: Mapping[str, Any]


class Follower:
    """Follows the log from a thread, over a connection of its own that no fault but the server's end touches."""

    def __init__(self, dsn: str) -> None:
        self.seen: list[Seen] = []
        self._log = EventLog(Database(dsn, max_size=2))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._place = START

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is left has been read."""
        self._stopping.set()
        self._thread.join(30)
        self._log.database.close()

    def after(self, moment: float, *, working: bool = False) -> Seen | None:
        """The first event noticed after a moment; `working`: the first that ends a piece of work."""
        found = None
        # From the end: there are many events, and a moment is never long ago.
        for event in reversed(self.seen):
            if event.noticed <= moment:
                break
            if not working or event.type in WORK_ENDS:
                found = event
        return found

    def _follow(self) -> None:
        while True:
            last = self._stopping.is_set()
            try:
                self._read()
            except MusterError:
                # The server is away: that is what a campaign is for.
                time.sleep(LOOK)
                continue
            if last:
                return
            self._stopping.wait(LOOK)

    def _read(self) -> None:
        while (page := self._log.follow(self._place)).events:
            now = time.monotonic()
            self.seen += [Seen(e.stream, e.version, e.hash, e.type, e.at, now, e.data) for e in page.events]
            self._place = page.place


WORK_ENDS = frozenset({"step.succeeded", "compensation.succeeded", "run.closed"})
