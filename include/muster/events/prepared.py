"""Statements prepared once a connection and run at libpq's level, for what happens thousands of times a second.

A cursor spends several times as long on a statement as libpq does: it converts parameters by type, keeps
account of prepared statements and builds a description of the result. A statement whose parameters are all
cast in the SQL, and whose rows are whole numbers, needs none of that. Waiting stays psycopg's, so sync
connections can be interrupted and async ones never hold the event loop.
"""

from __future__ import annotations

import itertools
import re
import weakref
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from psycopg import AsyncConnection, Connection
from psycopg.abc import PQGen
from psycopg.errors import DataError, InvalidSqlStatementName, error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

Parameters: TypeAlias = Mapping[str, object] | tuple[object, ...]
"""By name, or in the order in which the SQL first names them."""
AnyConnection: TypeAlias = Connection[TupleRow] | AsyncConnection[TupleRow]


class _Statement(NamedTuple):
    name: bytes
    sql: bytes
    parameters: tuple[str, ...]


_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)

_numbers = itertools.count(1)
# By connection, since the server keeps a prepared statement for one session; weakly, since the pool drops connections.
_prepared: weakref.WeakKeyDictionary[AnyConnection, tuple[int, set[bytes]]] = weakref.WeakKeyDictionary()


def perform(connection: AnyConnection, sql: str, parameters: Parameters) -> PQGen[list[tuple[int, ...]]]:
    """Run one statement: give what this returns to the connection's `wait`.

    Every `%(name)s` must be cast in the SQL; a value is sent as its text in UTF-8, None as null.
    """
    statement = _statement(sql)
    given = parameters if isinstance(parameters, tuple) else [parameters[name] for name in statement.parameters]
    values = [None if value is None else str(value).encode() for value in given]
    if b"\0" in b"".join(filter(None, values)):
        # libpq would end the text there, and two keys that differ after it would be one.
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    pgconn, known = connection.pgconn, _known(connection)
    if statement.name in known:
        pgconn.send_query_prepared(statement.name, values)
        try:
            return _rows(connection, (yield from execute(pgconn))[-1])
        except InvalidSqlStatementName:
            # A pooler between us and the server forgot it; nothing was executed.
            known.discard(statement.name)
    pgconn.send_prepare(statement.name, statement.sql)
    _rows(connection, (yield from execute(pgconn))[-1])
    known.add(statement.name)
    pgconn.send_query_prepared(statement.name, values)
    return _rows(connection, (yield from execute(pgconn))[-1])


def _known(connection: AnyConnection) -> set[bytes]:
    """The names of what is prepared on the connection."""
    forgot = getattr(connection, "forgot", 0)
    before, known = _prepared.get(connection, (-1, set[bytes]()))
    # Looked at before and not learnt from the server's refusal: within a transaction that would be the end of it.
    if before != forgot:
        _prepared[connection] = forgot, (known := set())
    return known


def named(sql: str, parameters: Parameters) -> Mapping[str, object]:
    """The parameters by name, as psycopg takes them."""
    if isinstance(parameters, tuple):
        return dict(zip(_statement(sql).parameters, parameters, strict=True))
    return parameters


def _rows(connection: AnyConnection, result: PGresult) -> list[tuple[int, ...]]:
    if result.status not in _DONE:
        raise error_from_result(result, encoding=connection.info.encoding)
    value, columns = result.get_value, range(result.nfields)
    return [tuple([int(value(row, column) or 0) for column in columns]) for row in range(result.ntuples)]


@lru_cache(maxsize=512)
def _statement(sql: str) -> _Statement:
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
    numbered = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", sql)
    return _Statement(f"muster_{next(_numbers)}".encode(), numbered.encode(), tuple(names))
