"""Statements prepared once a connection."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from muster.database import Database
from muster.errors import TransientError
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.events.prepared import perform
from support.run_events import step


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def test_values_arrive_as_they_are_and_a_name_may_be_used_twice(connection: psycopg.Connection) -> None:
    sql = (
        "SELECT length(%(text)s::text), %(number)s::integer, (%(none)s::text IS NULL)::integer, length(%(text)s::text)"
    )
    for text in ("plain", "ä'\\ %s 漢", ""):
        answer = connection.wait(perform(connection, sql, {"text": text, "number": -7, "none": None}))
        assert answer == [(len(text), -7, 1, len(text))]
    prepared = connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'muster%%'")
    assert prepared.fetchone() == (1,)


def test_an_error_is_psycopgs_own_and_the_connection_stays_usable(connection: psycopg.Connection) -> None:
    sql = "SELECT 1 / %(number)s::integer"
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.wait(perform(connection, sql, {"number": 0}))
        assert connection.wait(perform(connection, sql, {"number": 1})) == [(1,)]
    with pytest.raises(psycopg.errors.SyntaxError):
        connection.wait(perform(connection, "SELEKT %(number)s::integer", {"number": 1}))


def test_a_text_with_a_nul_is_refused_and_not_cut_off_there(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection, pytest.raises(psycopg.DataError, match="NUL"):
        connection.wait(perform(connection, "SELECT length(%(text)s::text)", {"text": "a\0b"}))


def test_a_pooler_that_forgets_prepared_statements_costs_a_round_trip_and_nothing_else(dsn: str) -> None:
    database = Database(dsn, max_size=1)
    log = EventLog(database)
    for number in range(6):
        log.append("s", [step(T.STEP_STARTED, "a", number)])
        with database.connection() as connection:
            connection.execute("DEALLOCATE ALL")
    assert log.version("s") == 6
    database.close()


def test_a_transaction_after_an_append_on_the_same_connection_is_a_transaction(dsn: str) -> None:
    database = Database(dsn, max_size=1)
    EventLog(database).append("s", [NewEvent(type="noted", data={})])
    insert = "INSERT INTO definitions (hash, automation, content) VALUES ('h', 'a', '{}')"
    with pytest.raises(psycopg.errors.UniqueViolation), database.connection() as connection:
        connection.execute(f"{insert}, ('other', 'a', '{{}}'); {insert}")
    with database.connection() as connection:
        assert connection.execute("SELECT count(*) FROM definitions").fetchone() == (0,)
    database.close()


def test_a_pool_without_a_free_connection_is_transient(dsn: str) -> None:
    database = Database(dsn, max_size=1, timeout=0.2)
    with database.connection(), pytest.raises(TransientError):
        EventLog(database).version("s")
    database.close()


def test_what_the_driver_had_the_server_forget_is_prepared_again_also_within_a_transaction(dsn: str) -> None:
    database = Database(dsn, max_size=1)
    loan = database.borrow()
    try:
        assert loan.connection.wait(perform(loan.connection, "SELECT %(n)s::int", {"n": 1})) == [(1,)]
        loan.connection.execute("SELECT 2", prepare=True)
        # The driver knows of one that it has prepared itself, and has all of them forgotten.
        for statement in ("BEGIN", "ROLLBACK", "BEGIN"):
            loan.connection.execute(statement)
        assert loan.connection.wait(perform(loan.connection, "SELECT %(n)s::int", {"n": 3})) == [(3,)]
        loan.connection.execute("COMMIT")
    finally:
        database.give_back(loan)
        database.close()
