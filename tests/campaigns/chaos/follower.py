"""Reads the whole log as it is written and keeps what it saw, to tell later whether anything was lost."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from muster.database import Database
from muster.errors import MusterError
from muster.events.log import START, EventLog

LOOK = 0.5
"""Seconds between two looks at the end of the log."""
FAR = 1_000
"""By how much positions may be out of order: a follower reads whole transactions."""


@dataclass(frozen=True)
class Seen:
    """One event as it was read while everything went on."""

    stream: str
    version: int
    hash: str
    type: str
    position: int


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

    def has_gone_on(self, position: int) -> bool:
        """True when a work item has ended that was written after a position of the log."""
        # From the end: there are many events, and the position is never far back.
        for event in reversed(self.seen):
            if event.position <= position - FAR:
                return False
            if event.position > position and event.type in WORK_ENDS:
                return True
        return False

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
            self.seen += [Seen(e.stream, e.version, e.hash, e.type, e.position) for e in page.events]
            self._place = page.place


WORK_ENDS = frozenset({"step.succeeded", "compensation.succeeded", "run.closed"})
