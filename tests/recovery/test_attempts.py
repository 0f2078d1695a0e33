"""What an attempt writes after it was given up, or has lost its lease, is refused in its own transaction."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import psycopg
import pytest

from muster.database import Database
from muster.errors import PermanentError, RowLocked, TransientError
from muster.events.driver import run
from muster.events.log import EventLog
from muster.events.model import NewEvent
from muster.recovery import attempts
from muster.recovery.attempts import Attempt, AttemptRevoked, StillRunning, Superseded, attempting
from muster.recovery.effects import IdempotentEffect
from muster.recovery.fencing import fenced
from muster.recovery.holding import holding
from muster.recovery.leases import LeaseLost, Leases
from muster.recovery.ledger import Effect, Ledger

Write = Callable[[Database], Awaitable[None]]


@pytest.fixture
def table(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE written (at text)")
        yield connection


def count(table: psycopg.Connection) -> int:
    row = table.execute(
        "SELECT (SELECT count(*) FROM written) + (SELECT count(*) FROM events) + (SELECT count(*) FROM objects)"
        " + (SELECT count(*) FROM effects)"
    ).fetchone()
    assert row is not None
    return int(row[0])


async def a_transaction(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("INSERT INTO written VALUES ('here')")


async def a_commit_of_its_own(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("INSERT INTO written VALUES ('here')")
        connection.commit()


async def a_transaction_of_its_own(database: Database) -> None:
    with database.connection() as connection, connection.transaction():
        connection.execute("INSERT INTO written VALUES ('here')")


async def a_coroutines_transaction(database: Database) -> None:
    async with database.aconnection() as connection:
        await connection.execute("INSERT INTO written VALUES ('here')")


async def a_coroutines_commit_of_its_own(database: Database) -> None:
    async with database.aconnection() as connection:
        await connection.execute("INSERT INTO written VALUES ('here')")
        await connection.commit()


async def a_coroutines_transaction_of_its_own(database: Database) -> None:
    async with database.aconnection() as connection, connection.transaction():
        await connection.execute("INSERT INTO written VALUES ('here')")


async def the_log(database: Database) -> None:
    EventLog(database).append("s", [NewEvent(type="noted", data={})])


async def several_events(database: Database) -> None:
    await EventLog(database).aappend("s", [NewEvent(type="noted", data={}, key=key) for key in ("a", "b")])


async def an_object(database: Database) -> None:
    EventLog(database).append("s", [NewEvent(type="noted", data={"output": "x" * 100_000})])


async def an_effect(database: Database) -> None:
    IdempotentEffect(Ledger(database), Effect.of("pay", "charge", {})).perform(lambda: 1)


async def a_coroutines_effect(database: Database) -> None:
    async with IdempotentEffect(Ledger(database), Effect.of("pay", "charge", {})) as effect:
        effect.result = 1


async def a_savepoint(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("INSERT INTO written VALUES ('here')")
        with connection.transaction():
            connection.execute("INSERT INTO written VALUES ('there')")


async def a_coroutines_savepoint(database: Database) -> None:
    async with database.aconnection() as connection:
        await connection.execute("INSERT INTO written VALUES ('here')")
        async with connection.transaction():
            await connection.execute("INSERT INTO written VALUES ('there')")


async def a_transaction_of_its_own_with_a_savepoint(database: Database) -> None:
    with database.connection() as connection, connection.transaction(), connection.transaction():
        connection.execute("INSERT INTO written VALUES ('here')")


WAYS: list[Write] = [
    a_transaction,
    a_commit_of_its_own,
    a_transaction_of_its_own,
    a_coroutines_transaction,
    a_coroutines_commit_of_its_own,
    a_coroutines_transaction_of_its_own,
    a_savepoint,
    a_coroutines_savepoint,
    a_transaction_of_its_own_with_a_savepoint,
    the_log,
    several_events,
    an_object,
    an_effect,
    a_coroutines_effect,
]
BY_NAME = {way.__name__: way for way in WAYS}


@pytest.mark.parametrize("way", BY_NAME)
async def test_an_attempt_writes_while_it_goes_on(database: Database, table: psycopg.Connection, way: str) -> None:
    async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False):
        await BY_NAME[way](fenced(database))
    assert count(table) > 0
    await database.aclose()


@pytest.mark.parametrize("way", BY_NAME)
@pytest.mark.parametrize("used", [True, False])
async def test_one_that_was_given_up_writes_nothing(
    database: Database, table: psycopg.Connection, way: str, used: bool
) -> None:
    kept = database
    with suppress(TransientError):
        async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False):
            kept = fenced(database)
            if used:
                with kept.connection() as connection:
                    connection.execute("CREATE TABLE used ()")
            raise TransientError("it took too long")
    with pytest.raises(AttemptRevoked):
        await BY_NAME[way](kept)
    assert count(table) == 0
    async with attempting(database, run="r", work="r/pay", execution=3, number=2, seizes=False):
        await BY_NAME[way](fenced(database))
    assert count(table) > 0, "the next attempt does"
    await database.aclose()


@pytest.mark.parametrize("way", BY_NAME)
async def test_one_that_another_process_has_taken_the_place_of_writes_nothing(
    database: Database, dsn: str, table: psycopg.Connection, way: str
) -> None:
    elsewhere = Database(dsn)

    async def overtaken() -> None:
        async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False):
            async with attempting(elsewhere, run="r", work="r/pay", execution=7, number=1, seizes=True):
                pass
            await BY_NAME[way](fenced(database))

    with pytest.raises(Superseded):
        await overtaken()
    assert count(table) == 0
    with pytest.raises(Superseded):
        async with attempting(database, run="r", work="r/pay", execution=5, number=1, seizes=True):
            pytest.fail("an execution that began before the last one does not begin its work")
    await database.aclose()


@pytest.mark.parametrize("way", BY_NAME)
async def test_one_that_lost_its_lease_writes_nothing_after_the_next_holder(
    database: Database, table: psycopg.Connection, way: str
) -> None:
    leases = Leases(database)

    async def late() -> None:
        async with (
            holding(leases, ["ledger"], "one"),
            attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False),
        ):
            table.execute("UPDATE leases SET expires_at = clock_timestamp()")
            leases.acquire(["ledger"], "another")
            await BY_NAME[way](fenced(database))

    with pytest.raises(LeaseLost):
        await late()
    assert count(table) == 0
    await database.aclose()


async def test_who_revokes_an_attempt_waits_for_what_it_is_committing(
    database: Database, dsn: str, table: psycopg.Connection
) -> None:
    """Of a commit and a revocation at the same moment one comes first, and the other knows of it."""
    order: list[str] = []

    def seize() -> None:
        assert run(Database(dsn), Attempt(run="r", work="r/pay", execution=9, number=1).advance(1))
        order.append("seized")

    async def overtaken() -> None:
        async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False) as attempt:
            with psycopg.connect(dsn) as committing:
                committing.execute("INSERT INTO written VALUES ('here')")
                query = attempt.fence()
                attempt.judge(committing.execute(query.sql, query.parameters).fetchall())
                seizing = threading.Thread(target=seize)
                seizing.start()
                seizing.join(0.3)
                order.append("committed")
                committing.commit()
            seizing.join(10)
            await a_transaction(fenced(database))

    with pytest.raises(Superseded):
        await overtaken()
    assert order == ["committed", "seized"]
    assert count(table) == 1
    await database.aclose()


@contextmanager
def saved(database: Database) -> Iterator[None]:
    """An open transaction after a savepoint of it has ended."""
    with database.connection() as connection:
        connection.execute("INSERT INTO written VALUES ('here')")
        with connection.transaction(), connection.transaction("named"):
            connection.execute("INSERT INTO written VALUES ('there')")
        yield


@asynccontextmanager
async def asaved(database: Database) -> AsyncIterator[None]:
    async with database.aconnection() as connection:
        await connection.execute("INSERT INTO written VALUES ('here')")
        async with connection.transaction(), connection.transaction("named"):
            await connection.execute("INSERT INTO written VALUES ('there')")
        yield


async def pays(database: Database) -> None:
    """A blocking skill that goes on in its transaction and does something outside."""

    def skill() -> None:
        with saved(database):
            time.sleep(1.5)
            IdempotentEffect(Ledger(database), Effect.of("pay", "charge", {})).perform(lambda: 1)

    await asyncio.to_thread(skill)


async def apays(database: Database) -> None:
    async with asaved(database):
        await asyncio.sleep(1.5)
        async with IdempotentEffect(Ledger(database), Effect.of("pay", "charge", {})) as effect:
            effect.result = 1


@pytest.mark.parametrize("skill", [pays, apays])
async def test_an_effect_after_a_savepoint_does_not_wait_for_its_own_transaction(
    database: Database, table: psycopg.Connection, skill: Write
) -> None:
    """Nor do the renewals of its lease."""
    async with (
        holding(Leases(database), ["ledger"], "one", ttl=1.0),
        attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False),
    ):
        await skill(fenced(database))
    assert count(table) == 3
    await database.aclose()


async def test_a_savepoint_keeps_nobody_from_revoking_the_attempt(
    database: Database, dsn: str, table: psycopg.Connection
) -> None:
    later = Attempt(run="r", work="r/pay", execution=9, number=1)

    async def overtaken() -> None:
        async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False):
            with saved(fenced(database)):
                assert run(Database(dsn), later.advance(1))

    with pytest.raises(Superseded):
        await overtaken()

    async def aovertaken() -> None:
        async with attempting(database, run="r", work="r/buy", execution=3, number=1, seizes=False):
            async with asaved(fenced(database)):
                assert run(Database(dsn), Attempt(run="r", work="r/buy", execution=9, number=1).advance(1))

    with pytest.raises(Superseded):
        await aovertaken()
    assert count(table) == 0
    await database.aclose()


async def test_nothing_waits_without_a_limit_for_a_commit_that_hangs(
    database: Database, dsn: str, table: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process that hangs between the two may still write is in doubt: a person decides."""
    monkeypatch.setattr(attempts, "LONGEST_WAIT", 0.1)
    monkeypatch.setattr(attempts, "LINGER", 0.3)
    hanging = psycopg.connect(dsn)

    async def given_up() -> None:
        async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False) as attempt:
            hanging.execute("INSERT INTO written VALUES ('here')")
            query = attempt.fence()
            attempt.judge(hanging.execute(query.sql, query.parameters).fetchall())
            with pytest.raises(RowLocked):
                await an_effect(fenced(database))
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await a_transaction(fenced(database))
            raise TransientError("it took too long")

    with pytest.raises(StillRunning, match="being committed"):
        await given_up()
    with pytest.raises(StillRunning, match="being committed"):
        async with attempting(database, run="r", work="r/pay", execution=7, number=1, seizes=True):
            pytest.fail("nothing begins beside it")
    assert count(table) == 0
    hanging.close()
    async with attempting(database, run="r", work="r/pay", execution=8, number=1, seizes=True):
        await a_transaction(fenced(database))
    assert count(table) == 1
    await database.aclose()


