"""Appending and reading."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from decimal import Decimal

import psycopg
import pytest

from muster.database import Database
from muster.errors import ConcurrencyError, DatabaseLost, PermanentError, TransientError
from muster.events.log import READ_PAGE, EventLog
from muster.events.model import NewEvent
from support.postgres_proxy import postgres_proxy
from support.processes import finish, start


def noted(step: str = "read", *, key: str | None = None, **data: object) -> NewEvent:
    return NewEvent(type="noted", key=key, data={"step": step, **data})


def test_events_come_back_as_they_were_appended(log: EventLog) -> None:
    data = {
        "step": "a",
        "text": "Größe 漢字 🦀 \0 \ud800",
        "number": 1.10,
        "big": 10**30,
        "none": None,
        "list": [[], {}],
    }
    cause = log.append("s", [NewEvent(type="first", data={}, actor="ada", key="k")], correlation="c")[0]
    written = log.append("s", [NewEvent(type="second", data=data, causation=cause.id)])

    assert list(log.read("s")) == [cause, *written]
    assert [(e.version, e.correlation, e.actor) for e in log.read("s")] == [(1, "c", "ada"), (2, "s", "muster")]
    assert written[0].previous_hash == cause.hash
    assert written[0].at.utcoffset() is not None


def test_a_long_stream_is_read_page_by_page(log: EventLog) -> None:
    log.append("s", [noted(number=number) for number in range(READ_PAGE * 2 + 1)])

    assert [event.data["number"] for event in log.read("s")] == list(range(READ_PAGE * 2 + 1))
    assert [event.version for event in log.read("s", after_version=READ_PAGE * 2)] == [READ_PAGE * 2 + 1]


def test_a_reader_takes_only_the_steps_and_types_it_asks_for(log: EventLog) -> None:
    log.append("s", [NewEvent(type="opened", data={}), noted("a"), noted("b"), noted("c")])

    assert [event.version for event in log.read("s", steps=["a", "c"])] == [1, 2, 4]
    assert [event.version for event in log.read("s", steps=[])] == [1]
    assert [event.version for event in log.read("s", types=["opened"])] == [1]


def test_an_expected_version_that_is_wrong_writes_nothing_and_names_both(log: EventLog) -> None:
    log.append("s", [noted(), noted()], expected=0)

    with pytest.raises(ConcurrencyError, match="version 2, not 1"):
        log.append("s", [noted()], expected=1)
    with pytest.raises(ConcurrencyError, match="version 2, not 0"):
        log.append("s", [noted()], expected=0)
    with pytest.raises(ConcurrencyError, match="version 0, not 3"):
        log.append("other", [noted()], expected=3)

    assert log.version("s") == 2
    assert log.append("s", [noted()], expected=2)[0].version == 3


@pytest.mark.parametrize("knows", [True, False], ids=["who has written before", "who has not"])
def test_an_expected_version_may_be_about_some_steps(log: EventLog, dsn: str, knows: bool) -> None:
    """Events of other steps may have come since; one of its own, or of no step, refuses the append."""
    other = EventLog(Database(dsn))
    (other if knows else log).append("s", [noted("a")], expected=0)
    log.append("s", [noted("b"), noted("c")])
    assert other.append("s", [noted("a")], expected=1, within=["a"])[0].version == 4
    log.append("s", [noted("b")])
    with pytest.raises(ConcurrencyError, match="not 3 as expected"):
        other.append("s", [noted("a")], expected=3, within=["a"])
    log.append("s", [NewEvent(type="closed", data={}), noted("b")])
    with pytest.raises(ConcurrencyError, match="not 5 as expected"):
        other.append("s", [noted("a")], expected=5, within=["a"])
    assert other.append("s", [noted("a", key="k")], expected=6, within=["a"])[0].version == 8
    assert other.append("s", [noted("a", key="k")], expected=1, within=["a"])[0].version == 8, "given again, it stands"
    other.database.close()


async def test_of_appends_that_share_a_transaction_one_of_the_same_step_refuses_those_after_it(log: EventLog) -> None:
    await log.aappend("s", [noted("a")])
    appends = [log.aappend("s", [noted(step)], expected=1, within=[step]) for step in ("a", "b", "a")]
    found = await asyncio.gather(*appends, return_exceptions=True)
    assert [type(each).__name__ for each in found] == ["list", "list", "ConcurrencyError"]
    assert [event.data["step"] for event in log.read("s")] == ["a", "a", "b"]
    await log.database.aclose()


def test_a_key_is_written_once_and_the_stored_event_answers_for_it(log: EventLog, database: Database) -> None:
    first = log.append("s", [noted(key="k", output=1)])[0]
    again = log.append("s", [noted(output=2), noted(key="k", output=3), noted(key="l"), noted(key="l", output=4)])

    assert [event.version for event in again] == [2, 1, 3, 3]
    assert again[1] == first
    assert log.append("s", [noted(key="k")], expected=0) == [first]
    assert EventLog(database).append("s", [noted(key="k")]) == [first]
    assert log.append("other", [noted(key="k")])[0].version == 1
    assert log.version("s") == 3


def test_another_writer_in_between_costs_a_round_trip_and_nothing_else(database: Database) -> None:
    one, two = EventLog(database), EventLog(database)
    for number in range(5):
        one.append("s", [noted(by="one", number=number)])
        two.append("s", [noted(by="two", number=number), noted(by="two", number=number)])

    assert [event.version for event in one.read("s")] == list(range(1, 16))
    assert one.verify("s") is None


@pytest.mark.parametrize(
    "event",
    [
        NewEvent(type="t", data={"amount": Decimal(1)}),
        NewEvent(type="t", data={"amount": float("nan")}),
        NewEvent(type="t", data={}, actor="a\0b"),
        NewEvent(type="t", data={"step": "\ud800"}),
        NewEvent(type="t", data={}, key=random.Random(1).randbytes(9000).hex()),
    ],
)
def test_what_cannot_be_stored_is_refused_for_good_and_nothing_is_written(log: EventLog, event: NewEvent) -> None:
    with pytest.raises(PermanentError):
        log.append("s", [noted(), event])
    assert log.version("s") == 0


def test_large_values_are_kept_as_objects_and_come_back_whole(log: EventLog, database: Database) -> None:
    large = {"step": "a", "output": ["ä" * 50_000], "input": "x" * 40_000, "note": "small"}
    written = log.append("s", [NewEvent(type="t", data=large, key="k"), NewEvent(type="t", data=large)])

    assert [event.data for event in log.read("s")] == [large, large]
    assert written[0].data == large
    assert log.append("s", [NewEvent(type="t", data=large, key="k")])[0].data == large
    with database.connection() as connection:
        assert connection.execute("SELECT max(length(data::text)) < 65536 FROM events").fetchone() == (True,)
        assert connection.execute("SELECT count(*) FROM objects").fetchone() == (1,)
    page = log.follow()
    assert "$object" in page.events[0].data["output"]
    assert log.resolve(page.events)[0].data == large


def test_data_that_looks_like_a_reference_cannot_reach_another_object(log: EventLog) -> None:
    log.append("secret", [NewEvent(type="t", data={"output": "s" * 70_000})])
    forged = {"output": log.follow().events[0].data["output"]}
    assert "$object" in forged["output"]

    log.append("s", [NewEvent(type="t", data=forged)])

    assert [event.data for event in log.read("s")] == [forged]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE events SET actor = 'x'", "DELETE FROM events", "TRUNCATE events", "UPDATE events SET data = '{}'"],
)
def test_the_log_refuses_every_change(log: EventLog, database: Database, statement: str) -> None:
    log.append("s", [noted()])
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"), database.connection() as connection:
        connection.execute(statement)
    assert log.version("s") == 1


APPEND_MANY = """
import sys
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import NewEvent
dsn, name, own = sys.argv[1:]
log = EventLog(Database(dsn, max_size=1))
for number in range(40):
    log.append("shared", [NewEvent(type="noted", data={"by": name, "number": number}),
                          NewEvent(type="noted", data={"by": name, "number": number}, key=f"{number}")])
    log.append(own, [NewEvent(type="noted", data={"number": number})])
