"""The whole log, stream after stream, as fast as one connection gives it and in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg.sql import SQL

from muster.database import Database
from muster.events import statements
from muster.events.driver import Work, run
from muster.events.facts import FACT_COLUMNS, Fact, to_fact
from muster.events.failures import database_failures
from muster.events.objects import REFERENCE, attach, by_name, references
from muster.events.state import RunState

CHUNK = 500
"""Rows the server sends at a time: enough that it works ahead, few enough that they stay in the processor's cache."""

_SCAN = SQL(f"SELECT {FACT_COLUMNS} FROM events ORDER BY stream, version")
_LARGE = f'"{REFERENCE}"'


def scan(database: Database) -> Iterator[Fact]:
    """Every event by stream and version, as of the moment the scan begins; large values included.

    Raises:
        TransientError: the database was lost on the way.
    """
    with database_failures(), database.connection() as connection:
        # In UTC, the zone that events have, so that no time has to be converted.
        connection.execute("SET LOCAL TIME ZONE 'UTC'")
        for row in connection.cursor(binary=True).stream(_SCAN, size=CHUNK):
            fact = to_fact(row)
            # On another connection: this one is in the middle of its rows.
            yield _resolved(database, fact) if _LARGE in row[5] else fact


def states(database: Database) -> Iterator[RunState]:
    """The state of every stream, folded from all of its events: one at a time, in order of name."""
    stream, state = None, RunState()
    for fact in scan(database):
        # Not `groupby`: it costs each event as much as reading a column of it.
        if fact[0] != stream:
            if stream is not None:
                yield state
            stream, state = fact[0], RunState()
            apply = state.apply
        apply(fact)
    if stream is not None:
        yield state


def _resolved(database: Database, fact: Fact) -> Fact:
    wanted = references(fact.data) if isinstance(fact.data, dict) else set()
    if not wanted:
        return fact
    return fact._replace(data=attach(fact.data, run(database, _contents(wanted))))


def _contents(names: set[str]) -> Work[dict[str, bytes]]:
    return by_name((yield [statements.objects(names)])[0])
