"""The database as a skill is given it: what it writes is committed only while its attempt may still write."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from muster.database import AsyncLoan, Database, Loan
from muster.errors import PermanentError
from muster.events.sealing import Seals, current_seals
from muster.recovery.attempts import Attempt, current_attempt
from muster.recovery.ledger import Effect

T = TypeVar("T")

# A part of the skill's own transaction: the ledger has the effect exactly when the skill's rows are committed. Written
# before or after it, a crash in between would leave one without the other.
WRITTEN = """
INSERT INTO effects (key, kind, request, run, status, settled_at)
VALUES (%(key)s, %(kind)s, %(request)s, %(run)s, 'done', clock_timestamp()) ON CONFLICT DO NOTHING
"""

_depth = ContextVar("_depth", default=0)
"""How many transactions this thread or coroutine is within."""


def fenced(database: Database, effect: Effect | None = None) -> Database:
    """The database for the attempt that this code belongs to; the database itself outside of one.

    `effect` is entered in the ledger as done by the first transaction that writes anything.
    """
    attempt = current_attempt()
    return database if attempt is None else FencedDatabase(database.bare, attempt, current_seals(), effect)


def present(database: Database, connection: Connection[object]) -> None:
    """Present the attempt before the end of a transaction, and before something that cannot be rolled back.

    From then on nobody takes its place until the transaction ends, so that should be soon.

    Raises:
        AttemptRevoked: another attempt has begun, or this one was given up.
        LeaseLost: a lease the attempt is made under was lost.
    """
    if isinstance(database, FencedDatabase):
        database.present(connection)


class FencedDatabase(Database):
    """A database whose transactions present an attempt as they are committed, on the connections of another.

    It carries the attempt and the seals, because threads that a skill starts itself inherit no context.
    """

    def __init__(
        self, bare: Database, attempt: Attempt, seals: Seals | None = None, effect: Effect | None = None
    ) -> None:
        super().__init__(bare.dsn, turns=0)
        self._bare, self._effect = bare, effect
        self.fence, self.seals = attempt, seals
        self._lock = threading.Lock()
        self._open = self._held = 0

    @property
    def bare(self) -> Database:
        """The one whose connections these are."""
        return self._bare

    @contextmanager
    def connection(self) -> Iterator[Connection[TupleRow]]:
        """A connection in a transaction, once it is this attempt's turn.

        Raises:
            AttemptRevoked: another attempt has begun, or this one was given up; nothing was committed.
            LeaseLost: a lease the attempt is made under was lost; nothing was committed.
            PermanentError: two transactions are open around this one already.
        """
        _ensure_not_third()
        # Read without the lock: two threads of a skill that begin at once may both find none open. Each takes a turn
        # then, and `_counted` gives both back.
        if is_first := not self._open:
            self._bare.turns.take(self._attempt.ensure_goes_on)
        # Counted before a connection is asked for: where there is none, the turn goes back.
        with self._counted(is_first), self._bare.lasting.connection() as connection:
            check = partial(self.present, connection)
            with _instead(connection, check):
                yield connection
                # Last, because the rows it locks stay locked until the commit: presented at the beginning, a long
                # transaction would keep others from revoking the attempt, and its own leases from being renewed.
                check()

    def present(self, connection: Connection[Any]) -> None:
        """As the function."""
        query = self._attempt.fence()
        wrote = self._attempt.judge(connection.execute(query.sql, query.parameters).fetchall())
        if wrote and self._effect is not None:
            connection.execute(WRITTEN, vars(self._effect))

    @asynccontextmanager
    async def aconnection(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """The same for coroutines."""
        _ensure_not_third()
        if is_first := not self._open:
            await self._bare.turns.atake()
        with self._counted(is_first):
            async with self._bare.lasting.aconnection() as connection:

                async def check() -> None:
                    query = self._attempt.fence()
                    cursor = await connection.execute(query.sql, query.parameters)
                    wrote = self._attempt.judge(await cursor.fetchall())
                    if wrote and self._effect is not None:
                        await connection.execute(WRITTEN, vars(self._effect))

                with _ainstead(connection, check):
                    yield connection
                    await check()

    def borrow(self) -> Loan:
        """Not for skills: it has no end at which the attempt could be presented."""
        raise _unfenced()

    async def aborrow(self) -> AsyncLoan:
        """As `borrow`."""
        raise _unfenced()

    def run(self, work: Coroutine[object, object, T]) -> T:
        """As the other's."""
        return self._bare.run(work)

    def close(self) -> None:
        """As the other's."""
        self._bare.close()

    async def aclose(self) -> None:
        """As the other's."""
        await self._bare.aclose()

    @contextmanager
    def _counted(self, is_first: bool) -> Iterator[None]:
        """A transaction of the attempt, which has its turn until the last one that it has open ends.

        One within another, or in a thread that the skill waits for, would wait for itself if it waited for a turn.
        """
        with self._lock:
            self._open, self._held = self._open + 1, self._held + is_first
        _depth.set(_depth.get() + 1)
        try:
            yield
        finally:
            _depth.set(_depth.get() - 1)
            with self._lock:
                # Given back when the last transaction ends, whichever took the turn: one in a thread may outlast the
                # first.
                self._open -= 1
                over, self._held = (0, self._held) if self._open else (self._held, 0)
            for _ in range(over):
                self._bare.turns.give_back()

    @property
    def _attempt(self) -> Attempt:
        assert isinstance(self.fence, Attempt)
        return self.fence


def _ensure_not_third() -> None:
    # There are two connections for each turn: a third one would wait for those that wait for it.
    if _depth.get() >= 2:
        raise PermanentError(
            "A skill has asked for a third transaction within two.",
            remedy="Use the connection it has already, or end one of the transactions first.",
        )


@contextmanager
def _instead(connection: Connection[TupleRow], check: Callable[[], None]) -> Iterator[None]:
    """Commits that the skill makes itself are checked as well."""
    commit, transaction = connection.commit, connection.transaction

    def checked() -> None:
        check()
        commit()

    @contextmanager
    def within(*arguments: Any, **named: Any) -> Iterator[object]:
        commits = _is_outermost(connection)
        with transaction(*arguments, **named) as begun:
            yield begun
            if commits:
                check()

    with _patched(connection, commit=checked, transaction=within):
        yield


@contextmanager
def _ainstead(
    connection: AsyncConnection[TupleRow], check: Callable[[], Coroutine[object, object, None]]
) -> Iterator[None]:
    commit, transaction = connection.commit, connection.transaction

    async def checked() -> None:
        await check()
        await commit()

    @asynccontextmanager
    async def within(*arguments: Any, **named: Any) -> AsyncIterator[object]:
        commits = _is_outermost(connection)
        async with transaction(*arguments, **named) as begun:
            yield begun
            if commits:
                await check()

    with _patched(connection, commit=checked, transaction=within):
        yield


def _is_outermost(connection: Connection[TupleRow] | AsyncConnection[TupleRow]) -> bool:
    # As psycopg decides it. A savepoint commits nothing: checked at its end, the rows would stay locked until the
    # transaction around it ends, and an effect begun in between, on another connection, would wait for its own thread.
    return connection.info.transaction_status == TransactionStatus.IDLE


@contextmanager
def _patched(connection: object, **methods: object) -> Iterator[None]:
    # On this one object while it is lent: a class of its own would need a pool of its own.
    vars(connection).update(methods)
    try:
        yield
    finally:
        for name in methods:
            delattr(connection, name)


def _unfenced() -> PermanentError:
    return PermanentError(
        "A skill cannot borrow a connection of its own.", remedy="Use `with context.database.connection()`."
    )
