"""Queries that must answer nothing: what automations declare under `checks`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

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
    def sql(self) -> str:
        """What finds what is wrong."""


@dataclass(frozen=True)
class Violation:
    """A check that does not hold, or cannot be asked."""

    check: str
    message: str


def violations(database: Database, checks: Iterable[Query]) -> list[Violation]:
    """What does not hold, each asked in a transaction of its own that can only read."""
    return [found for check in checks if (found := _violation(database, check)) is not None]


def _violation(database: Database, check: Query) -> Violation | None:
    try:
        with database.connection() as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(f"SET LOCAL statement_timeout = '{PATIENCE}'")
            rows = connection.execute(check.sql).fetchmany(SHOWN)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        return Violation(check.name, f"it cannot be asked: {str(error).partition(chr(10))[0]}")
    if not rows:
        return None
    return Violation(check.name, "; ".join(", ".join(map(str, row)) for row in rows))