async def test_what_writes_nothing_leaves_no_trace_and_is_not_flushed(
    database: Database, table: psycopg.Connection
) -> None:
    async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False):
        with fenced(database).connection() as connection:
            connection.execute("SELECT 1")
            assert connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() == (None,)
        assert EventLog(fenced(database)).version("s") == 0
    assert table.execute("SELECT count(*) FROM attempts").fetchone() == (0,)
    await database.aclose()


async def test_what_an_effect_that_was_begun_in_time_has_done_is_believed(database: Database) -> None:
    """It is true, and keeps the next attempt from doing it again."""
    effect = IdempotentEffect(Ledger(database), Effect.of("pay", "charge", {}))
    with suppress(TransientError):
        async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False):
            effect = IdempotentEffect(Ledger(fenced(database)), Effect.of("pay", "charge", {}))
            effect.__enter__()
            raise TransientError("it took too long")
    effect.result = 1
    effect.__exit__(None, None, None)
    again = IdempotentEffect(Ledger(database), Effect.of("pay", "charge", {}))
    assert again.perform(lambda: pytest.fail("it happened")) == 1
    await database.aclose()


async def test_a_skill_cannot_borrow_a_connection_that_nothing_looks_after(database: Database) -> None:
    async with attempting(database, run="r", work="r/pay", execution=3, number=1, seizes=False):
        with pytest.raises(PermanentError, match="borrow a connection"):
            fenced(database).borrow()
        with pytest.raises(PermanentError, match="borrow a connection"):
            await fenced(database).aborrow()
