"""One PostgreSQL database, reached through pooled psycopg 3 connections, sync and async."""

from __future__ import annotations

import asyncio
import os
import select
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any, NamedTuple, Protocol, TypeVar

from psycopg import AsyncConnection, Connection, Error
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from muster.errors import DatabaseLost
from muster.sessions import AT_REST, AsyncConnections, AsyncSession, Connections, Session
from muster.turns import Turns

T = TypeVar("T")


_RESET = """
CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD TEMP;
DISCARD SEQUENCES
"""
"""What DISCARD ALL does, but for plans: those this process has prepared stay."""

_NETWORK = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
"""A network that loses everything is noticed within a minute (seconds; the last one milliseconds), not within hours."""


class Loan(NamedTuple):
    """A connection and where it goes back to."""

    owner: Connections
    connection: Connection[TupleRow]


class AsyncLoan(NamedTuple):
    """A connection and where it goes back to, for coroutines."""

    owner: AsyncConnections
    connection: AsyncConnection[TupleRow]


class Fence(Protocol):
    """What a transaction presents as it is committed."""

    def fence(self) -> tuple[str, Mapping[str, Any]]:
        """The statement and its parameters, as a `HotQuery` has them; raises when it may not be committed anyhow."""
        ...

    def around(self, sql: str, values: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """One statement that is a transaction of its own, and what it presents; it selects `FROM fence`."""
        ...

    def judge(self, rows: Sequence[tuple[Any, ...]]) -> bool:
        """True when the statement's answer says that something was written; raises when it may not be committed."""
        ...


class Database:
    """Lazily opened pools for one DSN: safe to keep across a fork and across event loops.

    A forked child and a new event loop each get pools of their own, because neither may share
    a socket or a lock with the parent.
    """

    def __init__(self, dsn: str, *, max_size: int = 4, timeout: float = 30.0, turns: int = 4) -> None:
        self.dsn = dsn
        """A libpq URI or keyword string; never logged."""
        self.fence: Fence | None = None
        """What every transaction presents before it is committed; None for those that anybody may make."""
        self.seals: Any = None
        """The `Seals` of the work that it was given to; None when that is about nobody, or not known."""
        self.sessions = 0
        """How many connections were ever made: while it stays the same, the server has gone on without a break."""
        self.turns = Turns(turns)
        """Whose turn it is to have a transaction that may last: of so many work items at once."""
        self._lasting = Database(dsn, max_size=2 * turns, timeout=timeout, turns=0) if turns else None
        self._counting = count(1)
        self._max_size = max_size
        self._timeout = timeout
        self._sync: dict[int, Connections] = {}
        self._async: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncConnections] = (
            weakref.WeakKeyDictionary()
        )
        self._async_pid = os.getpid()

    @property
    def bare(self) -> Database:
        """The same database without a fence."""
        return self

    @property
    def lasting(self) -> Database:
        """The same database, with connections apart for transactions that may last.

        A skill does anything in the middle of one: were its connection one of those with which the log is written,
        leases are renewed and effects begun, these would wait for the skill, and the skill for them. There are two for
        each turn, so whoever has a turn may have a transaction within the first.
        """
        return self._lasting or self

    @contextmanager
    def connection(self) -> Iterator[Connection[TupleRow]]:
        """A connection in a transaction: committed on success, rolled back on an exception.

        What was set for its session (locks, variables, temporary tables, channels listened to) ends with it.
        """
        owner, connection = self._take()
        try:
            if connection.autocommit:
                connection.autocommit = False
            # psycopg ends the transaction here, and leaves closing to the pool the connection came from.
            with connection:
                yield connection
        finally:
            _reset(connection)
            owner.give_back(connection)

    @asynccontextmanager
    async def aconnection(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """The same for coroutines."""
        owner, connection = await self._atake()
        try:
            if connection.autocommit:
                await connection.set_autocommit(False)
            async with connection:
                yield connection
        finally:
            try:
                await _areset(connection)
            finally:
                # Also when a cancellation cuts the reset off: the pool would have one connection less from then on.
                await owner.give_back(connection)

    def borrow(self) -> Loan:
        """A connection in autocommit, for work of one statement; `give_back` it, whatever happened to it.

        What is set for its session stays with it: for Muster's own statements, which set nothing.
        """
        loan = self._take()
        # Only a setting of this object: nothing is sent, so nothing can fail on a connection at rest.
        if not loan.connection.autocommit:
            loan.connection.autocommit = True
        return loan

    def give_back(self, loan: Loan) -> None:
        """Return what `borrow` gave; an open transaction is rolled back, a broken connection dropped."""
        loan.owner.give_back(loan.connection)

    async def aborrow(self) -> AsyncLoan:
        """`borrow` for coroutines."""
        loan = await self._atake()
        if not loan.connection.autocommit:
            await loan.connection.set_autocommit(True)
        return loan

    async def agive_back(self, loan: AsyncLoan) -> None:
        """`give_back` for coroutines."""
        await loan.owner.give_back(loan.connection)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in an event loop of its own, and close the connections it opened."""

        async def closing() -> T:
            try:
                return await work
            finally:
                await self.aclose()

        return asyncio.run(closing())

    def close(self) -> None:
        """Close this process's sync pools."""
        if self._lasting is not None:
            self._lasting.close()
        if (connections := self._sync.pop(os.getpid(), None)) is not None:
            connections.close()

    async def aclose(self) -> None:
        """Close the running loop's pools, and the sync ones."""
        if self._lasting is not None:
            await self._lasting.aclose()
        connections = self._async.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.close()
        self.close()

    def _take(self) -> Loan:
        owner = self._connections()
        with _waited_for():
            # A server that restarts cuts all connections at rest, at most so many: the next one is a new one.
            for _ in range(self._max_size):
                connection = owner.take()
                if not _was_cut(connection):
                    return Loan(owner, connection)
                connection.close()
                owner.give_back(connection)
            return Loan(owner, owner.take())

    async def _atake(self) -> AsyncLoan:
        owner = await self._async_connections()
        with _waited_for():
            for _ in range(self._max_size):
                connection = await owner.take()
                if not _was_cut(connection):
                    return AsyncLoan(owner, connection)
                await connection.close()
                await owner.give_back(connection)
            return AsyncLoan(owner, await owner.take())

    def _connections(self) -> Connections:
        pid = os.getpid()
        connections = self._sync.get(pid)
        if connections is None:
            made = Connections(
                ConnectionPool(
                    self.dsn, connection_class=Session, open=True, configure=self._count, **self._pool_options()
                )
            )
            # No lock, which a fork could inherit locked: of two threads that come here at once, one closes its own.
            connections = self._sync.setdefault(pid, made)
            if connections is not made:
                made.close()
        return connections

    async def _async_connections(self) -> AsyncConnections:
        if self._async_pid != os.getpid():
            # The parent goes on with its pools: of two processes that read from one socket each would get parts of the
            # other's answers.
            self._async, self._async_pid = weakref.WeakKeyDictionary(), os.getpid()
        loop = asyncio.get_running_loop()
        connections = self._async.get(loop)
        if connections is None:
            pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
                self.dsn, connection_class=AsyncSession, open=False, configure=self._acount, **self._pool_options()
            )
            connections = self._async[loop] = AsyncConnections(pool)
            await pool.open()
        return connections

    def _count(self, _: Connection[TupleRow]) -> None:
        self.sessions = next(self._counting)

    async def _acount(self, _: AsyncConnection[TupleRow]) -> None:
        self.sessions = next(self._counting)

    def _pool_options(self) -> dict[str, Any]:
        return {
            "kwargs": {"client_encoding": "utf8", **network_limits(self.dsn)},
            "min_size": 0,
            "max_size": self._max_size,
            "timeout": self._timeout,
            "name": "muster",
        }


