"""Leases: one holder at a time, tokens that only grow, and a loss that is noticed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from muster.database import Database
from muster.errors import PermanentError, TransientError
from muster.recovery.attempts import Attempt
from muster.recovery.holding import acheck_held, check_held, holding
from muster.recovery.leases import Lease, LeaseLost, Leases, LeaseTaken


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database)


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        yield opened


def run_out(connection: psycopg.Connection, name: str) -> None:
    """Let the time of a lease be over."""
    connection.execute("UPDATE leases SET expires_at = clock_timestamp() WHERE name = %s", (name,))


def test_a_name_has_one_holder_and_the_next_one_gets_a_larger_token(leases: Leases) -> None:
    first = leases.acquire(["ledger:4711"], "one")
    with pytest.raises(LeaseTaken, match="one holds ledger:4711"):
        leases.acquire(["ledger:4711"], "two")
    assert leases.is_held(first)
    assert leases.release(first)
    second = leases.acquire(["ledger:4711"], "two")
    assert second.tokens["ledger:4711"] > first.tokens["ledger:4711"]
    assert not leases.is_held(first)
    assert not leases.release(first), "who came later must not be robbed"
    assert leases.is_held(second)


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_cannot_renew_it(
    leases: Leases, connection: psycopg.Connection
) -> None:
    first = leases.acquire(["x"], "one")
    run_out(connection, "x")
    assert not leases.is_held(first)
    with pytest.raises(LeaseLost):
        leases.renew(first)
    second = leases.acquire(["x"], "two")
    assert second.tokens["x"] > first.tokens["x"]
    with pytest.raises(LeaseLost):
        leases.renew(first)


def test_several_names_are_taken_together_or_not_at_all(leases: Leases) -> None:
    other = leases.acquire(["b"], "other")
    with pytest.raises(LeaseTaken):
        leases.acquire(["c", "b", "a"], "me")
    assert [holder.name for holder in leases.held()] == ["b"]
    leases.release(other)
    assert list(leases.acquire(["c", "b", "a", "b"], "me").tokens) == ["a", "b", "c"]


def test_a_lease_that_lost_one_of_its_names_is_lost(leases: Leases, connection: psycopg.Connection) -> None:
    lease = leases.acquire(["a", "b"], "me")
    run_out(connection, "b")
    assert not leases.is_held(lease)
    with pytest.raises(LeaseLost):
        leases.renew(lease)
    assert not leases.release(lease)


def test_who_waits_is_given_the_lease_when_it_is_released(leases: Leases) -> None:
    held = leases.acquire(["x"], "one")
    releasing = threading.Timer(0.1, leases.release, [held])
    releasing.start()
    try:
        assert leases.acquire(["x"], "two", wait=20).owner == "two"
    finally:
        releasing.join()


def test_waiting_is_bounded(leases: Leases) -> None:
    leases.acquire(["x"], "one")
    with pytest.raises(TransientError, match="one holds x"):
        leases.acquire(["x"], "two", wait=0.05)


@pytest.mark.parametrize("names", [[], [""], ["a", ""]])
def test_a_lease_without_a_name_is_refused(leases: Leases, names: list[str]) -> None:
    with pytest.raises(PermanentError, match="needs a name"):
        leases.acquire(names, "me")


def test_renewing_moves_the_end(leases: Leases) -> None:
    lease = leases.acquire(["x"], "me", ttl=5)
    longer = Lease(lease.owner, lease.tokens, 500)
    leases.renew(longer)
    [holder] = leases.held()
    assert holder.expires_in > 400


def test_a_fenced_transaction_keeps_the_lease_until_it_ends(
    leases: Leases, database: Database, connection: psycopg.Connection
) -> None:
    lease = leases.acquire(["x"], "one")
    attempt = Attempt(run="r", work="r/one", execution=1, number=1, leases=(lease,))
    with database.connection() as writing:
        present(writing, attempt)
        connection.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute("UPDATE leases SET token = token + 1, expires_at = NULL, owner = NULL")
    run_out(connection, "x")
    with database.connection() as writing, pytest.raises(LeaseLost):
        present(writing, attempt)


def present(writing: psycopg.Connection, attempt: Attempt) -> None:
    writing.execute("SELECT pg_current_xact_id()")
    query = attempt.fence()
    attempt.judge(writing.execute(query.sql, query.parameters).fetchall())


def test_a_body_longer_than_the_lease_keeps_it_and_lets_go_at_the_end(database: Database, leases: Leases) -> None:
    async def work() -> None:
        async with holding(leases, ["x"], "me", ttl=0.6) as lease:
            await asyncio.sleep(1.2)
            assert await leases.ais_held(lease)
        assert leases.held() == []
        await database.aclose()

    asyncio.run(work())


def test_a_body_is_cancelled_when_its_lease_is_lost(
    database: Database, leases: Leases, connection: psycopg.Connection
) -> None:
    async def work() -> list[str]:
        done: list[str] = []
        try:
            async with holding(leases, ["x"], "me", ttl=0.3):
                done.append("begun")
                run_out(connection, "x")
                leases.acquire(["x"], "other")
                await asyncio.sleep(60)
                done.append("went on")
        except LeaseLost:
            done.append("given up")
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        await database.aclose()
        return done

    begun = time.monotonic()
    assert asyncio.run(work()) == ["begun", "given up"]
    assert time.monotonic() - begun < 30
    assert [holder.owner for holder in leases.held()] == ["other"]


def test_a_body_that_ended_without_its_lease_is_not_believed(
    database: Database, leases: Leases, connection: psycopg.Connection
) -> None:
    async def work() -> None:
        try:
            with pytest.raises(LeaseLost):
                async with holding(leases, ["x"], "me"):
                    run_out(connection, "x")
        finally:
            await database.aclose()

    asyncio.run(work())


def test_a_database_that_is_away_for_the_whole_lease_costs_the_lease(dsn: str) -> None:
    class Away(Leases):
        async def arenew(self, lease: Lease) -> None:
            raise TransientError("The database did not answer.")

    async def work() -> None:
        database = Database(dsn)
        with pytest.raises(LeaseLost):
            async with holding(Away(database), ["x"], "me", ttl=0.3):
                await asyncio.sleep(60)
        await database.aclose()

    asyncio.run(work())


def test_the_error_of_a_body_goes_on_and_the_lease_is_let_go(database: Database, leases: Leases) -> None:
    async def work() -> None:
        with pytest.raises(ValueError, match="mine"):
            async with holding(leases, ["x"], "me"):
                raise ValueError("mine")
        await database.aclose()

    asyncio.run(work())
    assert leases.held() == []


def test_a_cancelled_body_stays_cancelled(database: Database, leases: Leases) -> None:
    async def work() -> None:
        async def body() -> None:
            async with holding(leases, ["x"], "me"):
                begun.set()
                await asyncio.sleep(60)

        begun = asyncio.Event()
        task = asyncio.create_task(body())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await database.aclose()

    asyncio.run(work())
    assert leases.held() == []


def test_before_an_effect_a_lost_lease_is_noticed_also_in_a_thread(
    database: Database, leases: Leases, connection: psycopg.Connection
) -> None:
    async def body() -> None:
        async with holding(leases, ["x"], "me"):
            await acheck_held()
            await asyncio.to_thread(check_held)
            run_out(connection, "x")
            with pytest.raises(LeaseLost):
                await asyncio.to_thread(check_held)
            await acheck_held()

    async def work() -> None:
        await acheck_held()
        with pytest.raises(LeaseLost):
            await body()
        await acheck_held()
        await database.aclose()

    asyncio.run(work())


def test_many_who_want_one_name_in_one_process_each_get_it_in_turn(database: Database, leases: Leases) -> None:
    inside, most = 0, 0

    async def body(number: int) -> None:
        nonlocal inside, most
        names = ["x", "y"] if number % 2 else ["y", "z", "x"]
        async with holding(leases, names, f"item {number}", wait=60):
            inside, most = inside + 1, max(most, inside + 1)
            await asyncio.sleep(0)
            inside -= 1

    async def work() -> None:
        await asyncio.gather(*(body(number) for number in range(60)))
        async with holding(leases, ["x"], "one"):
            with pytest.raises(LeaseTaken, match="one holds x"):
                await body_at_once()
        await database.aclose()

    async def body_at_once() -> None:
        async with holding(leases, ["x"], "two"):
            pass

    asyncio.run(work())
    assert most == 1


def test_only_what_was_left_behind_and_nobody_took_over_is_let_go(database: Database) -> None:
    leases = Leases(database)
    leases.acquire(["held"], "alive", ttl=600)
    leases.acquire(["left"], "dead", ttl=-1.0)
    held, left = leases.held()
    assert not leases.let_go(held)
    assert leases.let_go(left)
    assert not leases.let_go(left)
    leases.acquire(["left"], "next", ttl=-1.0)
    assert not leases.let_go(left)
    assert [holder.owner for holder in leases.held()] == ["alive", "next"]
