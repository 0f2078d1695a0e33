"""Leases, the ledger of effects and circuit breakers: `python tests/perf/bench_recovery.py` prints their cost.

One process, one connection, PostgreSQL with its default durability (fsync on). The ledger's cost is what an
effect of nothing takes by the ledger, begun and settled, less what it takes without. A lease and the beginning
of an effect each wait for one flush of the disk, as every durable commit does; how long that takes is measured
by a plain INSERT that waits for it and one that does not. All take turns in short rounds, so that other load on
the machine meets all alike.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from itertools import count

from figures import Figure, note
from servers import fresh_database, postgres

from muster.database import Database
from muster.recovery.attempts import Attempt
from muster.recovery.breakers import Breakers, Policy
from muster.recovery.effects import IdempotentEffect
from muster.recovery.fencing import FencedDatabase
from muster.recovery.leases import Leases
from muster.recovery.ledger import Effect, Ledger

ROUNDS = 10
TIMES = 60
"""Of each in one round."""
LEASE_LIMIT, LEDGER_LIMIT = 2.0, 1.0
"""Milliseconds at the median."""

Measured = dict[str, list[float]]


def main() -> None:
    """Measure on a server of its own and print."""
    with postgres() as server:
        _print(asyncio.run(_measure(fresh_database(server, "bench"))))


async def _measure(dsn: str) -> Measured:
    database = Database(dsn)
    ways = await _ways(database)
    found: Measured = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            found[name] += [await way() for _ in range(TIMES)]
    await database.aclose()
    return found


async def _ways(database: Database) -> dict[str, Callable[[], Awaitable[float]]]:
    leases, ledger, breakers = Leases(database), Ledger(database), Breakers(database)
    asking, policy, numbers = Breakers(database, cached=0), Policy(), count()
    async with database.aconnection() as connection:
        await connection.execute("CREATE TABLE plain (key text PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")

    async def insert() -> float:
        loan = await database.aborrow()
        try:
            return await timed(loan.connection.execute("INSERT INTO plain (key) VALUES (%s)", (str(next(numbers)),)))
        finally:
            await database.agive_back(loan)

    async def unflushed() -> float:
        loan = await database.aborrow()
        try:
            query = "INSERT INTO plain (key) SELECT %s WHERE set_config('synchronous_commit', 'off', true) = 'off'"
            return await timed(loan.connection.execute(query, (str(next(numbers)),)))
        finally:
            await database.agive_back(loan)

    async def lease(names: list[str]) -> float:
        begun = time.perf_counter()
        held = await leases.aacquire(names, "bench")
        taken = time.perf_counter() - begun
        await leases.arelease(held)
        return taken

    async def nothing() -> None:
        pass

    async def effect() -> float:
        key = f"run/pay[{next(numbers)}]/effect/charge"
        request = {"amount": "1190.00", "to": "DE02120300000000202051"}
        return await timed(IdempotentEffect(ledger, Effect.of(key, "charge", request, "run")).aperform(nothing))

    async def in_attempt() -> float:
        number = next(numbers)
        attempt = Attempt(run="run", work=f"run/pay[{number}]", execution=1, number=1)
        effect = Effect.of(f"run/pay[{number}]/effect/charge", "charge", {"amount": "1190.00"}, "run")
        return await timed(IdempotentEffect(Ledger(FencedDatabase(database, attempt)), effect).aperform(nothing))

    async def once_more() -> float:
        return await timed(IdempotentEffect(ledger, Effect.of("same", "charge", {}, "run")).aperform(nothing))

    return {
        "insert": insert,
        "unflushed": unflushed,
        "lease": lambda: lease([f"ledger:{next(numbers)}"]),
        "lease again": lambda: lease(["ledger:4711"]),
        "three": lambda: lease(["a", "b", "c"]),
        "effect": effect,
        "effect in an attempt": in_attempt,
        "no effect": lambda: timed(nothing()),
        "repeated": once_more,
        "asking": lambda: timed(asking.aadmit("tier:a", policy)),
        "remembering": lambda: timed(breakers.aadmit("tier:a", policy)),
    }


async def timed(work: Awaitable[object]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def _print(found: Measured) -> None:
    plain, unflushed = median(found["insert"]), median(found["unflushed"])
    flush = plain - unflushed
    note(Figure(what="The disk's part of a commit, median", measured=f"{flush:.2f} ms of {plain:.2f} ms"))
    for name, what in (("lease", "a free lease, a new name"), ("lease again", "a free lease, a known name")):
        taken = median(found[name])
        note(
            Figure(
                what=f"Acquiring {what}, median",
                measured=f"{taken:.2f} ms, {taken - flush:.2f} of them not the disk's (p95 {p95(found[name]):.2f})",
                compared=f"plain INSERT {plain:.2f} ms",
                ratio=f"{taken / plain:.1f} x",
                target=f"< {LEASE_LIMIT:g} ms",
                met=taken < LEASE_LIMIT,
            )
        )
    note(Figure(what="Acquiring three names together, median", measured=f"{median(found['three']):.2f} ms"))
    for name, where in (("effect", ""), ("effect in an attempt", " of an attempt at a step")):
        added = median(found[name]) - median(found["no effect"])
        note(
            Figure(
                what=f"What the ledger adds to an effect{where}, median",
                measured=f"{added:.2f} ms, {added - flush:.2f} of them not the disk's (p95 {p95(found[name]):.2f})",
                compared=f"plain INSERT {plain:.2f} ms",
                ratio=f"{added / plain:.1f} x",
                target=f"<= {LEDGER_LIMIT:g} ms",
                met=added <= LEDGER_LIMIT,
            )
        )
    for name, what in (
        ("repeated", "An effect that had happened before, median"),
        ("asking", "A closed breaker, asking the database, median"),
        ("remembering", "A closed breaker, remembered, median"),
    ):
        note(Figure(what=what, measured=f"{median(found[name]):.3f} ms"))


def median(seconds: list[float]) -> float:
    """In milliseconds."""
    return statistics.median(seconds) * 1000


def p95(seconds: list[float]) -> float:
    """In milliseconds."""
    return statistics.quantiles(seconds, n=20)[-1] * 1000


if __name__ == "__main__":
    main()
