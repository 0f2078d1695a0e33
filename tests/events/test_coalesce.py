"""Coroutines that append to one stream share transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import psycopg
import pytest

from muster.database import Database
from muster.errors import ConcurrencyError, DatabaseLost, PermanentError
from muster.events.coalesce import WOKEN_AT_ONCE, Coalescer
from muster.events.log import EventLog
from muster.events.model import NewEvent


@pytest.fixture
async def log(database: Database) -> AsyncIterator[EventLog]:
    yield EventLog(database)
    await database.aclose()


def noted(**data: object) -> NewEvent:
    return NewEvent(type="noted", data=data)


def transactions(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(DISTINCT transaction) FROM events").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_thousand_items_write_their_events_in_a_few_transactions(log: EventLog, dsn: str) -> None:
    async def item(index: int) -> None:
        for number in range(4):
            [event] = await log.aappend("s", [noted(index=index, number=number)])
            assert event.data == {"index": index, "number": number}

    await asyncio.gather(*[item(index) for index in range(1_000)])

    events = [event async for event in log.aread("s")]
    assert [event.version for event in events] == list(range(1, 4_001))
    for index in (0, 500, 999):
        assert [event.data["number"] for event in events if event.data["index"] == index] == [0, 1, 2, 3]
    assert transactions(dsn) < 40
    assert await log.averify("s") is None


async def test_each_caller_gets_its_own_events_or_its_own_error(log: EventLog, dsn: str) -> None:
    await log.aappend("s", [noted(first=True)])
    calls = [log.aappend("s", [noted(number=number)], expected=99 if number == 7 else None) for number in range(20)]
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(results[7], ConcurrencyError)
    numbers = [event.data["number"] for result in results if isinstance(result, list) for event in result]
    assert numbers == [number for number in range(20) if number != 7]
    assert await log.aversion("s") == 20
    assert transactions(dsn) == 2


async def test_a_value_the_database_refuses_fails_its_own_caller_only(log: EventLog) -> None:
    unfit = NewEvent(type="noted", key="".join(f"{number * 7919:x}" for number in range(3_000)), data={})
    calls = [log.aappend("s", [unfit if number == 3 else noted(number=number)]) for number in range(8)]
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert [number for number, result in enumerate(results) if isinstance(result, PermanentError)] == [3]
    assert [event.data["number"] async for event in log.aread("s")] == [0, 1, 2, 4, 5, 6, 7]


async def test_callers_with_the_same_key_are_all_answered_with_the_one_event(log: EventLog) -> None:
    event = NewEvent(type="noted", key="k", data={})
    answers = await asyncio.gather(*[log.aappend("s", [event]) for _ in range(10)])

    assert len({answer[0].id for answer in answers}) == 1
    assert await log.aversion("s") == 1


async def test_a_caller_that_is_cancelled_leaves_the_others_alone(log: EventLog) -> None:
    calls = [asyncio.create_task(log.aappend("s", [noted(number=number)])) for number in range(5)]
    await asyncio.sleep(0)
    calls[0].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, list) for result in results[1:])
    assert (await log.aappend("s", [noted()]))[0].version in (5, 6)


async def test_a_lost_database_is_told_to_every_caller() -> None:
    log = EventLog(Database("postgresql://muster@127.0.0.1:1/none?connect_timeout=1", timeout=0.5))
    results = await asyncio.gather(*[log.aappend("s", [noted()]) for _ in range(3)], return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseLost] * 3


def test_a_log_serves_one_event_loop_after_another(dsn: str) -> None:
    database = Database(dsn)
    log = EventLog(database)

    async def use() -> int:
        try:
            return (await log.aappend("s", [noted()]))[0].version
        finally:
            await database.aclose()

    assert [asyncio.run(use()), asyncio.run(use())] == [1, 2]


async def test_other_work_has_its_turn_while_a_thousand_callers_are_answered() -> None:
    turns, seen = 0, []

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def perform(_: str, requests: Sequence[int]) -> list[int]:
        await asyncio.sleep(0)
        return list(requests)

    async def caller(number: int) -> None:
        await submitted(number)
        seen.append(turns)

    coalescer: Coalescer[int, int] = Coalescer(perform)
    submitted = partial(coalescer.submit, "s")
    beside = asyncio.create_task(other())
    await asyncio.gather(*map(caller, range(1_000)))
    beside.cancel()

    assert max(seen.count(turn) for turn in seen) <= 2 * WOKEN_AT_ONCE
