"""Runs database work written once, as a generator of statements, over sync and async connections.

A generator yields a batch of statements and is sent the rows of each. A batch of several travels in
one round trip (libpq's pipeline mode). Connections are in autocommit: work that needs a transaction
of several statements says BEGIN and COMMIT itself, and a failure rolls back what is open.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from muster.database import Database, Fence
from muster.events.failures import DATABASE_ERRORS, raise_translated
from muster.events.prepared import Parameters, named, perform

T = TypeVar("T")


class Query(NamedTuple):
    """One SQL statement and its parameters."""

    sql: str
    parameters: Mapping[str, object] = {}


class HotQuery(NamedTuple):
    """One worth preparing: every parameter is cast in the SQL, and the rows are whole numbers."""

    sql: str
    parameters: Parameters
    """By name, or in the order in which the SQL first names them."""


Rows = Sequence[tuple[Any, ...]]
Work = Generator[Sequence[Query | HotQuery], list[Rows], T]


def run(database: Database, work: Work[T]) -> T:
    """Perform `work` on one connection.

    Raises:
        TransientError: the database was lost on the way; whether the work was done is unknown.
    """
    work = work if database.fence is None else one_transaction(work, database.fence)
    database = database.bare
    try:
        loan = database.borrow()
        try:
            queries = next(work)
            while True:
                queries = work.send(_execute(loan.connection, queries))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            work.close()
            database.give_back(loan)
    except DATABASE_ERRORS as error:
        raise_translated(error)


async def arun(database: Database, work: Work[T]) -> T:
    """Perform `work` on one connection, from a coroutine; raises what `run` raises."""
    work = work if database.fence is None else one_transaction(work, database.fence)
    database = database.bare
    try:
        loan = await database.aborrow()
        try:
            queries = next(work)
            while True:
                queries = work.send(await _aexecute(loan.connection, queries))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            work.close()
            await database.agive_back(loan)
    except DATABASE_ERRORS as error:
        raise_translated(error)


def run_within(connection: Connection[TupleRow], work: Work[T]) -> T:
    """Perform `work` as a part of the transaction that the caller has open on the connection and commits itself."""
    try:
        queries = next(work)
        while True:
            queries = work.send(_execute(connection, [plain(_within(query)) for query in queries]))
    except StopIteration as stop:
        result: T = stop.value
        return result
    except DATABASE_ERRORS as error:
        raise_translated(error)
    finally:
        work.close()


async def arun_within(connection: AsyncConnection[TupleRow], work: Work[T]) -> T:
    """`run_within` for coroutines."""
    try:
        queries = next(work)
        while True:
            queries = work.send(await _aexecute(connection, [plain(_within(query)) for query in queries]))
    except StopIteration as stop:
        result: T = stop.value
        return result
    except DATABASE_ERRORS as error:
        raise_translated(error)
    finally:
        work.close()


def one_transaction(work: Work[T], fence: Fence | None = None) -> Work[T]:
    """The work in one transaction, which presents the fence before its commit; the work's own become savepoints."""
    queries = [Query("BEGIN"), *(_within(query) for query in next(work))]
    answers = (yield queries)[1:]
    try:
        while True:
            queries = [_within(query) for query in work.send(answers)]
            answers = yield queries
    except StopIteration as stop:
        result: T = stop.value
    finally:
        work.close()
    # Only now, because the fence keeps its rows locked until the commit: locked from the beginning on, nobody could
    # revoke an attempt whose work takes long.
    if fence is not None:
        fence.judge((yield [HotQuery(*fence.fence())])[0])
    yield [Query("COMMIT")]
    return result


# Work that begins a transaction of its own is within the one that presents the attempt. A commit of its own would be
# out before the fence is asked.
_NESTED = {"BEGIN": "SAVEPOINT work", "COMMIT": "RELEASE SAVEPOINT work", "ROLLBACK": "ROLLBACK TO SAVEPOINT work"}


def _within(query: Query | HotQuery) -> Query | HotQuery:
    own = _NESTED.get(query.sql.partition(" ")[0])
    return query if own is None else Query(own)


def _execute(connection: Connection[TupleRow], queries: Sequence[Query | HotQuery]) -> list[Rows]:
    if len(queries) == 1 and isinstance(queries[0], HotQuery):
        return [connection.wait(perform(connection, *queries[0]))]
    if len(queries) == 1:
        cursors = [connection.execute(*plain(queries[0]))]
    else:
        # Plain ones all: `perform` waits for an answer between preparing and running, which would break the round trip.
        with connection.pipeline():
            cursors = [connection.execute(*plain(query)) for query in queries]
    return [cursor.fetchall() if _has_rows(cursor.pgresult) else [] for cursor in cursors]


async def _aexecute(connection: AsyncConnection[TupleRow], queries: Sequence[Query | HotQuery]) -> list[Rows]:
    if len(queries) == 1 and isinstance(queries[0], HotQuery):
        return [await connection.wait(perform(connection, *queries[0]))]
    if len(queries) == 1:
        cursors = [await connection.execute(*plain(queries[0]))]
    else:
        async with connection.pipeline():
            cursors = [await connection.execute(*plain(query)) for query in queries]
    return [await cursor.fetchall() if _has_rows(cursor.pgresult) else [] for cursor in cursors]


def plain(query: Query | HotQuery) -> Query:
    """The query as a cursor takes it."""
    return query if isinstance(query, Query) else Query(query.sql, named(query.sql, query.parameters))


def _has_rows(result: PGresult | None) -> bool:
    # `cursor.description` would say the same, but builds an object for every column to do so.
    return result is not None and result.status == ExecStatus.TUPLES_OK
