"""Queries that must answer nothing: what automations declare under `checks`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg

from muster.database import Database

PATIENCE = "30s"
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
    """A check that does not hold, or cannot be asked."""

    check: str
    message: str


def violations(database: Database, checks: Iterable[Query]) -> list[Violation]:
    """What does not hold, each query asked in a transaction of its own that can only read."""
    asked = [(check.name, check.sql) for check in checks if check.sql is not None]
    return [found for name, sql in asked if (found := _violation(database, name, sql)) is not None]


def shown(name: str, rows: Sequence[Any]) -> Violation:
    """A check that found these rows."""
    return Violation(name, "; ".join(_line(row) for row in rows[:SHOWN]))


def unasked(name: str, error: BaseException | str) -> Violation:
    """A check that gave no answer."""
    return Violation(name, f"it cannot be asked: {str(error).partition(chr(10))[0]}")


def _line(row: Any) -> str:
    return ", ".join(map(str, row)) if isinstance(row, list | tuple) else str(row)


def _violation(database: Database, name: str, sql: str) -> Violation | None:
    try:
        with database.connection() as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE}'")
            rows = connection.execute(sql).fetchmany(SHOWN)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        return unasked(name, error)
    return shown(name, rows) if rows else None