@contextmanager
def _waited_for() -> Iterator[None]:
    # Translated here and not by the driver, because a skill asks for a connection without the driver: it would be
    # shown psycopg's words.
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseLost(
            f"The database did not answer: {error}.",
            remedy="The step is tried again; if this goes on, check PostgreSQL (`muster doctor`).",
        ) from error


def network_limits(dsn: str) -> dict[str, int]:
    """Settings of libpq by which a silent network is noticed within a minute; a setting in the DSN wins."""
    said = conninfo_to_dict(dsn)
    return {name: value for name, value in _NETWORK.items() if name not in said}


def _reset(connection: Connection[TupleRow]) -> None:
    """End what was set for the session, because the next user must not inherit it; end the session if that fails."""
    if connection.closed:
        return
    try:
        if connection.pgconn.transaction_status not in AT_REST:
            connection.rollback()
        connection.autocommit = True
        # Several statements are one round trip, which what is prepared cannot be.
        connection.execute(_RESET, prepare=False)
    except Error:
        connection.close()


async def _areset(connection: AsyncConnection[TupleRow]) -> None:
    """`_reset` for coroutines."""
    if connection.closed:
        return
    try:
        if connection.pgconn.transaction_status not in AT_REST:
            await connection.rollback()
        await connection.set_autocommit(True)
        await connection.execute(_RESET, prepare=False)
    except Error:
        await connection.close()


def _was_cut(connection: Connection[TupleRow] | AsyncConnection[TupleRow]) -> bool:
    # A server that restarted or cut an idle connection has said so on its socket: looking costs a microsecond,
    # asking would cost a round trip. The pool's own `check` waits longer after each connection it finds cut.
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
