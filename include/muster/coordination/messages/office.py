"""What all mailboxes of a database share: its connections, schemas and rules, and the bell."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from muster.coordination.messages.model import Rules
from muster.coordination.messages.schemas import Schemas
from muster.coordination.messages.sending import Sealer
from muster.coordination.messages.waking import Address, Bell, bell_of
from muster.database import Database
from muster.events.sealing import Seals, current_seals


class Office:
    """One database's messages, for those who send and receive them."""

    def __init__(self, database: Database, *, schemas: Schemas | None = None, rules: Rules | None = None) -> None:
        self.database = database
        self.schemas = schemas or Schemas()
        self.rules = rules or Rules()
        self._later: weakref.WeakKeyDictionary[object, set[Address]] = weakref.WeakKeyDictionary()

    @property
    def bell(self) -> Bell:
        """What wakes those of this process that wait."""
        return bell_of(self.database)

    @contextmanager
    def transaction(self) -> Iterator[Connection[TupleRow]]:
        """A connection in a transaction, for `within`: what is sent is rung for once it is committed."""
        with self.database.connection() as connection:
            self._later[connection] = set()
            try:
                yield connection
            except BaseException:
                self._later.pop(connection, None)
                raise
        self.bell.ring(self._later.pop(connection, set()))

    @asynccontextmanager
    async def atransaction(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """`transaction` for coroutines."""
        async with self.database.aconnection() as connection:
            self._later[connection] = set()
            try:
                yield connection
            except BaseException:
                self._later.pop(connection, None)
                raise
        self.bell.ring(self._later.pop(connection, set()))

    def ring(self, addresses: set[Address], within: object | None) -> None:
        """Ring for what was sent, once its transaction is committed; of a transaction of others nobody knows when."""
        if within is None:
            self.bell.ring(addresses)
        elif within in self._later:
            self._later[within] |= addresses

    def sealer(self, run: str) -> Sealer:
        """Seals what messages of a run say that is about somebody, if the work under way is that run's."""
        given: Seals | None = self.database.seals
        seals = given or current_seals()
        return Sealer(seals if seals is not None and seals.stream == run else None)
