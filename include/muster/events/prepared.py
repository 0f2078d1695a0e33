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
from typing import Any, NamedTuple, TypeAlias

from psycopg import AsyncConnection, Connection
from psycopg.abc import PQGen
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

AnyConnection: TypeAlias = Connection[TupleRow] | AsyncConnection[TupleRow]


class _Statement(NamedTuple):
    name: bytes
    sql: bytes
    parameters: tuple[str, ...]


_numbers = itertools.count(1)
_prepared: weakref.WeakKeyDictionary[AnyConnection, set[bytes]] = weakref.WeakKeyDictionary()


def perform(connection: AnyConnection, sql: str, parameters: Mapping[str, Any]) -> PQGen[list[tuple[int, ...]]]:
    """Run one statement: give what this returns to the connection's `wait`.

    Every `%(name)s` must be cast in the SQL; a value is sent as its text, None as null.
    """
    statement = _statement(sql)
    encoding = connection.info.encoding
    values = [_text(parameters[name], encoding) for name in statement.parameters]
    known = _prepared.setdefault(connection, set())
    if statement.name in known:
        try:
            return (yield from _run(connection, statement, values))
        except InvalidSqlStatementName:
            # A pooler between us and the server forgot it; nothing was executed.
            known.discard(statement.name)
    connection.pgconn.send_prepare(statement.name, statement.sql)
    yield from _result(connection)
    known.add(statement.name)
    return (yield from _run(connection, statement, values))


def _run(connection: AnyConnection, statement: _Statement, values: list[bytes | None]) -> PQGen[list[tuple[int, ...]]]:
    connection.pgconn.send_query_prepared(statement.name, values)
    result = yield from _result(connection)
    columns = range(result.nfields)
    return [tuple(int(result.get_value(row, each) or 0) for each in columns) for row in range(result.ntuples)]


def _result(connection: AnyConnection) -> PQGen[PGresult]:
    result: PGresult = (yield from execute(connection.pgconn))[-1]
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise error_from_result(result, encoding=connection.info.encoding)
    return result


@lru_cache(maxsize=64)
def _statement(sql: str) -> _Statement:
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
    numbered = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", sql)
    return _Statement(f"muster_{next(_numbers)}".encode(), numbered.encode(), tuple(names))


def _text(value: Any, encoding: str) -> bytes | None:
    return None if value is None else str(value).encode(encoding)
