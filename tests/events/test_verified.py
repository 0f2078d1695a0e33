"""Promises of the log that runs are gone on with: a sound one is never called harmed, whoever writes meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable

import psycopg
import pytest

from muster.database import Database, Loan
from muster.events.batch import prepare
from muster.events.driver import HotQuery, Rows, Work, _execute, run_within
from muster.events.log import READ_PAGE, EventLog
from muster.events.model import Event, NewEvent
from muster.events.tampering import TamperedLog
from muster.events.verified import VerifiedLog


def rest(loan: Loan, work: Work[list[Event]], answers: list[Rows]) -> list[Event]:
    """What the work comes to, from these answers on."""
    while True:
        try:
            queries = work.send(answers)
        except StopIteration as stop:
            found: list[Event] = stop.value
            return found
        answers = _execute(loan.connection, queries)


def some(step: str, count: int = 1) -> list[NewEvent]:
    return [NewEvent(type="step.started", data={"step": step, "index": n, "epoch": 0}) for n in range(count)]


def one_more_connection(database: Database, _: VerifiedLog) -> None:
    loans: list[Loan] = [database.borrow(), database.borrow()]
    for loan in loans:
        database.give_back(loan)


MEANWHILE: dict[str, Callable[[Database, VerifiedLog], None]] = {
    "another connection is opened": one_more_connection,
    "what was known is dropped for other streams": lambda _, log: log.verified._known.clear(),
}


@pytest.mark.parametrize("found", [["a", "b"], ["a"]], ids=["just before its statement", "just after it"])
@pytest.mark.parametrize("what", MEANWHILE)
def test_an_event_written_while_a_stream_is_read_is_no_harm(
    database: Database, dsn: str, what: str, found: list[str]
) -> None:
    log, other = VerifiedLog(database), EventLog(Database(dsn))
    other.append("run", some("a"))
    assert len(list(log.read("run"))) == 1
    loan = database.borrow()
    work = log._read("run", 0, None, None)
    try:
        asked = next(work)
        answers = _execute(loan.connection, asked) if found == ["a"] else []
        other.append("run", some("b"))
        answers = answers or _execute(loan.connection, asked)
        MEANWHILE[what](database, log)
        assert [event.data["step"] for event in rest(loan, work, answers)] == found
    finally:
        database.give_back(loan)
        other.database.close()


def test_a_read_of_a_stream_is_one_statement_and_an_append_after_it_another_one(database: Database) -> None:
    EventLog(database).append("run", some("a", 3))
    log = VerifiedLog(database)
    for _ in range(2):
        assert len(next(log._read("run", 0, ["a"], None))) == 1
        assert len(list(log.read("run", steps=["a"]))) == 3
    assert [type(query) for query in next(log._append("run", [prepare("run", some("b"), None, None)]))] == [HotQuery]


def test_an_append_does_not_follow_an_event_that_was_rolled_back(database: Database) -> None:
    log = VerifiedLog(database)
    log.append("run", some("a"))
    assert len(list(log.read("run"))) == 1
    event = NewEvent(type="step.started", data={"step": "b", "index": 0, "epoch": 0}, key="once")
    with database.connection() as connection:
        for _ in range(2):  # The second time the first event is looked up, by its key, and checked.
            run_within(connection, log.appending("run", [event]))
        connection.rollback()
    assert [event.version for event in log.append("run", some("c"))] == [2]
    assert [event.data["step"] for event in log.read("run")] == ["a", "c"]
    assert log.verify("run") is None


def test_more_keys_than_a_page_has_events_are_found_at_once(database: Database) -> None:
    log, keys = VerifiedLog(database), [f"key {number}" for number in range(READ_PAGE + 50)]
    log.append("run", [NewEvent(type="step.started", data={"step": "a"}, key=key) for key in keys])
    for _ in range(2):  # The first time all are new.
        assert list(log.under_keys("run", keys)) == keys


def test_another_connection_does_not_have_a_stream_verified_anew(database: Database) -> None:
    log = VerifiedLog(database)
    log.append("run", some("a", 50))
    list(log.read("run"))
    before = database.sessions
    one_more_connection(database, log)
    assert database.sessions > before
    (check,) = next(log._read("run", 0, None, None))
    assert check.parameters["seen"] == 50  # type: ignore[call-overload]


READS: dict[str, Callable[[VerifiedLog], list[str]]] = {
    "everything": lambda log: [event.data["step"] for event in log.read("run")],
    "one step": lambda log: [event.data["step"] for event in log.read("run", steps=["a", "b", "c"])],
    "a key": lambda log: ["a", *(event.data["step"] for event in log.under_keys("run", ["end"]).values())],
}


@pytest.mark.parametrize("since", [[], ["c"]], ids=["nothing written since", "others written in their place"])
@pytest.mark.parametrize("how", READS)
def test_a_server_that_took_over_and_lacks_the_last_events_is_read_as_it_is(
    database: Database, dsn: str, how: str, since: list[str]
) -> None:
    log = VerifiedLog(database)
    log.append("run", some("a"))
    log.append("run", [NewEvent(type="step.started", data={"step": "b", "index": 0, "epoch": 0}, key="end")])
    assert READS[how](log) == ["a", "b"]
    lose_the_last(dsn)
    database.close()
    for step in since:
        event = NewEvent(type="step.started", data={"step": step, "index": 0, "epoch": 0}, key="end")
        EventLog(Database(dsn)).append("run", [event])
    assert READS[how](log) == ["a", *since]


def test_a_harmed_stream_is_called_so_however_often_it_is_read(database: Database, dsn: str) -> None:
    log = VerifiedLog(database)
    log.append("run", some("a", 3))
    list(log.read("run"))
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        connection.execute("UPDATE events SET actor = 'eve' WHERE version = 2")
        connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")
    for _ in range(3):
        with pytest.raises(TamperedLog, match="event 2"):
            list(log.read("run"))
        with pytest.raises(TamperedLog, match="event 2"):
            log.append("run", some("b"))


def lose_the_last(dsn: str) -> None:
    """What a server has that took over before the last event had come to it."""
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        connection.execute("DELETE FROM events WHERE stream = 'run' AND version = 2")
        connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")


WRITER = """
import sys
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import NewEvent

