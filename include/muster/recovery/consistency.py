"""Queries that must answer nothing: what automations declare under `checks`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import psycopg
from psycopg import errors

from muster.database import Database
from muster.events.failures import database_failures

LONGEST_WAIT = "30s"
"""How long one query may take."""
SHOWN = 5
"""Rows of a violation that are shown."""


class Query(Protocol):
    """A check as a definition has it."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def sql(self) -> str | None:
        """What finds what is wrong; None when it is no query that does."""


@dataclass(frozen=True)
class Violation:
    """A check that does not hold, or gave no answer."""

    check: str
    message: str
    """What it found, at most `SHOWN` rows of it."""
    more: int | None = 0
    """How many rows it found beside those; None when counting them took too long."""

    @property
    def text(self) -> str:
        """The message, and how much is not in it."""
        if self.more == 0:
            return self.message
        return f"{self.message}; and {'more' if self.more is None else f'{self.more:,} more'}"


def violations(database: Database, checks: Iterable[Query]) -> list[Violation]:
    """What does not hold, each query asked in a transaction of its own that can only read.

    Raises:
        TransientError: the database was lost.
    """
    asked = [(check.name, check.sql) for check in checks if check.sql is not None]
    return [violation for name, sql in asked if (violation := _violation(database, name, sql)) is not None]


def shown(name: str, rows: Sequence[object], more: int | None = 0) -> Violation:
    """A check that found these rows, and more that are not among them."""
    beyond = len(rows[SHOWN:])
    return Violation(name, "; ".join(_line(row) for row in rows[:SHOWN]), more if more is None else more + beyond)


def unasked(name: str, error: BaseException | str) -> Violation:
    """A check that gave no answer."""
    return Violation(name, f"it cannot be asked: {str(error).partition(chr(10))[0]}")


def _line(row: object) -> str:
    return ", ".join(map(str, row)) if isinstance(row, list | tuple) else str(row)


def _violation(database: Database, name: str, sql: str) -> Violation | None:
    with database_failures(), database.connection() as connection:
        try:
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(f"SET LOCAL statement_timeout = '{LONGEST_WAIT}'")
            # A cursor, because a check that finds everything wrong would bring all rows here. Prepared, because only
            # then does the server refuse several statements: after a COMMIT among them the rest could write.
            connection.execute(f"DECLARE found NO SCROLL CURSOR FOR {sql}", prepare=True)
            rows = connection.execute(f"FETCH {SHOWN} FROM found").fetchall()
            more = _count_rest(connection) if len(rows) == SHOWN else 0
        except psycopg.Error as error:
            # A check that takes too long, or needs more than the server gives it, does not stop the other checks.
            if connection.closed:
                raise
            if "multiple commands" in str(error):
                return unasked(name, "it is no query: a check is one statement that answers rows")
            return unasked(name, error)
        finally:
            # It only read; what it set for its session ends as the connection goes back.
            if not connection.closed:
                connection.rollback()
    return shown(name, rows, more) if rows else None


def _count_rest(connection: psycopg.Connection[object]) -> int | None:
    try:
        return connection.execute("MOVE FORWARD ALL FROM found").rowcount
    except errors.QueryCanceled:
        return None
