"""Nobody does again what an agent has done outside: neither the next one that fits nor `offline`; a bank counts."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import TransientError
from muster.events.model import EventType
from muster.execution.outcome import Outcome
from muster.recovery.breakers import Breakers, Policy
from muster.recovery.ledger import Ledger
from support.agent_services import OneServer
from support.bank import BankServer
from support.model_server import ModelServer
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "next_agents")
AGENTS = """
department: bank
agents:
  - {id: clerk, role: You charge., skills: [pay], tiers: [tier], offline: bank.stumble, tools: [bank.charge, bank.lose]}
  - id: manager
    role: You are the boss.
    skills: [pay, lead]
    tiers: [top]
    offline: bank.stumble
    tools: [bank.charge, bank.lose, bank.die]
"""
SHAPES = {"single": "", "mapped": "each: [1], ", "packed": "each: [1], pack: 2, ", "whole": "each: [1], pack: all, "}
IN_ALL = [(shape, lane) for shape in SHAPES for lane in ("async", "worker")]
FITTING, ONE = "needs: {skills: [pay]}, ask: Charge it.", "agent: clerk, ask: Charge it."
INSTEAD = "skill: bank.fail, fallback: {agent: clerk, ask: Charge it., with: {amount: 7}}"
CLERK, BOSS = "You charge.", "You are the boss."


@pytest.fixture
def site(tmp_path: Path, database: Database, bank: BankServer, provider: OneServer) -> Site:
    site = Site(tmp_path, database, provider)
    site.skills("bank", SKILLS.replace("BANK", bank.url).replace("PLACE", str(tmp_path)))
    site.agents(AGENTS)
    return site


def opened(site: Site, shape: str = "single", lane: str = "async", times: int = 1, who: str = FITTING) -> str:
    step = f"id: ask, {SHAPES[shape]}{who}, with: {{amount: 7}}, lane: {lane}"
    settings = "settings: {breakers: {failures: 1, open_seconds: 600}}"
    retry = f"retry: {{times: {times}, delay: 0s}}"
    return site.open(site.definition(f"automation: asking\n{settings}\nsteps:\n  - {{{step}, {retry}}}\n"))


def perform(site: Site, run: str, shape: str = "single", epoch: int = 0) -> Outcome:
    slots = range(site.expand(run, "ask", epoch=epoch)) if shape in ("mapped", "packed") else [None]
    (outcome,) = [site.step(run, "ask", slot, epoch=epoch) for slot in slots]
    return outcome


def elsewhere(site: Site, provider: OneServer) -> Site:
    """What another process has of the site."""
    fresh = OneServer(dict(provider.urls))
    return Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts, fresh)


def calling(tool: str, by: str, memo: str = "") -> dict[str, Any]:
    arguments = {"amount": 7, "memo": memo} if memo else {"amount": 7}
    return {"call": {"name": tool.replace(".", "_"), "arguments": arguments}, "when": by}


def leave_alone(database: Database, name: str) -> None:
    """Open a breaker, by what other runs met."""
    policy, breakers = Policy(failures=1, open_seconds=600), Breakers(database)
    breakers.report(breakers.admit(name, policy), policy, TransientError("It was down."))


def close_breakers(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("DELETE FROM breakers")


@pytest.mark.parametrize(
    ("tool", "taker", "shape", "lane"),
    [
        *(("bank.charge", "top", *each) for each in IN_ALL),
        *(("bank.lose", "top", *each) for each in IN_ALL),
        ("bank.charge", "offline", "single", "async"),
        ("bank.lose", "offline", "single", "async"),
    ],
)
def test_no_agent_takes_over_from_one_that_has_done_something(
    site: Site, provider: OneServer, bank: BankServer, models: ModelServer, tool: str, taker: str, shape: str, lane: str
) -> None:
    """Its models go down behind what its tool did; they are back when the step is done again."""
    if taker == "offline":
        del provider.urls["top"]
    models.script(calling(tool, CLERK))
    models.always({"status": 500, "when": CLERK})
    models.always({**calling("bank.charge", BOSS, "by the boss"), "unless": '"role": "tool"'})
    run = opened(site, shape, lane)
    outcome = perform(site, run, shape)
    known = "has happened" if tool == "bank.charge" else "happened is unknown"
    assert (outcome.status, bank.charges) == ("failed", {"7": 1})
    assert f"effect/charge' {known}, so no other agent was asked." in (outcome.reason or "")
    close_breakers(site.services.database)
    models.reset()
    models.script(*([calling(tool, CLERK)] if tool == "bank.charge" else []), {"text": "It is charged.", "when": CLERK})
    outcome = perform(elsewhere(site, provider), run, shape, epoch=1)
    assert (outcome.status, bank.charges) == ("succeeded", {"7": 1}), outcome.reason


def test_it_waits_for_the_breaker_of_its_tool(
    site: Site, database: Database, bank: BankServer, models: ModelServer
) -> None:
    leave_alone(database, "tool:bank.lose")
    models.script(calling("bank.charge", CLERK), calling("bank.lose", CLERK), calling("bank.charge", BOSS, "again"))
    outcome = perform(site, opened(site, times=0))
    assert (outcome.status, bank.charges) == ("failed", {"7": 1})
    assert "circuit breaker tool:bank.lose is open" in (outcome.reason or "")


@pytest.mark.parametrize("again", ["retried", "restarted"])
@pytest.mark.parametrize("tool", ["bank.charge", "bank.lose"])
@pytest.mark.parametrize("who", [ONE, INSTEAD], ids=["its agent", "its fallback"])
def test_offline_does_not_do_again_what_a_model_has_had_done(
    site: Site, provider: OneServer, bank: BankServer, models: ModelServer, tool: str, again: str, who: str
) -> None:
    """The connection is taken away behind what the tool did, and comes back."""
    models.script(calling(tool, CLERK))
    models.always({"status": 500})
    urls = dict(provider.urls)
    run = opened(site, times=int(again == "retried"), who=who)
    bank.meanwhile = provider.urls.clear
    outcome = perform(site, run)
    if again == "restarted":
        outcome = perform(site, run, epoch=1)
    assert (outcome.status, bank.charges) == ("failed", {"7": 1})
    assert "so the `offline` skill of clerk was not called" in (outcome.reason or "")
    close_breakers(site.services.database)
    provider.urls.update(urls)
    models.reset()
    models.script(*([calling(tool, CLERK)] if tool == "bank.charge" else []), {"text": "It is charged."})
    outcome = perform(elsewhere(site, provider), run, epoch=2)
    assert (outcome.status, bank.charges) == ("succeeded", {"7": 1}), outcome.reason


def test_no_model_does_again_what_offline_has_done(
    site: Site, provider: OneServer, bank: BankServer, models: ModelServer
) -> None:
    """A model is connected meanwhile, and taken away again."""
    urls = dict(provider.urls)
    provider.urls.clear()
    bank.meanwhile = lambda: provider.urls.update(urls)
    models.script(calling("bank.charge", CLERK), {"text": "done"})
    run = opened(site, who=ONE)
    outcome = perform(site, run)
    assert (outcome.status, bank.charges, models.calls) == ("failed", {"7": 1}, [])
    assert "has happened, so the agent clerk was not asked" in (outcome.reason or "")
    provider.urls.clear()
    assert perform(site, run, epoch=1).status == "succeeded"
    assert bank.charges == {"7": 1}


@pytest.mark.parametrize(("shape", "lane"), IN_ALL)
def test_the_next_agent_goes_on_when_its_process_has_died_although_the_breaker_is_closed(
    site: Site, provider: OneServer, bank: BankServer, models: ModelServer, shape: str, lane: str
) -> None:
    leave_alone(site.services.database, "agent:clerk")
    models.script(calling("bank.charge", BOSS, "by the boss"), calling("bank.die", BOSS))
    models.script({"text": "It is charged.", "when": BOSS}, calling("bank.charge", CLERK, "by the clerk"))
    run = opened(site, shape, lane)
    process = multiprocessing.get_context("fork").Process(target=lambda: perform(elsewhere(site, provider), run, shape))
    process.start()
    process.join(60)
    assert (process.exitcode, bank.charges) == (9, {"7": 1})
    close_breakers(site.services.database)
    outcome = perform(site, run, shape)
    assert (outcome.status, bank.charges) == ("succeeded", {"7": 1}), outcome.reason
    assert len(models.calls) == 3, "nobody was asked anything twice"


@pytest.mark.parametrize("way", ["in doubt", "offline"])
def test_so_it_does_when_the_step_is_done_again(
    site: Site, provider: OneServer, bank: BankServer, models: ModelServer, way: str
) -> None:
    if way == "offline":
        del provider.urls["top"]
    leave_alone(site.services.database, "agent:clerk")
    models.script(calling("bank.lose", BOSS))
    run = opened(site, times=0)
    assert perform(site, run).status == "failed"
    close_breakers(site.services.database)
    models.script({"text": "It is charged.", "when": BOSS})
    models.always(calling("bank.charge", CLERK, "by the clerk"))
    outcome = perform(elsewhere(site, provider), run, epoch=1)
    assert (outcome.status, bank.charges) == ("succeeded", {"7": 1}), outcome.reason
    assert [entry.status for entry in Ledger(site.services.database).entries()] == ["done"]
    asked = [event.data["agent"] for event in site.services.log.read(run) if event.type == EventType.MODEL_CALLED]
    assert asked == ([] if way == "offline" else ["manager"] * 2)
