"""An agent that takes over from another is asked nothing twice when its process dies; the server counts."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from support.agent_services import OneServer
from support.bank import BankServer
from support.model_server import ModelServer
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "fallback_agents")
AGENTS = """
department: bank
agents:
  - {id: clerk, role: You charge., skills: [pay], tiers: [tier], retries: 0, tools: [bank.greet]}
  - {id: manager, role: You are the boss., skills: [pay], tiers: [top], retries: 0, tools: [bank.look, bank.charge]}
"""
SHAPES = {
    "single": "",
    "mapped": "each: [a, b], ",
    "packed": "each: [a, b], pack: 2, ",
    "whole": "each: [a, b], pack: all, ",
}
DONE = {"answer": {"done": True}}
NONSENSE = {"text": "no idea"}


@pytest.fixture
def site(tmp_path: Path, database: Database, bank: BankServer, models: ModelServer) -> Site:
    site = Site(tmp_path, database, OneServer({"tier": models.url, "top": models.url}))
    site.skills("bank", SKILLS.replace("BANK", bank.url).replace("PLACE", str(tmp_path)))
    site.agents(AGENTS)
    return site


def asking(shape: str, lane: str) -> str:
    returns = "returns: {type: object, properties: {done: {type: boolean}}, required: [done]}"
    ask = "'Charge {{ item }}.'" if SHAPES[shape] else "Charge it."
    step = f"id: ask, {SHAPES[shape]}agent: clerk, lane: {lane}, ask: {ask}, {returns}, fallback: {{agent: manager}}"
    return f"automation: asking\nsteps:\n  - {{{step}, retry: {{times: 1, delay: 0s}}}}\n"


def calling(tool: str) -> dict[str, Any]:
    return {"call": {"name": tool.replace(".", "_"), "arguments": {"amount": 7}}}


def dies(site: Site, models: ModelServer, run: str, slot: int | None = None) -> None:
    """Perform the step in a process of its own, which dies."""

    def perform() -> None:
        mine = Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)
        object.__setattr__(mine.services, "models", OneServer({"tier": models.url, "top": models.url}))
        mine.step(run, "ask", slot)

    process = multiprocessing.get_context("fork").Process(target=perform)
    process.start()
    process.join(60)
    assert process.exitcode == 9
    with site.services.database.connection() as connection:
        connection.execute("UPDATE effects SET claimed_until = clock_timestamp() WHERE claimed_until IS NOT NULL")


@pytest.mark.parametrize(("lane", "tool"), [("async", "bank.look"), ("worker", "bank.look"), ("worker", "bank.charge")])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fallback_whose_process_died_is_asked_nothing_twice(
    site: Site, models: ModelServer, tmp_path: Path, shape: str, lane: str, tool: str
) -> None:
    models.always({**NONSENSE, "when": "You charge."})
    models.always({**calling(tool), "unless": '"role": "tool"'})
    models.always(DONE)
    (tmp_path / "pieces").write_text("2" if shape in ("packed", "whole") else "1")
    run = site.open(site.definition(asking(shape, lane)))
    slot = None if shape in ("single", "whole") else 0
    if SHAPES[shape]:
        site.expand(run, "ask")
    dies(site, models, run, slot)
    outcome = site.step(run, "ask", slot)
    assert outcome.status == "succeeded", outcome.reason
    asked = [json.dumps(call["messages"]) for call in models.calls]
    of_boss = [messages for messages in asked if "You are the boss." in messages]
    assert len(of_boss) == len(set(of_boss)) == (4 if shape in ("packed", "whole") else 2)


@pytest.mark.parametrize("first", ["clerk", "manager"], ids=["another agent", "the same agent, asked otherwise"])
def test_a_fallback_that_was_asked_afresh_goes_on_there(
    site: Site, models: ModelServer, tmp_path: Path, first: str
) -> None:
    (tmp_path / "pieces").write_text("1")
    models.script(NONSENSE, NONSENSE, NONSENSE, calling("bank.look"))
    source = asking("single", "async").replace("agent: clerk", f"agent: {first}")
    run = site.open(site.definition(source.replace("{agent: manager}", "{agent: manager, ask: Think again.}")))
    dies(site, models, run)
    assert len(models.calls) == 4, "the first twice, the boss, and the boss afresh"
    models.script(DONE)
    assert site.step(run, "ask").status == "succeeded"
    assert [message["role"] for message in models.calls[4]["messages"]][-1] == "tool", "it hears what the tool said"
    assert len(models.calls) == 5


def test_the_next_agent_that_fits_is_asked_nothing_twice(site: Site, models: ModelServer, tmp_path: Path) -> None:
    """Its breaker opens while the first agent is at it."""
    (tmp_path / "pieces").write_text("1")
    source = asking("single", "async").replace("agent: clerk", "needs: {skills: [pay]}")
    source = source.replace(", fallback: {agent: manager}", "").replace(
        "steps:", "settings: {breakers: {failures: 1, open_seconds: 600}}\nsteps:"
    )
    definition = site.definition(source)
    assert (definition.step("ask").agent, definition.step("ask").others) == ("clerk", ("manager",))
    models.script(calling("bank.greet"), {"status": 500}, calling("bank.look"))
    run = site.open(definition)
    dies(site, models, run)
    assert len(models.calls) == 3, "the clerk twice, and the boss"
    models.script(DONE)
    assert site.step(run, "ask").status == "succeeded"
    assert [message["role"] for message in models.calls[3]["messages"]][-1] == "tool", "it hears what the tool said"
    assert len(models.calls) == 4
