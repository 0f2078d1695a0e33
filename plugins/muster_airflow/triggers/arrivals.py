"""Watches a folder from the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from muster_airflow.egress import note

if TYPE_CHECKING:
    from muster.triggers.watching import FolderWatch


class ArrivalTrigger(BaseEventTrigger):
    """Fires when there are files that no run was started for, and while there still are.

    Args:
        automation: whose runs the files start.
        path: the folder.
        match: name patterns.
        every: seconds between two looks at all its files, and until it fires again for the same ones.
    """

    def __init__(self, *, automation: str, path: str, match: list[str], every: float) -> None:
        super().__init__()
        self.automation = automation
        self.path = path
        self.match = match
        self.every = every

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as Airflow stores them."""
        kwargs = {"automation": self.automation, "path": self.path, "match": self.match, "every": self.every}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event at each look that finds somebody to wake."""
        # Imported here, because the import brings the database's client, which Dag parsing must not pay for.
        from muster.triggers.watching import LOOKS, FolderWatch

        watch, noted = FolderWatch(self.path, self.match, self.every), -float("inf")
        while True:
            try:
                if await self._wakes(watch):
                    # Repeated until a run has taken the files: Airflow 3.3.2 may fold several events into one run, or
                    # leave one of them lying (apache/airflow#56050).
                    yield TriggerEvent({"automation": self.automation})
            except Exception as error:
                # A watch that ends stays ended. So a folder or a database that is away for a while is only logged, and
                # the next look tries again as soon as any other: people make a folder and put their first file there
                # at once.
                if time.monotonic() - noted >= self.every:
                    noted = time.monotonic()
                    note("warning", "cannot look for files", path=self.path, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(min(LOOKS, self.every))

    async def _wakes(self, watch: FolderWatch) -> bool:
        from muster.triggers.arrivals import waiting
        from muster_airflow.services import services_in_triggerer

        services = await services_in_triggerer()
        passed_over: list[str] = []
        # In a thread: a slow folder or database would stop the event loop, and with it every trigger of the process.
        wakes = await asyncio.to_thread(
            watch.look,
            lambda found: waiting(services.database, self.automation, found, services.log.digest) if found else [],
            tell=passed_over.append,
        )
        for sentence in passed_over:
            note("warning", "a file is passed over", why=sentence)
        return wakes
