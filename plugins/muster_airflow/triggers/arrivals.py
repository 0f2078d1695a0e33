"""Watches a folder from the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from muster_airflow.egress import note


class ArrivalTrigger(BaseEventTrigger):
    """Fires while there are files that no run was started for.

    Args:
        automation: whose runs the files start.
        path: the folder.
        match: name patterns.
        every: seconds between two looks.
    """

    def __init__(self, *, automation: str, path: str, match: list[str], every: float) -> None:
        super().__init__()
        self.automation = automation
        self.path = path
        self.match = match
        self.every = every
        self._told: set[str] = set()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, as Airflow stores them."""
        kwargs = {"automation": self.automation, "path": self.path, "match": self.match, "every": self.every}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event at each look that finds something to start."""
        while True:
            try:
                if await self._waiting():
                    # Repeated at each look until a run has taken the files: Airflow 3.3.2 may fold several events into
                    # one run, or leave one of them lying (apache/airflow#56050).
                    yield TriggerEvent({"automation": self.automation})
            except Exception as error:
                # A watch that ends stays ended. So a folder or a database that is away for a while is only logged, and
                # the next look tries again.
                note("warning", "cannot look for files", path=self.path, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(self.every)

    async def _waiting(self) -> bool:
        from muster.triggers.arrivals import look, waiting
        from muster_airflow.services import services_in_triggerer

        services = await services_in_triggerer()
        passed_over: list[str] = []
        # In threads, here and below: a slow folder or database would stop the event loop, and with it every trigger of
        # the process.
        arrived = await asyncio.to_thread(look, self.path, self.match, tell=passed_over.append)
        for sentence in passed_over:
            # A link that leads nowhere is found again at every look; it is named once, and again if it was mended in
            # between.
            if sentence not in self._told:
                note("warning", "a file is passed over", why=sentence)
        self._told = set(passed_over)
        return bool(arrived) and await asyncio.to_thread(
            waiting, services.database, self.automation, arrived, services.log.digest
        )
