"""An agent at work about somebody who is forgotten meanwhile, or was before: it comes through; a bank counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.model import Event, EventType
from muster.events.personal import Vault
from muster.operations.forgetting import forget
from muster.recovery.ledger import Ledger
from support.agent_services import OneServer
from support.bank import BankServer
from support.model_server import ModelServer
from support.runs import MASTER, Site
from support.sources import source_of

MARKER = "zqx-jane-4711"
SKILLS = source_of(__file__, "forgotten_agents")
AUTOMATION = """
automation: asking
inputs: {who: {type: string}}
personal: {subject: "{{ inputs.who }}"}
settings: {breakers: {failures: 9, open_seconds: 600}}
budget: {usd: "5"}
steps:
  - id: ask
    agent: clerk
    ask: "Charge {{ inputs.who }}."
    retry: {times: 2, delay: 0s}
"""
DONE = {"text": "It is charged."}


@pytest.fixture
def site(tmp_path: Path, database: Database, bank: BankServer, models: ModelServer) -> Site:
    site = Site(tmp_path, database, OneServer({"tier": models.url}))
    site.skills("bank", SKILLS.replace("BANK", bank.url))
    tools = "tools: [bank.charge, bank.total]"
    site.agents(f"department: bank\nagents:\n  - {{id: clerk, role: You charge., tiers: [tier], {tools}}}\n")
    return site


def officer(site: Site) -> None:
    forget(site.services.database, Vault(lambda: MASTER), MARKER, by="officer", artifacts=site.services.artifacts)


def calling(tool: str = "bank_charge", memo: str = "") -> dict[str, Any]:
    return {"call": {"name": tool, "arguments": {"amount": 7, "memo": memo} if memo else {"amount": 7}}}


def said(site: Site, run: str, kind: EventType) -> list[Event]:
    return [event for event in site.services.log.read(run) if event.type == kind]


def opened(site: Site) -> str:
    prices = "settings: {prices: {tier-1: {input: 1, output: 1}}, breakers"
    return site.open(site.definition(AUTOMATION.replace("settings: {breakers", prices)), who=MARKER)


def test_one_that_begins_afterwards_comes_through(site: Site, models: ModelServer) -> None:
    run = opened(site)
    officer(site)
    models.script(DONE)
    outcome = site.step(run, "ask")
    assert (outcome.status, len(models.calls)) == ("succeeded", 1), outcome.reason
    assert MARKER not in str(models.calls)


@pytest.mark.parametrize("memo", ["", MARKER])
def test_what_a_tool_has_done_is_told_to_the_model_also_when_they_are_forgotten_meanwhile(
    site: Site, bank: BankServer, models: ModelServer, memo: str
) -> None:
    """The attempt in its middle goes on with what it was given; the log keeps nothing of it."""
    run = opened(site)
    bank.meanwhile = lambda: officer(site)
    models.script(calling("bank_total", memo), DONE)
    outcome = site.step(run, "ask")
    assert (outcome.status, bank.charges) == ("succeeded", {"7": 1}), outcome.reason
    assert models.calls[-1]["messages"][-1]["content"] == "1001"
    [called] = said(site, run, EventType.TOOL_CALLED)
    assert set(called.data["result"]) == set(called.data["arguments"]) == {"$forgotten"}


@pytest.mark.parametrize("tool", ["bank_charge", "bank_total"])
def test_the_next_attempt_asks_afresh_and_finds_what_was_done(
    site: Site, bank: BankServer, models: ModelServer, tool: str
) -> None:
    """What was answered cannot be read any more; what the same call has done, nobody does again or calls a failure."""
    run = opened(site)
    bank.meanwhile = lambda: officer(site)
    models.script(calling(tool), {"status": 500}, calling(tool), DONE)
    outcome = site.step(run, "ask")
    assert (outcome.status, bank.charges) == ("succeeded", {"7": 1}), outcome.reason
    told = models.calls[-1]["messages"][-1]["content"]
    known = "stands; what it gave back was forgotten" if tool == "bank_charge" else "did has happened and stands"
    assert known in told
    costs = [event.data["cost"] for event in said(site, run, EventType.MODEL_CALLED)]
    assert (len(costs), len(set(costs))) == (3, 1), "each answer that was paid for counts"


def test_what_it_began_and_nobody_knows_of_is_settled_by_a_person_first(
    site: Site, bank: BankServer, models: ModelServer
) -> None:
    site.skills("bank", SKILLS.replace('lambda: post("BANK", "7")', "lost").replace("BANK", bank.url))
    run = opened(site)
    bank.meanwhile = lambda: officer(site)
    models.script(calling(), calling(memo="again"), DONE)
    outcome = site.step(run, "ask")
    assert (outcome.status, bank.charges, len(models.calls)) == ("failed", {"7": 1}, 1)
    [ended] = said(site, run, EventType.STEP_FAILED)
    assert ended.data["error"]["class"] == "OutcomeUnknown"
    [effect] = Ledger(site.services.database).entries()
    Ledger(site.services.database).decide(effect.key, happened=True)
    models.reset()
    models.script(DONE)
    assert site.step(run, "ask", epoch=1).status == "succeeded"
    assert bank.charges == {"7": 1}
