"""Writers whose transactions begin, write and end in any order: a follower misses none of them."""

from __future__ import annotations

from uuid import uuid4

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.database import Database
from muster.events import statements
from muster.events.batch import EMPTY, plan, prepare
from muster.events.driver import plain
from muster.events.log import EventLog, Place
from muster.events.model import NewEvent

WRITERS = 4
ACTS = ("begin", "write", "end")
TURNS = st.permutations([writer for writer in range(WRITERS) for _ in ACTS])
"""Whose turn it is to do its next act."""
SOME = st.sets(st.integers(0, WRITERS - 1))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=TURNS, aborted=SOME, early=SOME)
def test_a_follower_sees_every_event_once_however_transactions_interleave(
    database: Database, dsn: str, turns: list[int], aborted: set[int], early: set[int]
) -> None:
    log, prefix = EventLog(database), f"{uuid4()}/"
    place, seen = end_of(log), list[str]()
    acts = [iter(ACTS) for _ in range(WRITERS)]
    writers = [psycopg.connect(dsn, autocommit=True) for _ in range(WRITERS)]
    try:
        for writer in turns:
            act(writers[writer], next(acts[writer]), f"{prefix}{writer}", writer in aborted, writer in early)
            page = log.follow(place)
            place, seen = page.place, [*seen, *(event.stream for event in page.events)]
    finally:
        for each in writers:
            each.close()
    assert sorted(seen) == sorted(f"{prefix}{writer}" for writer in range(WRITERS) if writer not in aborted)


def act(connection: psycopg.Connection, what: str, stream: str, aborts: bool, early: bool) -> None:
    """One act of one writer; `early`: its transaction has an id before it writes."""
    if what == "begin":
        connection.execute("BEGIN")
        if early:
            connection.execute("SELECT pg_current_xact_id()")
    elif what == "write":
        request = prepare(stream, [NewEvent(type="noted", data={})], None, None)
        assert connection.execute(*plain(statements.append(plan(stream, EMPTY, {}, [request])))).fetchall()
    else:
        connection.execute("ROLLBACK" if aborts else "COMMIT")


def end_of(log: EventLog) -> Place:
    """The place after everything that is there."""
    page = log.follow()
    while page.events:
        page = log.follow(page.place)
    return page.place
