"""Writers that die and connections that break, again and again: all of an append is written, once, or nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from muster.database import Database
from muster.errors import DatabaseLost, TransientError
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.events.rebuild import rebuild
from support.processes import start

BATCH = 7

APPEND_UNTIL_KILLED = f"""
import sys
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import NewEvent
log, n = EventLog(Database(sys.argv[1], max_size=1)), 0
while True:
    log.append("s", [NewEvent(type="model.called", data={{"step": "a", "index": i}}) for i in range({BATCH})])
    print(n, flush=True)
    n += 1
"""


@contextmanager
def cutting_connections(dsn: str) -> Iterator[None]:
    """Cuts every other connection to the database again and again."""
    stop = threading.Event()
    cut = (
        "WITH others AS MATERIALIZED (SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()) SELECT pg_terminate_backend(pid) FROM others"
    )

    def cutting() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not stop.wait(0.03):
                connection.execute(cut)
            # Being cut takes a moment: whoever reads afterwards must not meet the last one.
            while connection.execute(cut).fetchall():
                pass

    thread = threading.Thread(target=cutting)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_writers_killed_at_any_moment_leave_whole_batches(log: EventLog, dsn: str, database: Database) -> None:
    for number in range(4):
        writer = start(APPEND_UNTIL_KILLED, dsn)
        assert writer.stdout is not None
        try:
            for _ in range(3 + number):
                assert writer.stdout.readline()
        finally:
            writer.kill()
            writer.communicate()
    # Whoever is still at work on the server ends first: an append that was under way counts or does not.
    log.append("s", [NewEvent(type="noted", data={})], expected=None)

    events = list(log.read("s"))
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert (len(events) - 1) % BATCH == 0
    assert len(events) - 1 >= BATCH * (3 + 4 + 5 + 6)
    assert log.verify("s") is None
    with psycopg.connect(dsn) as connection:
        counted = "SELECT calls, (SELECT sum(calls) FROM steps) FROM runs"
        live = connection.execute(counted).fetchone()
        rebuild(database)
        assert connection.execute(counted).fetchone() == live == (len(events) - 1, len(events) - 1)


def test_appends_tried_again_with_their_keys_after_any_cut_are_written_once(log: EventLog, dsn: str) -> None:
    failures = appended = 0
    deadline = time.monotonic() + 60
    with cutting_connections(dsn):
        while appended < 60 or failures < 3:
            news = [NewEvent(type=T.STEP_SUCCEEDED, key=f"{appended}/{n}", data={"step": "a"}) for n in range(2)]
            assert time.monotonic() < deadline, (appended, failures)
            try:
                written = log.append("s", news)
            except TransientError:
                failures += 1
            else:
                assert [event.key for event in written] == [each.key for each in news]
                appended += 1

    assert [event.key for event in log.read("s")] == [f"{number}/{n}" for number in range(appended) for n in range(2)]
    assert log.verify("s") is None


async def test_a_group_whose_connection_is_cut_is_transient_for_all_and_written_once_when_tried_again(
    dsn: str, database: Database
) -> None:
    log = EventLog(database)
    with psycopg.connect(dsn, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(hashtextextended('s', 0))")
        calls = [
            asyncio.ensure_future(log.aappend("s", [NewEvent(type="noted", key=f"{n}", data={})])) for n in range(50)
        ]
        cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not holder.execute(cut).fetchall():
            await asyncio.sleep(0.02)
        results = await asyncio.gather(*calls, return_exceptions=True)
        holder.execute("SELECT pg_advisory_unlock_all()")

    assert {type(result) for result in results} == {DatabaseLost}
    assert await log.aversion("s") == 0
    again = [log.aappend("s", [NewEvent(type="noted", key=f"{n % 50}", data={})]) for n in range(100)]
    answers = await asyncio.gather(*again)
    await database.aclose()
    assert [answer[0].key for answer in answers] == [f"{n % 50}" for n in range(100)]
    assert sorted({answer[0].version for answer in answers}) == list(range(1, 51))


async def test_of_five_hundred_coroutines_one_fails_and_each_gets_its_own_answer(database: Database) -> None:
    log = EventLog(database)
    unfit = {"step": "a", "output": float("nan")}
    calls = [
        log.aappend("s", [NewEvent(type="noted", key=f"{n}", data=unfit if n == 250 else {"n": n}), *_more(n)])
        for n in range(500)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    stored = [event async for event in log.aread("s")]
    await database.aclose()

    assert [n for n, result in enumerate(results) if isinstance(result, Exception)] == [250]
    for n, result in enumerate(results):
        if isinstance(result, list):
            assert [(event.key, event.version) for event in result] == [
                (event.key, event.version) for event in stored if event.data["n"] == n
            ]
    assert len(stored) == 499 + len(range(0, 500, 3))


def _more(n: int) -> list[NewEvent]:
    """Some callers bring two events."""
    return [] if n % 3 else [NewEvent(type="noted", data={"n": n})]


async def test_a_server_that_took_over_without_the_last_events_is_written_to_from_where_it_stands(
    dsn: str, database: Database
) -> None:
    log = EventLog(database)
    for number in range(3):
        log.append("s", [NewEvent(type="noted", data={"number": number})])
        await log.aappend("a", [NewEvent(type="noted", data={"number": number})])
    with psycopg.connect(dsn, autocommit=True) as server:
        # What a failover to a replica that lagged behind does: events are gone, and every connection with them.
        server.execute("ALTER TABLE events DISABLE TRIGGER append_only")
        server.execute("DELETE FROM events WHERE version > 1")
        server.execute("ALTER TABLE events ENABLE TRIGGER append_only")
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    assert log.append("s", [NewEvent(type="noted", data={})])[0].version == 2
    assert (await log.aappend("a", [NewEvent(type="noted", data={})]))[0].version == 2
    await database.aclose()
    assert list(log.verify_all()) == []
