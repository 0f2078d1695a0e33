"""Connections that know when the server has forgotten what was prepared on them, and who has them next."""

from __future__ import annotations

from psycopg import AsyncConnection, BaseConnection, Connection, Error
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool


class _Forgetting(BaseConnection[TupleRow]):
    """Counts how often the server was told to forget all that was prepared.

    The driver tells it after a ROLLBACK, DROP or ALTER. What others have prepared on the connection is gone as well.
    """

    forgot = 0

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        if name is None:
            self.forgot += 1
        return super()._deallocate(name)


class Session(_Forgetting, Connection[TupleRow]):
    """A connection of a pool."""


class AsyncSession(_Forgetting, AsyncConnection[TupleRow]):
    """The same for coroutines."""


AT_REST = (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)
"""Nothing to roll back: no transaction, or no connection any more."""


class Connections:
    """One process's pool, and beside it the connection that was given back last.

    Most callers come one at a time, and passing through the pool would cost them as much as preparing a statement.
    """

    def __init__(self, pool: ConnectionPool[Connection[TupleRow]]) -> None:
        self.pool = pool
        # Lists, because appending and popping need no lock.
        self._at_hand: list[Connection[TupleRow]] = []
        self._waiting: list[None] = []
        self._is_closed = False

    def take(self) -> Connection[TupleRow]:
        """A connection; waits for one while all that there may be are in use."""
        if (connection := self._last()) is not None:
            return connection
        # Announce the wait, then look again. In the other order a connection given back between the look and the
        # announcement would stay at hand, and this thread would wait at the pool until its timeout.
        self._waiting.append(None)
        try:
            return self._last() or self.pool.getconn()
        finally:
            self._waiting.pop()

    def give_back(self, connection: Connection[TupleRow]) -> None:
        """Take it back; an open transaction is rolled back, a broken connection dropped."""
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            self._mend(connection)
        elif self._at_hand or self._waiting or self._is_closed:
            self.pool.putconn(connection)
        else:
            self._at_hand.append(connection)
            # Since that look a thread may have found nothing at hand and announced its wait, or the pool was closed:
            # left at hand, the connection would reach neither.
            if self._waiting or self._is_closed:
                self._let_go()

    def close(self) -> None:
        """Close the pool; what is in use is closed when it comes back."""
        # First of all: a connection that is given back from now on goes to the pool, which closes it.
        self._is_closed = True
        self.pool.close()
        self._let_go()

    def _mend(self, connection: Connection[TupleRow]) -> None:
        try:
            if connection.pgconn.transaction_status not in AT_REST:
                connection.rollback()
        except Error:
            connection.close()
        finally:
            # A closed connection goes back as well: until then the pool counts it as one in use.
            self.pool.putconn(connection)

    def _last(self) -> Connection[TupleRow] | None:
        try:
            return self._at_hand.pop()
        except IndexError:
            return None

    def _let_go(self) -> None:
        if (connection := self._last()) is not None:
            self.pool.putconn(connection)


class AsyncConnections:
    """The same for the coroutines of one event loop."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[TupleRow]]) -> None:
        self.pool = pool
        self._at_hand: AsyncConnection[TupleRow] | None = None
        self._waiting = 0
        self._is_closed = False

    async def take(self) -> AsyncConnection[TupleRow]:
        """A connection; waits for one while all that there may be are in use."""
        connection, self._at_hand = self._at_hand, None
        if connection is not None:
            return connection
        # While anybody waits there is none at hand: what is given back goes to the pool, which passes it on.
        self._waiting += 1
        try:
            return await self.pool.getconn()
        finally:
            self._waiting -= 1

    async def give_back(self, connection: AsyncConnection[TupleRow]) -> None:
        """Take it back; an open transaction is rolled back, a broken connection dropped."""
        try:
            if connection.pgconn.transaction_status not in AT_REST:
                await connection.rollback()
        except Error:
            await connection.close()
        finally:
            # Also when a cancellation cuts the rollback off: the pool would have one connection less from then on.
            is_idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
            if is_idle and self._at_hand is None and not (self._waiting or self._is_closed):
                self._at_hand = connection
            else:
                await self.pool.putconn(connection)

    async def close(self) -> None:
        """Close the pool; what is in use is closed when it comes back."""
        self._is_closed = True
        await self.pool.close()
        connection, self._at_hand = self._at_hand, None
        if connection is not None:
            await self.pool.putconn(connection)
