"""More items than connections: each waits for its turn, and nothing that Muster does itself waits for a skill."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.errors import DatabaseLost
from muster.execution import locking
from muster.execution.outcome import Outcome
from muster.execution.performing import perform
from muster.execution.references import WorkRef
from muster.recovery.holding import holding
from support.bank import BankServer
from support.runs import Site
from support.sources import source_of
from support.waiting import eventually

SKILLS = source_of(__file__, "connections")
HEAD = "automation: tested\ninputs: {url: {type: string}}\nsteps:\n"
WITH = "with: {url: '{{ inputs.url }}'}"
TURNS = 2
PATIENCE = 1.0
"""Seconds that a connection is waited for where there is a limit."""


@pytest.fixture
def site(tmp_path: Path, database: Database, dsn: str) -> Iterator[Site]:
    with database.connection() as connection:
        connection.execute("CREATE TABLE done (key text)")
    few = Database(dsn, max_size=2, timeout=PATIENCE, turns=TURNS)
    made = Site(tmp_path, few)
    made.skills("shop", SKILLS)
    yield made
    few.close()


def module() -> Any:
    return sys.modules["muster_site.shop"]


def begun(site: Site, bank: BankServer, step: str, count: int) -> str:
    each = f"each: {list(range(count))}, " if count else ""
    return site.open(site.definition(HEAD + f"  - {{id: work, {each}{step}}}\n"), url=bank.url)


def done(site: Site) -> int:
    with psycopg.connect(site.services.database.dsn) as connection:
        return len(connection.execute("SELECT FROM done").fetchall())


def side_by_side(site: Site, *refs: WorkRef) -> list[Outcome]:
    """As a triggerer does them: in one event loop."""

    async def all_of_them() -> list[Outcome]:
        return await asyncio.gather(*(perform(site.services, ref) for ref in refs))

    return site.do(all_of_them())  # type: ignore[no-any-return]


@pytest.mark.parametrize("skill", ["shop.book", "shop.abook"])
@pytest.mark.parametrize("shape", ["pack", "mapped"])
def test_more_items_than_connections_come_through_with_effects_in_their_transactions(
    site: Site, bank: BankServer, skill: str, shape: str
) -> None:
    pack = "pack: all, " if shape == "pack" else ""
    run = begun(site, bank, f"{pack}skill: {skill}, {WITH}", 12)
    if shape == "mapped":
        site.expand(run, "work")
    slots = [None] if shape == "pack" else list(range(12))
    outcomes = side_by_side(site, *(WorkRef(run=run, step="work", slot=slot) for slot in slots))
    assert {outcome.status for outcome in outcomes} == {"succeeded"}
    assert set(bank.charges.values()) == {1}
    assert (len(bank.charges), done(site)) == (12, 12)


@pytest.mark.parametrize("skill", ["shop.hold", "shop.ahold"])
def test_who_waits_for_a_turn_waits_as_long_as_it_takes_and_keeps_nobody_from_anything_else(
    site: Site, bank: BankServer, skill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Renewed four times while all connections of skills are in use.
    monkeypatch.setattr(locking, "holding", partial(holding, ttl=3.0))
    run = begun(site, bank, f"pack: all, skill: {skill}, lock: ['it {{{{ item }}}}'], {WITH}", TURNS + 2)
    other = site.open(site.definition("automation: tested\nsteps:\n  - {id: work, skill: shop.quick}\n"))

    async def both() -> tuple[Outcome, Outcome]:
        holders = asyncio.create_task(perform(site.services, WorkRef(run=run, step="work")))
        while bank.charges["held"] < TURNS:
            await asyncio.sleep(0.05)
        await asyncio.sleep(4 * PATIENCE)
        quick = await perform(site.services, WorkRef(run=other, step="work"))
        assert bank.charges["held"] == TURNS
        module().released.set()
        return quick, await holders

    quick, held = site.do(both())
    assert quick.status == "succeeded"
    assert held.output == {"failed": 0, "set_aside": 0, "skipped": 0, "succeeded": TURNS + 2}
    assert done(site) == TURNS + 2
    assert "step.retried" not in [event.type for event in site.services.log.read(run)]


@pytest.mark.parametrize("skill", ["shop.hold", "shop.ahold"])
def test_waiting_for_a_turn_counts_towards_the_timeout_and_ends_with_it(
    site: Site, bank: BankServer, skill: str
) -> None:
    run = begun(site, bank, f"pack: all, skill: {skill}, retry: {{times: 0}}, timeout: 1s, {WITH}", TURNS + 1)

    async def work() -> Outcome:
        doing = asyncio.create_task(perform(site.services, WorkRef(run=run, step="work")))
        while bank.charges["held"] < TURNS:
            await asyncio.sleep(0.05)
        # Those that have a turn come to no end by themselves; the one that waits does.
        assert await asyncio.to_thread(eventually, lambda: bool(module().ends))
        assert module().ends == ["AttemptRevoked" if skill == "shop.hold" else "CancelledError"]
        module().released.set()
        return await doing

    assert site.do(work()).output["failed"] == TURNS + 1
    assert (bank.charges["held"], done(site)) == (TURNS, 0)


def test_a_transaction_within_another_does_not_wait_for_the_turn_of_its_own(site: Site, bank: BankServer) -> None:
    run = begun(site, bank, f"pack: all, skill: shop.within, {WITH}", 6)
    assert site.step(run, "work").output["succeeded"] == 6
    assert done(site) == 24


@pytest.mark.parametrize("skill", ["shop.third", "shop.athird"])
def test_a_third_transaction_within_two_is_refused_at_once(site: Site, skill: str) -> None:
    run = site.open(site.definition(f"automation: tested\nsteps:\n  - {{id: work, skill: {skill}}}\n"))
    outcome = site.step(run, "work")
    assert outcome.status == "failed"
    assert "third transaction within two" in str(outcome.reason)
    assert "step.retried" not in [event.type for event in site.services.log.read(run)]


def test_a_connection_that_does_not_come_is_no_failure_of_the_step(tmp_path: Path, database: Database) -> None:
    few = Database(database.dsn, timeout=0.5, turns=1)
    site = Site(tmp_path, few)
    site.skills("shop", SKILLS)
    run = site.open(site.definition("automation: tested\nsteps:\n  - {id: work, skill: shop.deep}\n"))
    with pytest.raises(DatabaseLost):
        site.step(run, "work")
    assert "step.failed" not in [event.type for event in site.services.log.read(run)]
    few.close()
