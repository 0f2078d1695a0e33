"""What a failure of the database means to the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from muster.database import Database
from muster.errors import DatabaseLost, MusterError, PermanentError, TransientError
from muster.events.failures import database_failures
from muster.events.log import EventLog
from muster.events.model import NewEvent
from muster.events.queries import Queries


def test_a_database_without_muster_s_tables_says_how_to_make_them(dsn: str) -> None:
    database = Database(psycopg.conninfo.make_conninfo(dsn, dbname="postgres"))
    with pytest.raises(MusterError, match=r"lacks Muster's tables.*muster up") as caught:
        EventLog(database).version("s")
    database.close()
    assert not isinstance(caught.value, PermanentError | TransientError)


@pytest.mark.parametrize(
    "ask",
    [
        lambda log, queries, name: list(log.read(name)),
        lambda log, queries, name: log.under_keys("s", [name]),
        lambda log, queries, name: log.version(name),
        lambda log, queries, name: log.append(name, [NewEvent(type="noted", data={})]),
        lambda log, queries, name: queries.run(name),
    ],
)
@pytest.mark.parametrize("name", ["a\0b", "a\udcff"])
def test_a_name_that_is_no_text_is_refused_for_good(
    log: EventLog, database: Database, ask: Callable[[EventLog, Queries, str], object], name: str
) -> None:
    with pytest.raises(PermanentError):
        ask(log, Queries(database), name)


def test_a_stream_without_a_name_is_refused(log: EventLog) -> None:
    with pytest.raises(PermanentError, match="needs a name"):
        log.append("", [NewEvent(type="noted", data={})])


@pytest.mark.parametrize("code", ["40001", "40P01", "53100", "53300", "57P01", "57014", "08006"])
def test_what_may_pass_is_transient(database: Database, code: str) -> None:
    with pytest.raises(TransientError, match="did not answer: as asked"):
        with database_failures(), database.connection() as connection:
            connection.execute(f"DO $$ BEGIN RAISE 'as asked' USING ERRCODE = '{code}'; END $$")


@pytest.mark.parametrize("code", ["22003", "22P02", "54000", "54001"])
def test_what_can_never_be_stored_is_permanent(database: Database, code: str) -> None:
    with pytest.raises(PermanentError, match="refused a value: as asked"):
        with database_failures(), database.connection() as connection:
            connection.execute(f"DO $$ BEGIN RAISE 'as asked' USING ERRCODE = '{code}'; END $$")


def test_no_connection_left_in_the_pool_is_transient(dsn: str) -> None:
    database = Database(dsn, max_size=1, timeout=0.2)
    with database.connection():
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                EventLog(database).version("s")
            except MusterError as error:
                failed.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(30)
    database.close()
    assert [type(error) for error in failed] == [DatabaseLost]


def test_errors_that_are_no_failure_of_the_database_pass_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        with database_failures():
            Decimal(1) / 0
