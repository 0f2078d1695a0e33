"""What an agent's tool has written in Muster's database is done again by nobody else either; a table counts."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import TransientError
from muster.recovery.breakers import Breakers, Policy
from muster.recovery.ledger import Ledger
from support.agent_services import OneServer
from support.model_server import ModelServer
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "agents_that_write")
TOOLS = "tools: [bank.note, bank.anote, bank.die, bank.break, bank.slow, bank.undo]"
AGENTS = f"""
department: bank
agents:
  - {{id: clerk, role: You note., skills: [write], tiers: [tier], offline: bank.stumble, {TOOLS}}}
  - {{id: manager, role: You are the boss., skills: [write, lead], tiers: [top], offline: bank.stumble, {TOOLS}}}
"""
FITTING, ONE = "needs: {skills: [write]}, ask: Note it.", "agent: clerk, ask: Note it."
INSTEAD = f"{ONE}, fallback: {{skill: bank.stumble}}"
CLERK, BOSS = "You note.", "You are the boss."
SAID = {"text": "It is noted.", "when": CLERK}


@pytest.fixture
def site(tmp_path: Path, database: Database, provider: OneServer) -> Site:
    with database.connection() as connection:
        connection.execute("CREATE TABLE notes (key text PRIMARY KEY, memo text)")
    site = Site(tmp_path, database, provider)
    site.skills("bank", SKILLS.replace("PLACE", str(tmp_path)))
    site.agents(AGENTS)
    return site


def opened(site: Site, who: str, times: int = 1) -> str:
    settings = "settings: {breakers: {failures: 1, open_seconds: 600}}"
    step = f"{{id: ask, {who}, retry: {{times: {times}, delay: 0s}}}}"
    return site.open(site.definition(f"automation: asking\n{settings}\nsteps:\n  - {step}\n"))


def elsewhere(site: Site, provider: OneServer) -> Site:
    """What another process has of the site."""
    fresh = OneServer(dict(provider.urls))
    return Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts, fresh)


def calling(tool: str, by: str, memo: str) -> dict[str, Any]:
    return {"call": {"name": tool.replace(".", "_"), "arguments": {"memo": memo}}, "when": by}


def notes(site: Site) -> list[str]:
    with site.services.database.connection() as connection:
        return [memo for (memo,) in connection.execute("SELECT memo FROM notes ORDER BY memo")]


def close_breakers(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("DELETE FROM breakers")


def died(site: Site, provider: OneServer, run: str) -> bool:
    """Perform it in a process that dies on the way."""
    work = multiprocessing.get_context("fork").Process(target=lambda: elsewhere(site, provider).step(run, "ask"))
    work.start()
    work.join(60)
    return work.exitcode == 9


@pytest.mark.parametrize("tool", ["bank.note", "bank.anote", "bank.break"])
@pytest.mark.parametrize("taker", ["top", "offline", "own offline", "fallback"])
def test_nobody_does_again_what_an_agents_tool_has_written(
    site: Site, provider: OneServer, models: ModelServer, tool: str, taker: str
) -> None:
    """Its models go down behind what its tool wrote; they are back when the step is done again."""
    if taker == "offline":
        del provider.urls["top"]
    models.script(calling(tool, CLERK, "by the clerk"))
    models.always({"status": 500, "when": CLERK})
    models.always({**calling("bank.note", BOSS, "by the boss"), "unless": '"role": "tool"'})
    run = opened(site, {"own offline": ONE, "fallback": INSTEAD}.get(taker, FITTING))
    outcome = site.step(run, "ask")
    if taker == "own offline":
        urls = dict(provider.urls)
        provider.urls.clear()
        outcome = site.step(run, "ask", epoch=1)
        provider.urls.update(urls)
    assert (outcome.status, notes(site)) == ("failed", ["by the clerk"])
    assert "effect/context.database' has happened, so " in (outcome.reason or "")
    close_breakers(site.services.database)
    models.reset()
    models.script(calling(tool, CLERK, "by the clerk"), SAID)
    outcome = elsewhere(site, provider).step(run, "ask", epoch=2)
    assert (outcome.status, notes(site)) == ("succeeded", ["by the clerk"]), outcome.reason


def test_a_tool_that_has_only_read_or_taken_back_what_it_wrote_keeps_nobody_from_taking_over(
    site: Site, models: ModelServer
) -> None:
    models.script(calling("bank.undo", CLERK, "by the clerk"))
    models.always({"status": 500, "when": CLERK})
    models.always({**calling("bank.note", BOSS, "by the boss"), "unless": '"role": "tool"'})
    models.always({"text": "It is noted.", "when": BOSS})
    outcome = site.step(opened(site, FITTING), "ask")
    assert (outcome.status, notes(site)) == ("succeeded", ["by the boss"]), outcome.reason


def test_what_is_still_at_work_beside_the_tool_that_is_left_alone_is_waited_for(
    site: Site, database: Database, models: ModelServer
) -> None:
    policy, breakers = Policy(failures=1, open_seconds=600), Breakers(database)
    breakers.report(breakers.admit("tool:bank.anote", policy), policy, TransientError("It was down."))
    both = [calling(tool, CLERK, "by the clerk")["call"] for tool in ("bank.slow", "bank.anote")]
    models.script({"calls": both, "when": CLERK})
    models.always({**calling("bank.note", BOSS, "by the boss"), "unless": '"role": "tool"'})
    models.always({"text": "It is noted.", "when": BOSS, "delay": 4})
    outcome = site.step(opened(site, FITTING, times=0), "ask")
    assert (outcome.status, notes(site)) == ("failed", ["by the clerk"]), outcome.reason
    assert "has happened, so no other agent was asked." in (outcome.reason or "")


def test_nor_is_it_when_the_process_has_died_before_anybody_was_told(
    site: Site, provider: OneServer, models: ModelServer
) -> None:
    models.script(calling("bank.die", CLERK, "by the clerk"))
    run = opened(site, FITTING)
    assert died(site, provider, run)
    models.always({"status": 500, "when": CLERK})
    models.always(calling("bank.note", BOSS, "by the boss"))
    # The call is made again, from the log; then the clerk's models are down.
    outcome = site.step(run, "ask")
    assert (outcome.status, notes(site)) == ("failed", ["by the clerk"]), outcome.reason
    assert "has happened, so no other agent was asked." in (outcome.reason or "")


def test_the_next_agent_goes_on_where_its_tool_has_written(
    site: Site, provider: OneServer, models: ModelServer
) -> None:
    models.script({"status": 500, "when": CLERK}, calling("bank.die", BOSS, "by the boss"))
    run = opened(site, FITTING)
    assert died(site, provider, run)
    close_breakers(site.services.database)
    models.script({"text": "It is noted.", "when": BOSS}, calling("bank.note", CLERK, "by the clerk"))
    outcome = site.step(run, "ask")
    assert (outcome.status, notes(site)) == ("succeeded", ["by the boss"]), outcome.reason
    [(entry, kind)] = [(entry.key, entry.kind) for entry in Ledger(site.services.database).entries()]
    assert (entry.endswith("/agent/manager/effect/context.database"), kind) == (True, "database")


def test_no_model_does_again_what_offline_has_written(site: Site, provider: OneServer, models: ModelServer) -> None:
    """A model is connected after it, and taken away again."""
    urls = dict(provider.urls)
    provider.urls.clear()
    run = opened(site, ONE, times=0)
    assert site.step(run, "ask").status == "failed"
    provider.urls.update(urls)
    models.always(calling("bank.note", CLERK, "by the clerk"))
    outcome = site.step(run, "ask", epoch=1)
    assert (outcome.status, notes(site), models.calls) == ("failed", ["by the office"], [])
    provider.urls.clear()
    assert site.step(run, "ask", epoch=2).status == "succeeded"
    assert notes(site) == ["by the office"]


def test_a_model_is_told_that_what_a_tool_did_before_it_failed_has_happened(site: Site, models: ModelServer) -> None:
    models.script(calling("bank.break", CLERK, "by the clerk"), SAID)
    assert site.step(opened(site, ONE), "ask").status == "succeeded"
    assert "What bank.break did has happened and stands" in str(models.calls[-1])
