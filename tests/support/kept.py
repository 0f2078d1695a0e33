"""A database whose connections stay from one work item to the next: making them takes longer than most of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from muster.database import Database

T = TypeVar("T")


class KeptDatabase(Database):
    """Keeps an event loop for each thread; `end` closes them all."""

    def __init__(self, dsn: str, **more: Any) -> None:
        super().__init__(dsn, **more)
        self._runners: dict[threading.Thread, asyncio.Runner] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the event loop of this thread."""
        runner = self._runners.setdefault(threading.current_thread(), asyncio.Runner())
        return runner.run(work)

    def end(self) -> None:
        """Close all connections and loops; no thread may use them any more."""
        for runner in self._runners.values():
            runner.run(self.aclose())
            runner.close()
        self.close()
