"""Event append against plain INSERT: `python tests/perf/bench_events.py` prints ratios measured in one run.

Eight processes write, each on a connection of its own, with PostgreSQL's default durability. The plain INSERT
writes the same rows into a table with the same columns and indexes and no chain, lock or projection. It is
measured at its fastest, one prepared statement in autocommit, and as psycopg does it unless told otherwise,
with BEGIN and COMMIT around it. The ways take turns in short rounds, so that other load on the machine meets
all of them alike. Afterwards all eight write again while a reader follows the log.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from multiprocessing.synchronize import Barrier
from typing import Any
from uuid import uuid4

import psycopg
from figures import Figure, note
from servers import fresh_database, postgres

from muster.database import Database
from muster.events.log import START, EventLog
from muster.events.model import EventType, NewEvent

WRITERS = 8
ROUNDS = 12
SECONDS = 0.6
"""Of one way in one round."""
FOLLOWED_SECONDS = 2.0
BATCH = 4
"""Events in one append of several."""

OUTPUT = {
    "number": "R-2026-0042",
    "total": "1190.00",
    "currency": "EUR",
    "lines": [{"net": "1000.00", "vat": "19"}],
}

COLUMNS = [
    "stream",
    "version",
    "id",
    "at",
    "causation",
    "type",
    "step",
    "key",
    "actor",
    "correlation",
    "previous_hash",
    "hash",
    "data",
]
ROW = f"({', '.join(['%s'] * (len(COLUMNS) - 1))}, %s::text::json)"


Write = Callable[[list[NewEvent]], Any]
Way = Callable[[str, str], Write]


def facts(type: str) -> Iterator[NewEvent]:
    """The events every way writes: the same for all."""
    index = 0
    while True:
        yield NewEvent(
            type=type,
            key=f"read[{index}]",
            data={"step": "read", "index": index, "output": OUTPUT, "produced_by": "finance.read_invoice"},
        )
        index += 1


def inserted(autocommit: bool) -> Way:
    """Plain INSERT: all rows in one statement, one transaction."""

    def make(dsn: str, stream: str) -> Write:
        connection = psycopg.connect(dsn, autocommit=autocommit)
        zero, version = bytes(32), 0

        def write(news: list[NewEvent]) -> None:
            nonlocal version
            values: list[Any] = []
            for new in news:
                version += 1
                values += (stream, version, uuid4(), datetime.now(UTC), None, new.type, new.data["step"], new.key)
                values += (new.actor, stream, zero, zero, json.dumps(new.data))
            rows = ", ".join([ROW] * len(news))
            connection.execute(f"INSERT INTO plain ({', '.join(COLUMNS)}) VALUES {rows}", values)
            if not autocommit:
                connection.commit()

        return write

    return make


def appended(dsn: str, stream: str) -> Write:
    """The log."""
    log = EventLog(Database(dsn, max_size=1))
    return lambda news: log.append(stream, news)


@dataclass(frozen=True)
class Contest:
    """One way to write, and what it is measured against."""

    make: Way
    type: str = EventType.STEP_SUCCEEDED
    events: int = 1
    against: str | None = None
    target: float | None = None


CONTESTS = {
    "plain INSERT": Contest(inserted(autocommit=True)),
    "plain INSERT with BEGIN and COMMIT": Contest(inserted(autocommit=False), against="plain INSERT"),
    "append, hash chain": Contest(appended, type="bench.noted", against="plain INSERT", target=0.85),
    "append, hash chain and projections": Contest(appended, against="plain INSERT", target=0.70),
    f"plain INSERT of {BATCH} rows": Contest(inserted(autocommit=True), events=BATCH),
    f"append of {BATCH}, hash chain and projections": Contest(
        appended, events=BATCH, against=f"plain INSERT of {BATCH} rows"
    ),
}


def writer(dsn: str, number: int, barrier: Barrier, counts: Any) -> None:
    """One of the eight: every way in every round, then the log once more for the reader."""
    ways = []
    for place, contest in enumerate(CONTESTS.values()):
        write, events = contest.make(dsn, f"bench/{place}/{number}"), facts(contest.type)
        ways.append((write, events, contest.events))
        for _ in range(10):  # connect, prepare
            write(list(islice(events, contest.events)))
    for round in range(ROUNDS):
        for place, way in enumerate(ways):
            barrier.wait()
            counts[(round * len(ways) + place) * WRITERS + number] = write_for(SECONDS, *way) / SECONDS
    barrier.wait()
    write_for(FOLLOWED_SECONDS, *ways[-1])


def write_for(seconds: float, write: Write, events: Iterator[NewEvent], batch: int) -> int:
    """How many events were written in the time."""
    end, done = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        write(list(islice(events, batch)))
        done += batch
    return done


def follower(dsn: str, barrier: Barrier, stop: Any, result: Any) -> None:
    """Reads the log while it grows, then counts what it missed or saw out of order."""
    # While rates are measured it waits: its own work must not be counted against one way of writing.
    for _ in range(ROUNDS * len(CONTESTS) + 1):
        barrier.wait()
    log, place, seen, versions, disorder = EventLog(Database(dsn)), START, 0, {}, 0
    while True:
        finished = stop.is_set()
        page = log.follow(place)
        place = page.place
        for event in page.events:
            disorder += event.version != versions.get(event.stream, 0) + 1
            versions[event.stream] = event.version
            seen += 1
        if finished and not page.events:
            break
        if not page.events:
            time.sleep(0.02)
    result[0], result[1] = seen, disorder


def measure(dsn: str) -> None:
    """Run the writers and the reader, note what they did."""
    context = multiprocessing.get_context("spawn")
    barrier, stop = context.Barrier(WRITERS + 1), context.Event()
    counts = context.Array("d", ROUNDS * len(CONTESTS) * WRITERS)
    followed = context.Array("q", 2)
    writers = [context.Process(target=writer, args=(dsn, each, barrier, counts)) for each in range(WRITERS)]
    reader = context.Process(target=follower, args=(dsn, barrier, stop, followed))
    for process in [*writers, reader]:
        process.start()
    for process in writers:
        process.join()
    time.sleep(0.2)
    stop.set()
    reader.join()
    if any(process.exitcode for process in [*writers, reader]):
        sys.exit("a process of the benchmark failed")
    compare(
        {
            name: [
                sum(counts[(round * len(CONTESTS) + place) * WRITERS + number] for number in range(WRITERS))
                for round in range(ROUNDS)
            ]
            for place, name in enumerate(CONTESTS)
        }
    )
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    written = row[0] if row else 0
    missed, disorder = written - followed[0], followed[1]
    note(
        Figure(
            what="a reader following the log meanwhile",
            measured=f"{missed} missed, {disorder} out of order",
            compared=f"{written} written",
            target="0",
            met=missed == 0 and disorder == 0,
        )
    )


def compare(rates: dict[str, list[float]]) -> None:
    """Note each way beside what it is measured against; the ratio is the median of the rounds' ratios."""
    for name, contest in CONTESTS.items():
        if contest.against is None:
            continue
        base = rates[contest.against]
        ratio = statistics.median(rate / other for rate, other in zip(rates[name], base, strict=True))
        note(
            Figure(
                what=f"{WRITERS} writers, {name}",
                measured=f"{statistics.median(rates[name]):.0f} events/s",
                compared=f"{contest.against} {statistics.median(base):.0f} rows/s",
                ratio=f"{ratio:.0%}",
                target="" if contest.target is None else f"{contest.target:.0%}",
                met=None if contest.target is None else ratio >= contest.target,
            )
        )


def main() -> None:
    """Bring up a server of our own and measure on it."""
    with postgres() as server:
        dsn = fresh_database(server, "bench")
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE plain (LIKE events INCLUDING ALL)")
        measure(dsn)


if __name__ == "__main__":
    main()
