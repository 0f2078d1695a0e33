"""A database that one run after the other is played in: each finds it as it was prepared."""

from __future__ import annotations

import threading
from contextlib import suppress

import psycopg

from muster.database import AsyncLoan, Database, Loan
from muster.errors import DatabaseLost
from muster.rehearsal.restoring import NotRestorable, Restoration
from muster.skills.calling import THREAD


class Copy:
    """One database with its connections, which stay from one run to the next."""

    def __init__(self, name: str, dsn: str) -> None:
        """Look at a database that nobody uses yet."""
        self.name = name
        self.database = Database(dsn)
        self._connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=1)
        self._restoration: Restoration | None = None
        with suppress(NotRestorable):
            self._restoration = Restoration(self._connection)

    def put_back(self) -> bool:
        """Make it as it was for the next run; False when it is of no use any more."""
        for thread in threading.enumerate():
            if thread.name == THREAD:
                thread.join(0.5)  # Whose skill has come back is about to end.
                # Its skill did not come back in time, and is at work still. It would meet the next run here.
                if thread.is_alive():
                    return False
        return self._restoration is not None and self._restoration.put_back()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.database.aclose()
        self._connection.close()


class LentDatabase(Database):
    """The database for one run, on connections that the next one gets as well: it knows nothing of another run."""

    def __init__(self, owner: Database) -> None:
        super().__init__(owner.dsn, turns=0 if owner.lasting is owner else 4)
        self._owner = owner
        self._is_over = False
        if owner.lasting is not owner:
            self._lasting = LentDatabase(owner.lasting)

    def end(self) -> None:
        """The run is over. What it left at work gets no connection, as if the database were gone."""
        self._is_over = True
        if isinstance(self._lasting, LentDatabase):
            self._lasting.end()

    def close(self) -> None:
        """Close the connections of this process; the next caller makes new ones."""
        self._owner.close()

    async def aclose(self) -> None:
        """Close the running loop's connections as well."""
        await self._owner.aclose()

    def _take(self) -> Loan:
        self._ensure_not_over()
        loan = self._owner._take()
        self.sessions = self._owner.sessions
        return loan

    async def _atake(self) -> AsyncLoan:
        self._ensure_not_over()
        loan = await self._owner._atake()
        self.sessions = self._owner.sessions
        return loan

    def _ensure_not_over(self) -> None:
        if self._is_over:
            raise DatabaseLost("The run was over before this.", remedy="Nothing is to be done: it was rehearsed.")