"""


def test_processes_that_write_one_stream_at_once_lose_and_repeat_nothing(log: EventLog, dsn: str) -> None:
    names = ["p", "q", "r", "s"]
    finish(*[start(APPEND_MANY, dsn, name, f"own-{name}") for name in names])

    shared = list(log.read("shared"))
    assert [event.version for event in shared] == list(range(1, 4 * 40 + 40 + 1))
    for name in names:
        unkeyed = [event.data["number"] for event in shared if event.data["by"] == name and event.key is None]
        assert unkeyed == list(range(40))
        assert log.version(f"own-{name}") == 40
    assert sorted(int(event.key) for event in shared if event.key is not None) == list(range(40))
    assert list(log.verify_all()) == []


HANG = """
import sys, time, psycopg
from muster.events import statements
from muster.events.batch import EMPTY, plan, prepare
from muster.events.driver import plain
from muster.events.model import NewEvent
connection = psycopg.connect(sys.argv[1])
events = [NewEvent(type="step.started", data={"step": "a"})]
connection.execute(*plain(statements.append(plan("s", EMPTY, {}, [prepare("s", events, None, None)]))))
print("written", flush=True)
time.sleep(60)
"""


def test_a_writer_killed_in_its_transaction_leaves_nothing_and_holds_up_nobody(log: EventLog, dsn: str) -> None:
    writer = start(HANG, dsn)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    assert log.version("s") == 0
    writer.kill()
    writer.communicate()

    assert log.append("s", [noted()])[0].version == 1
    assert [event.type for event in log.read("s")] == ["noted"]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM steps").fetchone() == (0,)


def test_streams_do_not_wait_for_one_another(log: EventLog, dsn: str) -> None:
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('s', 0))")
        waiting = threading.Thread(target=log.append, args=("s", [noted()]))
        waiting.start()
        try:
            assert log.append("other", [noted()])[0].version == 1
            time.sleep(0.1)
            assert waiting.is_alive()
        finally:
            holder.rollback()
            waiting.join(30)
    assert log.version("s") == 1


@pytest.mark.parametrize("known", [False, True])
def test_an_answer_lost_after_the_commit_is_transient_and_a_retry_writes_once(dsn: str, known: bool) -> None:
    with postgres_proxy(dsn) as proxy:
        database = Database(proxy.dsn, max_size=1)
        log = EventLog(database)
        if known:
            log.append("s", [noted(output="before")])
        log.append("warm", [noted()])
        proxy.lose_next_answer()
        with pytest.raises(TransientError):
            log.append("s", [noted(key="k", output=1)], expected=int(known))
        assert proxy.lost == 1
        retried = log.append("s", [noted(key="k", output=1)], expected=int(known))
        database.close()

    direct = Database(dsn)
    assert list(EventLog(direct).read("s"))[int(known) :] == retried
    assert [event.version for event in retried] == [1 + known]
    direct.close()


def test_a_connection_cut_while_waiting_is_transient_and_writes_nothing(log: EventLog, dsn: str) -> None:
    failures: list[Exception] = []

    def append() -> None:
        try:
            log.append("s", [noted()])
        except Exception as error:
            failures.append(error)

    with psycopg.connect(dsn) as holder, psycopg.connect(dsn, autocommit=True) as killer:
        holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('s', 0))")
        waiting = threading.Thread(target=append)
        waiting.start()
        deadline = time.monotonic() + 20
        while waiting.is_alive() and time.monotonic() < deadline:
            killer.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            time.sleep(0.02)
        waiting.join(1)

    assert [type(failure) for failure in failures] == [DatabaseLost]
    assert log.version("s") == 0
    assert log.append("s", [noted()])[0].version == 1


def test_a_database_that_is_not_there_is_transient() -> None:
    log = EventLog(Database("postgresql://muster@127.0.0.1:1/none?connect_timeout=1", timeout=0.5))
    with pytest.raises(TransientError, match="did not answer"):
        log.append("s", [noted()])
