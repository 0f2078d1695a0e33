"""Messages against plain INSERT: `python tests/perf/bench_messages.py` prints ratios measured in one run.

Eight processes send, each on a connection of its own, with PostgreSQL's default durability. The plain INSERT writes
the same rows into a table with the same columns and indexes, as `bench_events.py` does, one prepared statement in
autocommit; the bare one only the text into a table with nothing but a uuid as its primary key. The ways take turns in
short rounds, so that other load on the machine meets all of them alike. Then 1,000 coroutines wait in one process for
what another one sends at 200 a second, and the same process is left alone.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any
from uuid import uuid4

import psutil
import psycopg
from figures import Figure, note
from servers import fresh_database, postgres
from side_by_side import play, rates_of

from muster.coordination.messages import Post
from muster.database import Database

SENDERS = 8
ROUNDS = 8
SECONDS = 0.6
"""Of one way in one round."""
RUN = "bench/run"
BODY = {
    "task": "parser",
    "inputs": {"file": "a/b/c.py", "lines": [1, 2, 3]},
    "said": "Take this one, it is small. " * 4,
}
WAITING, RATE, RATED_SECONDS, IDLE_SECONDS = 1_000, 200, 10, 20

Way = Callable[[str, int], Callable[[], int]]


def inserted(dsn: str, number: int) -> Callable[[], int]:
    """Plain INSERT of the same row."""
    connection = psycopg.connect(dsn, autocommit=True)
    query = (
        "INSERT INTO plain (run, id, message, sender, mailbox, conversation, priority, body)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s::json)"
    )

    def write() -> int:
        id = uuid4()
        row = (RUN, id, id, f"sender {number}", f"sent to {number}", str(id), 0, json.dumps(BODY))
        connection.execute(query, row)
        return 1

    return write


def bare(dsn: str, number: int) -> Callable[[], int]:
    """Plain INSERT of the text alone."""
    connection = psycopg.connect(dsn, autocommit=True)

    def write() -> int:
        connection.execute("INSERT INTO bare (id, body) VALUES (%s, %s::json)", (uuid4(), json.dumps(BODY)))
        return 1

    return write


def sent(dsn: str, number: int) -> Callable[[], int]:
    """A durable send."""
    mailbox = Post(Database(dsn, max_size=2)).mailbox(RUN, f"sender {number}")

    def write() -> int:
        mailbox.send(f"sent to {number}", BODY)
        return 1

    return write


def whole(most: int) -> Way:
    """Send, receive and acknowledge; `most` are received at once."""

    def make(dsn: str, number: int) -> Callable[[], int]:
        post = Post(Database(dsn, max_size=2))
        mailbox, other = post.mailbox(RUN, f"sender {number}"), post.mailbox(RUN, f"receiver {number}")

        def go() -> int:
            for _ in range(most):
                mailbox.send(other.owner, BODY)
            found = other.receive(most)
            for delivery in found:
                other.acknowledge(delivery)
            return len(found)

        return go

    return make


WAYS: dict[str, tuple[Way, float | None]] = {
    "plain INSERT": (inserted, None),
    "bare INSERT": (bare, None),
    "durable send": (sent, 0.60),
    "send, receive and acknowledge": (whole(1), 0.25),
    "send, receive 10 at once and acknowledge": (whole(10), 0.25),
}


def worker(dsn: str, number: int, barrier: Barrier, results: Any) -> None:
    """All ways, together with the other workers."""
    ways = {name: make(dsn, number) for name, (make, _) in WAYS.items()}
    play(ways, barrier, results, rounds=ROUNDS, seconds=SECONDS)


def throughput(dsn: str) -> None:
    """Eight processes; the median of the rounds."""
    rates = rates_of(worker, WAYS, dsn, processes=SENDERS, rounds=ROUNDS)
    plain, alone = (statistics.mean(rates[name]) * SENDERS for name in ("plain INSERT", "bare INSERT"))
    for name, (_, target) in WAYS.items():
        rate = statistics.mean(rates[name]) * SENDERS
        if target is not None:
            note(
                Figure(
                    what=f"Messages, {SENDERS} processes: {name}",
                    measured=f"{rate:,.0f} a second",
                    compared=f"plain INSERT {plain:,.0f} (bare {alone:,.0f})",
                    ratio=f"{rate / plain:.0%} (of bare {rate / alone:.0%})",
                    target=f">= {target:.0%}",
                    met=rate / plain >= target,
                )
            )


def send_steadily(dsn: str, count: int) -> None:
    """Send to waiting receivers, one after the other, at the rate."""
    post = Post(Database(dsn))
    mailbox, begun = post.mailbox(RUN, "steady"), time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
        mailbox.send(f"waits {number % WAITING}", time.time())
    post.close()


async def waiting(dsn: str) -> None:
    """A thousand coroutines wait; how long each message takes to its receiver, and what idling costs."""
    database = Database(dsn)
    post, count, late = Post(database), RATE * RATED_SECONDS, list[float]()

    async def wait(number: int) -> None:
        mailbox = post.mailbox(RUN, f"waits {number}")
        while True:
            for delivery in await mailbox.areceive(wait=3_600):
                late.append(time.time() - delivery.body)
                await mailbox.aacknowledge(delivery)

    tasks = [asyncio.create_task(wait(number)) for number in range(WAITING)]
    await asyncio.sleep(5)
    listening = connections(dsn, "query LIKE 'LISTEN%' OR query LIKE '%WITH ORDINALITY AS w%'")
    process = multiprocessing.get_context("spawn").Process(target=send_steadily, args=(dsn, count))
    process.start()
    while len(late) < count and (process.is_alive() or len(late) < count):
        await asyncio.sleep(0.2)
    process.join()
    in_all = connections(dsn, "true")
    await asyncio.sleep(2)
    me, servers = psutil.Process(), backends(dsn)
    before = cpu(me, servers)
    await asyncio.sleep(IDLE_SECONDS)
    idle = (cpu(me, servers) - before) / IDLE_SECONDS
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await database.aclose()
    post.close()
    p50, p95 = statistics.median(late) * 1000, statistics.quantiles(late, n=20)[-1] * 1000
    note(
        Figure(
            what=f"From send to a waiting receiver, {RATE} a second, {WAITING:,} waiting: p95",
            measured=f"{p95:.0f} ms (median {p50:.0f})",
            target="< 150 ms",
            met=p95 < 150,
        )
    )
    note(
        Figure(
            what=f"Connections that {WAITING:,} waiting receivers listen on",
            measured=f"{listening} ({in_all} in all, with those of the pool)",
            target="1",
            met=listening == 1,
        )
    )
    note(
        Figure(
            what=f"{WAITING:,} receivers idle: CPU, their process and the server's",
            measured=f"{idle:.1%} of a core",
            target="< 2 %",
            met=idle < 0.02,
        )
    )


def connections(dsn: str, which: str) -> int:
    """How many of the database's there are now."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            f" AND ({which})"
        ).fetchone()
    assert row is not None
    return int(row[0])


def backends(dsn: str) -> list[psutil.Process]:
    """The server's processes for the database."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return [psutil.Process(pid) for (pid,) in rows]


def cpu(*processes: Any) -> float:
    """CPU seconds of processes so far."""
    me, servers = processes
    return sum(sum(process.cpu_times()[:2]) for process in (me, *servers) if process.is_running())


def main() -> None:
    """Bring up a server of our own and measure on it."""
    with postgres() as server:
        dsn = fresh_database(server, "bench")
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE plain (LIKE messages INCLUDING ALL)")
            connection.execute("CREATE TABLE bare (id uuid PRIMARY KEY, body json NOT NULL)")
        throughput(dsn)
        asyncio.run(waiting(dsn))


if __name__ == "__main__":
    main()
