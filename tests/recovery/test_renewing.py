"""What is renewed while work goes on stays renewed: a request that gets no answer, or a locked row, stops nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from muster.database import Database
from muster.recovery import heartbeats, renewing
from muster.recovery.effects import IdempotentEffect
from muster.recovery.heartbeats import beating, last_heartbeats, living
from muster.recovery.holding import holding
from muster.recovery.leases import LeaseLost, Leases
from muster.recovery.ledger import NEVER_HAPPENED, Effect, EffectResult, Ledger
from muster.recovery.lifeline import Teller
from support.postgres_proxy import PostgresProxy, postgres_proxy
from support.waiting import eventually

SHORT = {"patience": 2.0, "grace": 1.0}
CLAIM = sum(SHORT.values())


@pytest.fixture
def proxy(dsn: str) -> Iterator[PostgresProxy]:
    with postgres_proxy(dsn) as forwarding:
        yield forwarding


class Slow:
    """Effects that are being performed in threads of this process until `is_over`."""

    def __init__(self, dsn: str) -> None:
        self.ledger = Ledger(Database(dsn))
        self.performed: list[str] = []
        self.is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, name: str) -> None:
        """Return once it is under way."""
        self._threads.append(threading.Thread(target=self._perform, args=(name,)))
        self._threads[-1].start()
        assert eventually(lambda: name in self.performed)

    def end(self) -> None:
        """Have all of them come through."""
        self.is_over.set()
        for thread in self._threads:
            thread.join(60)
        self.ledger.database.close()

    def _perform(self, name: str) -> None:
        def do() -> None:
            self.performed.append(name)
            self.is_over.wait(60)

        IdempotentEffect(self.ledger, Effect.of(name, "pay", {}), **SHORT).perform(do)


@contextmanager
def performing(dsn: str) -> Iterator[Slow]:
    slow = Slow(dsn)
    try:
        yield slow
    finally:
        slow.end()


def perform_too(database: Database, name: str, slow: Slow) -> list[str]:
    """Another attempt at the effect, which would do it if it could: what that asked and did."""
    done = list[str]()

    def find_out() -> EffectResult:
        done.append("asked")
        return NEVER_HAPPENED

    threading.Timer(1.0, slow.is_over.set).start()
    IdempotentEffect(Ledger(database), Effect.of(name, "pay", {}), find_out, **SHORT).perform(
        lambda: done.append("performed")
    )
    return done


@pytest.mark.parametrize("name", ["swallowed", "other"])
def test_a_renewal_that_gets_no_answer_costs_no_claim(proxy: PostgresProxy, database: Database, name: str) -> None:
    with performing(proxy.dsn) as slow:
        slow.begin("swallowed")
        proxy.swallow(b"SKIP LOCKED")
        assert eventually(lambda: proxy.swallowed == 1)
        slow.begin("other")
        time.sleep(CLAIM + 1)
        assert perform_too(database, name, slow) == []


def test_a_row_that_somebody_has_locked_holds_up_no_other_claim(dsn: str, database: Database) -> None:
    with performing(dsn) as slow, psycopg.connect(dsn) as locking:
        slow.begin("locked")
        slow.begin("other")
        locking.execute("SELECT FROM effects WHERE key = 'locked' FOR UPDATE")
        both = [renewing.Claim(dsn, name, attempt=1, seconds=CLAIM, due=0.0) for name in slow.performed]
        assert renewing.renew(dsn, both) == {"other"}, "where one statement is for both"
        time.sleep(CLAIM + 1)
        locking.rollback()
        assert eventually(lambda: not slow.ledger.entries(in_doubt=True)), "renewed as soon as it may be"
        assert perform_too(database, "other", slow) == []


def test_a_sign_of_life_that_gets_no_answer_is_followed_by_others(
    proxy: PostgresProxy, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "BEAT", 0.1)
    monkeypatch.setattr(heartbeats, "LIMIT", 0.5)
    monkeypatch.setattr(heartbeats, "_heart", Teller("beats", heartbeats._beat))
    with database.connection() as connection:
        connection.execute("INSERT INTO attempts (work, run, execution, attempt) VALUES ('r/work', 'r', 7, 1)")

    async def sign() -> object:
        return (await last_heartbeats(database, {"r/work": 0})).get("r/work")

    with beating(Database(proxy.dsn), "r", "r/work", 7):
        proxy.swallow(b"SKIP LOCKED")
        assert eventually(lambda: proxy.swallowed == 1)
        before = database.run(sign())
        assert eventually(lambda: database.run(sign()) != before)


def test_work_that_goes_on_is_known_to_live_though_it_has_written_nothing(
    database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "BEAT", 0.1)
    monkeypatch.setattr(heartbeats, "_heart", Teller("beats", heartbeats._beat))
    with beating(Database(dsn), "r", "r/work", 7):
        assert eventually(lambda: living(database, "r") == {"r/work"})
    assert living(database, "other") == frozenset()
    with database.connection() as connection:
        assert connection.execute("SELECT execution, attempt FROM attempts").fetchall() == [(7, 0)]
        connection.execute("UPDATE attempts SET execution = 9, beaten_at = now() - interval '1 day'")
    with beating(Database(dsn), "r", "r/work", 7):
        time.sleep(0.5)
        assert living(database, "r") == frozenset(), "a later execution has begun: this one is not at it any more"


def test_a_lease_is_kept_although_a_renewal_gets_no_answer(proxy: PostgresProxy) -> None:
    async def work() -> None:
        database = Database(proxy.dsn)
        async with holding(Leases(database), ["x"], "me", ttl=3.0) as lease:
            proxy.swallow(b"UPDATE leases")
            await asyncio.sleep(6.0)
            assert proxy.swallowed == 1
            assert await Leases(database).ais_held(lease)
        await database.aclose()

    asyncio.run(work())


def test_a_body_is_cancelled_in_time_when_nothing_is_answered_any_more(proxy: PostgresProxy) -> None:
    async def body(database: Database) -> None:
        nonlocal took
        async with holding(Leases(database), ["x"], "me", ttl=3.0):
            proxy.swallow(b"", times=1_000)
            begun = time.monotonic()
            try:
                await asyncio.sleep(60)
            finally:
                took = time.monotonic() - begun

    async def work() -> None:
        database = Database(proxy.dsn, timeout=1)
        with pytest.raises(LeaseLost):
            await body(database)
        await database.aclose()

    took = 60.0
    asyncio.run(work())
    assert took < 3.0 + 3.0


def test_a_body_that_ends_while_nothing_is_answered_is_not_waited_for_without_a_limit(proxy: PostgresProxy) -> None:
    async def work() -> None:
        database = Database(proxy.dsn, timeout=1)
        with pytest.raises(LeaseLost):
            async with holding(Leases(database), ["x"], "me", ttl=1.5):
                proxy.swallow(b"", times=1_000)
        await database.aclose()

    begun = time.monotonic()
    asyncio.run(work())
    assert time.monotonic() - begun < 30


def test_a_network_that_loses_everything_is_noticed_unless_the_dsn_says_otherwise(dsn: str) -> None:
    for said, timeout in (("", 60_000), (" tcp_user_timeout=5000", 5_000)):
        database = Database(psycopg.conninfo.make_conninfo(dsn) + said)
        with database.connection() as connection:
            parameters = connection.info.get_parameters()
        assert int(parameters["tcp_user_timeout"]) == timeout
        assert int(parameters["keepalives_idle"]) == 30
        database.close()
