"""What an agent's tools do outside happens once, however often the agent is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from support.agent_services import OneServer
from support.bank import BankServer
from support.model_server import ModelServer
from support.runs import Site

SKILLS = '''
import json
from urllib.request import Request, urlopen

from muster.skills import SkillContext, skill


@skill("bank.charge")
def charge(amount: int, context: SkillContext) -> int:
    """Charges as often as it is asked: the ledger keeps it to one."""

    def post() -> int:
        with urlopen(Request("BANK" + str(amount), method="POST")) as answer:
            return json.load(answer)

    return context.effect("charge", request={"amount": amount}).perform(post)
'''
AUTOMATION = """
automation: asking
steps:
  - id: ask
    agent: clerk
    ask: Charge it.
    returns: {type: object, properties: {done: {type: boolean}}, required: [done]}
    retry: {times: 2, delay: 0s}
"""
CHARGE = {"call": {"name": "bank_charge", "arguments": {"amount": 7}}}
NONSENSE = {"text": "no idea"}
DONE = {"answer": {"done": True}}


@pytest.fixture
def models() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, database: Database, bank: BankServer, models: ModelServer) -> Site:
    site = Site(tmp_path, database, OneServer({"tier": models.url}))
    site.skills("bank", SKILLS.replace("BANK", bank.url))
    site.agents("department: bank\nagents:\n  - {id: clerk, role: You charge., tiers: [tier], tools: [bank.charge]}\n")
    return site


def test_an_agent_that_is_asked_afresh_finds_what_its_tools_did(
    site: Site, bank: BankServer, models: ModelServer
) -> None:
    models.script(CHARGE, *[NONSENSE] * 3, CHARGE, DONE)
    run = site.open(site.definition(AUTOMATION))
    outcome = site.step(run, "ask")
    assert outcome.status == "succeeded", outcome.reason
    assert "step.retried" in [event.type for event in site.services.log.read(run)], "it was asked afresh"
    assert bank.charges == {"7": 1}


def test_an_agent_whose_step_a_person_has_done_again_finds_what_its_tools_did(
    site: Site, bank: BankServer, models: ModelServer
) -> None:
    models.script(CHARGE, {"status": 400}, *[{"status": 400}] * 5)
    run = site.open(site.definition(AUTOMATION))
    assert site.step(run, "ask").status == "failed"
    models.reset()
    models.script(CHARGE, DONE)
    outcome = site.step(run, "ask", epoch=1)
    assert outcome.status == "succeeded", outcome.reason
    assert bank.charges == {"7": 1}


def test_tools_that_are_called_with_other_arguments_do_other_things(
    site: Site, bank: BankServer, models: ModelServer
) -> None:
    other: dict[str, Any] = {"call": {"name": "bank_charge", "arguments": {"amount": 8}}}
    models.script(CHARGE, other, DONE)
    run = site.open(site.definition(AUTOMATION))
    assert site.step(run, "ask").status == "succeeded"
    assert bank.charges == {"7": 1, "8": 1}