log, number = EventLog(Database(sys.argv[1])), 0
while True:
    log.append(f"run{number // 300}", [NewEvent(type="step.started", data={"step": "a", "index": None, "epoch": 0})])
    number += 1
"""


def test_readers_whose_pool_grows_while_others_write_see_a_sound_log(dsn: str) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, dsn]) for _ in range(2)]

    async def reading(log: VerifiedLog, stream: str, until: float) -> int:
        reads = 0
        while time.monotonic() < until:
            reads += bool([event async for event in log.aread(stream)])
        return reads

    async def growing(database: Database) -> None:
        loans = []
        for _ in range(20):
            await asyncio.sleep(0.01)
            loans.append(await database.aborrow())
        for loan in loans:
            await database.agive_back(loan)

    async def together() -> int:
        database = Database(dsn, max_size=24)
        log, stream, until = VerifiedLog(database), newest(dsn), time.monotonic() + 0.6
        try:
            *reads, _ = await asyncio.gather(*(reading(log, stream, until) for _ in range(3)), growing(database))
            return sum(reads)  # type: ignore[arg-type]
        finally:
            await database.aclose()

    try:
        assert sum(asyncio.run(together()) for _ in range(10)) > 10
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


def newest(dsn: str) -> str:
    """The stream that was written to last; waits for the first."""
    query = "SELECT stream FROM events ORDER BY position DESC LIMIT 1"
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(400):
            if (row := connection.execute(query).fetchone()) is not None:
                return str(row[0])
            time.sleep(0.05)
    raise AssertionError("nothing is written")
