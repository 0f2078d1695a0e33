"""Event append against plain INSERT: `python tests/perf/bench_events.py` prints ratios measured in one run.

Eight processes write one row a transaction, each on a connection of its own, with PostgreSQL's default
durability. The plain INSERT writes the same rows into a table with the same columns and indexes, as one
prepared statement in autocommit: what a log without chain, heads and projections would do. The ways
take turns in short rounds, so that other load on the machine meets all of them alike.
"""

from __future__ import annotations

import json
import multiprocessing
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from figures import Figure, note

from muster.database import Database
from muster.events.log import START, EventLog
from muster.events.model import EventType, NewEvent
from muster.local.postgres import PostgresServer, free_port
from muster.migrations import migrate

WRITERS = 8
ROUNDS = 5
SECONDS = 1.2
"""Of one way in one round."""

OUTPUT = {
    "number": "R-2026-0042",
    "total": "1190.00",
    "currency": "EUR",
    "lines": [{"net": "1000.00", "vat": "19"}],
}

PLAIN = """
INSERT INTO plain (stream, version, id, at, causation, type, step, key, actor, correlation, previous_hash, hash, data)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::text::json)
"""


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


def plain_insert(dsn: str, stream: str) -> Callable[[NewEvent], Any]:
    """One row, one statement, one transaction."""
    connection = psycopg.connect(dsn, autocommit=True)
    zero, version = bytes(32), 0

    def write(new: NewEvent) -> None:
        nonlocal version
        version += 1
        connection.execute(
            PLAIN,
            (
                stream,
                version,
                uuid4(),
                datetime.now(UTC),
                None,
                new.type,
                new.data["step"],
                new.key,
                new.actor,
                stream,
                zero,
                zero,
                json.dumps(new.data),
            ),
        )

    return write


def appended(dsn: str, stream: str) -> Callable[[NewEvent], Any]:
    """The log."""
    log = EventLog(Database(dsn, max_size=1))
    return lambda new: log.append(stream, [new])


WAYS: dict[str, tuple[Callable[[str, str], Callable[[NewEvent], Any]], str]] = {
    "plain INSERT": (plain_insert, EventType.STEP_SUCCEEDED),
    "append, hash chain": (appended, "bench.noted"),
    "append, hash chain and projections": (appended, EventType.STEP_SUCCEEDED),
}


def writer(dsn: str, number: int, barrier: Barrier, counts: Any) -> None:
    """One of the eight: every way in every round."""
    ways = []
    for place, (make, type) in enumerate(WAYS.values()):
        stream = f"bench/{place}/{number}"
        write, events = make(dsn, stream), facts(type)
        for _ in range(10):  # connect, prepare
            write(next(events))
        ways.append((write, events))
    for round in range(ROUNDS):
        for place, (write, events) in enumerate(ways):
            barrier.wait()
            end, done = time.perf_counter() + SECONDS, 0
            while time.perf_counter() < end:
                write(next(events))
                done += 1
            counts[(round * len(WAYS) + place) * WRITERS + number] = done / SECONDS


def follower(dsn: str, stop: Any, result: Any) -> None:
    """Reads the log while it grows, then counts what it missed or saw twice."""
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
    """Run the writers and a follower, print what they did."""
    context = multiprocessing.get_context("spawn")
    barrier, stop = context.Barrier(WRITERS), context.Event()
    counts = context.Array("d", ROUNDS * len(WAYS) * WRITERS)
    followed = context.Array("q", 2)
    writers = [context.Process(target=writer, args=(dsn, each, barrier, counts)) for each in range(WRITERS)]
    reader = context.Process(target=follower, args=(dsn, stop, followed))
    for process in [*writers, reader]:
        process.start()
    for process in writers:
        process.join()
    time.sleep(0.2)
    stop.set()
    reader.join()
    if any(process.exitcode for process in [*writers, reader]):
        sys.exit("a process of the benchmark failed")
    rates = {
        name: [
            sum(counts[(round * len(WAYS) + place) * WRITERS + number] for number in range(WRITERS))
            for round in range(ROUNDS)
        ]
        for place, name in enumerate(WAYS)
    }
    plain = rates["plain INSERT"]
    for name, of_way in rates.items():
        ratio = statistics.median(rate / base for rate, base in zip(of_way, plain, strict=True))
        if of_way is not plain:
            note(
                Figure(
                    what=f"{WRITERS} writers, {name}",
                    measured=f"{statistics.median(of_way):.0f} events/s",
                    compared=f"plain INSERT {statistics.median(plain):.0f} rows/s",
                    ratio=f"{ratio:.0%}",
                    target="85 %",
                    met=ratio >= 0.85,
                )
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


def main() -> None:
    """Bring up a server of our own and measure on it."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "data", port=free_port(), password=secrets.token_hex(8))
        server.start()
        try:
            server.create_database("bench")
            dsn = server.dsn("bench")
            migrate(dsn)
            with psycopg.connect(dsn) as connection:
                connection.execute("CREATE TABLE plain (LIKE events INCLUDING ALL)")
            measure(dsn)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
