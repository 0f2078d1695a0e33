"""Compare-and-set against plain UPDATE: `python tests/perf/bench_blackboard.py` prints ratios measured in one run.

Eight processes count up one and the same entry, each on a connection of its own, with PostgreSQL's default durability:
they read it, write what comes next over the version they have seen, and begin again when another was first. Only writes
that were stored are counted. The plain ways do so with one row of a table that keeps no history: one UPDATE that adds
one in the database, which needs no look before it, and one that names the version it has read. The ways take turns in
short rounds, so that other load on the machine meets all of them alike.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import psycopg
from figures import Figure, note
from servers import fresh_database, postgres
from side_by_side import play, rates_of

from muster.coordination.blackboard import Board, Key, Keys, Rights, Writer
from muster.database import Database
from muster.recovery.attempts import Attempt
from muster.recovery.fencing import FencedDatabase

WRITERS = 8
ROUNDS = 8
SECONDS = 0.6
"""Of one way in one round."""
RUN, TARGET = "bench/run", 500
TEXT = "What is known of the parser so far. " * 6

Way = Callable[[str, int], Callable[[], int]]


def added(dsn: str, number: int) -> Callable[[], int]:
    """Plain UPDATE, which sees what is there as it writes."""
    connection = psycopg.connect(dsn, autocommit=True)

    def write() -> int:
        connection.execute(
            "UPDATE plain SET value = %s::json, n = n + 1, version = version + 1 WHERE key = 'added'",
            (json.dumps({"n": number, "text": TEXT}),),
        )
        return 1

    return write


def compared(dsn: str, number: int) -> Callable[[], int]:
    """Plain SELECT, and UPDATE of the version that was read."""
    connection = psycopg.connect(dsn, autocommit=True)

    def write() -> int:
        row = connection.execute("SELECT value::text, version FROM plain WHERE key = 'compared'").fetchone()
        assert row is not None
        value = json.loads(row[0])
        done = connection.execute(
            "UPDATE plain SET value = %s::json, version = version + 1 WHERE key = 'compared' AND version = %s",
            (json.dumps({"n": value["n"] + 1, "text": TEXT}), row[1]),
        )
        return done.rowcount

    return write


def board(dsn: str, number: int, key: str, *, fenced: bool = False) -> Board:
    """Everybody's board, of an attempt where it is fenced."""
    database, names = Database(dsn, max_size=2), frozenset({"counted", "fenced", "merged"})
    if fenced:
        attempt = Attempt(run=RUN, work=f"{RUN}/w{number}", execution=1, number=1)
        database = FencedDatabase(database, attempt)
    keys = Keys({name: Key({"type": "object"}) for name in names})
    return Board(database, RUN, keys, Rights(reads=names, writes=names), Writer(name=f"w{number}"))


def counted(key: str, *, fenced: bool = False) -> Way:
    """`update`: get, and put over what was seen, until nobody was first."""

    def make(dsn: str, number: int) -> Callable[[], int]:
        mine = board(dsn, number, key, fenced=fenced)

        def write() -> int:
            mine.update(key, lambda before: {"n": before["n"] + 1 if before else 1, "text": TEXT})
            return 1

        return write

    return make


def merged(dsn: str, number: int) -> Callable[[], int]:
    """`merge` of a field of one's own."""
    mine, step = board(dsn, number, "merged"), 0

    def write() -> int:
        nonlocal step
        step += 1
        mine.merge("merged", {f"w{number}": step})
        return 1

    return write


WAYS: dict[str, tuple[Way, int | None]] = {
    "plain UPDATE": (added, None),
    "plain SELECT and UPDATE": (compared, None),
    "compare-and-set": (counted("counted"), TARGET),
    "compare-and-set that presents its attempt": (counted("fenced", fenced=True), None),
    "merge of a field each": (merged, None),
}


def worker(dsn: str, number: int, barrier: Barrier, results: Any) -> None:
    """All ways, together with the other workers."""
    ways = {name: make(dsn, number) for name, (make, _) in WAYS.items()}
    play(ways, barrier, results, rounds=ROUNDS, seconds=SECONDS)


def main() -> None:
    """Bring up a server of our own and measure on it."""
    with postgres() as server:
        dsn = fresh_database(server, "bench")
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE plain (key text PRIMARY KEY, value json, n integer, version integer)")
            for key in ("added", "compared"):
                connection.execute("INSERT INTO plain VALUES (%s, %s::json, 0, 0)", (key, json.dumps({"n": 0})))
        rates = rates_of(worker, WAYS, dsn, processes=WRITERS, rounds=ROUNDS)
    plain, same = (statistics.mean(rates[name]) * WRITERS for name in ("plain UPDATE", "plain SELECT and UPDATE"))
    for name, (_, target) in WAYS.items():
        rate = statistics.mean(rates[name]) * WRITERS
        if not name.startswith("plain"):
            note(
                Figure(
                    what=f"Blackboard, {WRITERS} processes at one entry: {name}",
                    measured=f"{rate:,.0f} a second",
                    compared=f"plain UPDATE {plain:,.0f} (SELECT and UPDATE {same:,.0f})",
                    ratio=f"{rate / plain:.0%} ({rate / same:.0%})",
                    target=f">= {target} a second" if target else "",
                    met=rate >= target if target else None,
                )
            )


if __name__ == "__main__":
    main()
