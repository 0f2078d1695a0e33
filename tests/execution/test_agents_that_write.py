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

SKILLS = '''
import os
import time
from pathlib import Path
from muster.errors import PermanentError, TransientError
from muster.skills import SkillContext, skill

DEAD = Path("PLACE/dead")

def write(context: SkillContext, memo: str) -> None:
    with context.database.connection() as connection:
        connection.execute("INSERT INTO notes VALUES (%s, %s) ON CONFLICT DO NOTHING", (context.key, memo))

@skill("bank.note")
def note(memo: str, context: SkillContext) -> str:
    """Notes it, once for its key."""
    write(context, memo)
    return memo

@skill("bank.anote", lane="async")
async def anote(memo: str, context: SkillContext) -> str:
    """Notes it likewise."""
    async with context.database.aconnection() as connection:
        await connection.execute("INSERT INTO notes VALUES (%s, %s) ON CONFLICT DO NOTHING", (context.key, memo))
    return memo

@skill("bank.die")
def die(memo: str, context: SkillContext) -> str:
    """Notes it, and its process dies, the first time."""
    write(context, memo)
    if not DEAD.exists():
        DEAD.touch()
        os._exit(9)
    return memo

@skill("bank.break")
def break_(memo: str, context: SkillContext) -> str:
    """Notes it, and cannot say so."""
    write(context, memo)
    raise ValueError(memo)

@skill("bank.slow")
def slow(memo: str, context: SkillContext) -> str:
    """Notes it in the end."""
    time.sleep(2)
    write(context, memo)
    return memo

@skill("bank.undo")
def undo(memo: str, context: SkillContext) -> str:
    """Writes, and takes it back."""
    with context.database.connection() as connection:
        connection.execute("SELECT count(*) FROM notes")
    with context.database.connection() as connection:
        connection.execute("INSERT INTO notes VALUES (%s, %s)", (context.key, memo))
        connection.rollback()
    return memo

@skill("bank.stumble")
def stumble(context: SkillContext) -> str:
    """Notes it, and stumbles after that, the first time."""
    write(context, "by the office")
    if not DEAD.exists():
        DEAD.touch()
        raise TransientError("The receipt cannot be read.")
    return "noted"
'''
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
