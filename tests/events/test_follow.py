"""Following the whole log."""

from __future__ import annotations

import time

import psycopg

from muster.events import statements
from muster.events.batch import EMPTY, plan, prepare
from muster.events.driver import plain
from muster.events.log import START, EventLog, Place
from muster.events.model import Event, NewEvent
from support.processes import finish, start


def append_in(connection: psycopg.Connection, stream: str) -> None:
    """What `EventLog.append` does, in a transaction that the caller ends when it likes."""
    request = prepare(stream, [NewEvent(type="noted", data={})], None, None)
    rows = connection.execute(*plain(statements.append(plan(stream, EMPTY, {}, [request])))).fetchall()
    assert len(rows) == 1


def by_position(dsn: str, after: int) -> list[int]:
    """What a reader sees that believes positions become visible in order."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT position FROM events WHERE position > %s ORDER BY position", (after,))
        return [row[0] for row in rows]


def test_an_event_that_commits_late_is_not_skipped_where_a_reader_by_position_skips_it(log: EventLog, dsn: str) -> None:
    with psycopg.connect(dsn) as slow:
        append_in(slow, "slow")
        late = 1
        quick = log.append("quick", [NewEvent(type="noted", data={})])[0]
        assert quick.position > late
        naive = by_position(dsn, 0)
        page = log.follow()
        slow.commit()

    assert naive == [quick.position]
    assert by_position(dsn, naive[-1]) == [], "reading by position never sees the late event"
    seen = [*page.events, *log.follow(page.place).events]
    assert sorted(event.stream for event in seen) == ["quick", "slow"]


def test_transactions_that_end_in_reverse_order_are_all_followed_once(log: EventLog, dsn: str) -> None:
    writers = [psycopg.connect(dsn) for _ in range(6)]
    for number, writer in enumerate(writers):
        append_in(writer, f"s{number}")
    place, seen = START, list[Event]()
    for number, writer in reversed(list(enumerate(writers))):
        if number == 3:
            writer.rollback()
        else:
            writer.commit()
        page = log.follow(place)
        place, seen = page.place, [*seen, *page.events]
        writer.close()

    assert [event.stream for event in seen] == ["s0", "s1", "s2", "s4", "s5"]
    assert log.follow(place).events == []


def test_a_place_survives_being_written_down(log: EventLog) -> None:
    log.append("s", [NewEvent(type="noted", data={"n": n}) for n in range(5)])
    page = log.follow(limit=2)
    rest = log.follow(Place.parse(str(page.place)))

    assert [event.data["n"] for event in [*page.events, *rest.events]] == [0, 1, 2, 3, 4]


WRITE = """
import random, sys
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import NewEvent
dsn, name = sys.argv[1:]
log, dice = EventLog(Database(dsn, max_size=1)), random.Random(name)
for number in range(150):
    stream = dice.choice(["shared", name])
    log.append(stream, [NewEvent(type="noted", data={"n": number})] * dice.choice([1, 1, 3]))
"""


def test_a_follower_of_many_writers_misses_nothing_and_keeps_each_streams_order(log: EventLog, dsn: str) -> None:
    writers = [start(WRITE, dsn, name) for name in "abcdef"]
    place, seen = START, list[Event]()
    while True:
        finished = all(writer.poll() is not None for writer in writers)
        page = log.follow(place, limit=50)
        place, seen = page.place, [*seen, *page.events]
        if not page.events:
            if finished:
                break
            time.sleep(0.01)
    finish(*writers)

    stored = {(event.stream, event.version) for stream in log.streams() for event in log.read(stream)}
    assert len(seen) == len(stored) >= 6 * 150
    versions: dict[str, int] = {}
    for event in seen:
        assert event.version == versions.get(event.stream, 0) + 1
        versions[event.stream] = event.version
