"""What an agent's tools do outside happens once, however often the agent is asked."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.model import EventType
from muster.recovery.ledger import Ledger
from support.agent_services import OneServer
from support.bank import BankServer
from support.model_server import ModelServer
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "agent_tools")
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


def test_a_tool_that_wants_to_end_the_process_has_failed(site: Site, models: ModelServer) -> None:
    site.skills("bank", SKILLS.replace("    def post() -> int:", "    raise SystemExit(0)\n\n    def post() -> int:"))
    models.script(CHARGE, DONE)
    run = site.open(site.definition(AUTOMATION))
    assert site.step(run, "ask").status == "succeeded"
    [called] = [event for event in site.services.log.read(run) if event.type == EventType.TOOL_CALLED]
    assert called.data["error"]["message"].startswith("The skill bank.charge called sys.exit(0)")


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


@pytest.mark.parametrize("between", [[], [NONSENSE] * 3], ids=["at once", "asked afresh"])
def test_tools_that_are_called_with_other_arguments_do_other_things(
    site: Site, bank: BankServer, models: ModelServer, between: list[Any]
) -> None:
    other: dict[str, Any] = {"call": {"name": "bank_charge", "arguments": {"amount": 8}}}
    models.script(CHARGE, *between, other, DONE)
    run = site.open(site.definition(AUTOMATION))
    assert site.step(run, "ask").status == "succeeded"
    assert bank.charges == {"7": 1, "8": 1}


LOSING = source_of(__file__, "agent_tools_losing")
LOST = ("ConnectionError", "TimeoutError", "TransientError", "OSError", "KeyError")
SHAPES = {
    "single": "",
    "mapped": "each: [1, 2], ",
    "packed": "each: [1, 2], pack: 2, ",
    "whole": "each: [1, 2], pack: all, ",
}


def losing(
    tmp_path: Path, database: Database, bank: BankServer, models: ModelServer, error: str, tool: str
) -> tuple[Site, list[Any]]:
    """A site whose tool loses the bank's answer, and what a model says that calls it again in other words."""
    site = Site(tmp_path / "losing", database, OneServer({"tier": models.url}))
    site.skills("bank", LOSING.replace("BANK", bank.url).replace("ERROR", error).replace("PLACE", str(tmp_path)))
    agent = f"{{id: clerk, role: You charge., tiers: [tier], tools: [{tool}]}}"
    site.agents(f"department: bank\nagents:\n  - {agent}\n")
    memos = ("invoice 12", "invoice 12, again")
    calls = [{"call": {"name": tool.replace(".", "_"), "arguments": {"amount": 7, "memo": memo}}} for memo in memos]
    return site, [*calls, DONE]


def asking(shape: str, lane: str, times: int) -> str:
    returns = "returns: {type: object, properties: {done: {type: boolean}}, required: [done]}"
    step = f"id: ask, {SHAPES[shape]}agent: clerk, lane: {lane}, ask: Charge it., {returns}"
    return f"automation: asking\nsteps:\n  - {{{step}, retry: {{times: {times}, delay: 0s}}}}\n"


def statuses(site: Site) -> list[str]:
    return [entry.status for entry in Ledger(site.services.database).entries()]


@pytest.mark.parametrize("times", [0, 1], ids=["at once", "after a retry"])
@pytest.mark.parametrize("tool", ["bank.charge", "bank.acharge", "bank.swallow", "bank.bluntly"])
@pytest.mark.parametrize("error", LOST)
def test_no_model_decides_about_what_may_have_happened(
    tmp_path: Path, database: Database, bank: BankServer, models: ModelServer, error: str, tool: str, times: int
) -> None:
    site, answers = losing(tmp_path, database, bank, models, error, tool)
    models.script(*answers)
    run = site.run(site.definition(asking("single", "async", times)))
    assert bank.charges == {"7": 1}
    assert statuses(site) == ["unknown"]
    assert site.state(run).status == "failed"
    assert len(models.calls) == 1, "it was not asked what to do about it"


@pytest.mark.parametrize("lane", ["async", "worker"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_model_decides_about_what_may_have_happened_in_any_shape(
    tmp_path: Path, database: Database, bank: BankServer, models: ModelServer, shape: str, lane: str
) -> None:
    site, (first, again, done) = losing(tmp_path, database, bank, models, "ConnectionError", "bank.charge")
    work_items = 2 if SHAPES[shape] else 1
    models.script(*[first] * work_items, *[again] * work_items, *[done] * work_items)
    run = site.run(site.definition(asking(shape, lane, 1)))
    assert bank.charges == {"7": work_items}
    assert statuses(site) == ["unknown"] * work_items
    failed = [event.data["error"] for event in site.services.log.read(run) if event.type == EventType.STEP_FAILED]
    assert [error["class"] for error in failed] == ["OutcomeUnknown"] * work_items
    assert all("muster effects settle" in error["remedy"] for error in failed)


@pytest.mark.parametrize("error", LOST)
def test_what_can_be_found_out_is_found_out_and_the_agent_goes_on(
    tmp_path: Path, database: Database, bank: BankServer, models: ModelServer, error: str
) -> None:
    site, (first, _, done) = losing(tmp_path, database, bank, models, error, "bank.asked")
    models.script(first, done)
    run = site.run(site.definition(asking("single", "async", 1)))
    assert site.state(run).status == "succeeded"
    assert (bank.charges, statuses(site)) == ({"7": 1}, ["done"])


def test_an_agent_whose_step_is_done_again_is_not_asked_before_a_person_has_settled_what_happened(
    tmp_path: Path, database: Database, bank: BankServer, models: ModelServer
) -> None:
    site, (first, again, done) = losing(tmp_path, database, bank, models, "ConnectionError", "bank.charge")
    models.script(first, again, done)
    run = site.open(site.definition(asking("single", "async", 0)))
    assert site.step(run, "ask").status == "failed"
    assert "whether it happened is unknown" in (site.step(run, "ask", epoch=1).reason or "")
    assert (bank.charges, len(models.calls)) == ({"7": 1}, 1)
    ledger = Ledger(database)
    ledger.decide(ledger.entries()[0].key, happened=True, result=1)
    models.reset()
    models.script(first, done)
    assert site.step(run, "ask", epoch=2).status == "succeeded"
    assert bank.charges == {"7": 1}


@pytest.mark.parametrize("lane", ["async", "worker"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tool", ["bank.asked", "bank.aasked"])
def test_an_agent_whose_step_is_done_again_finds_out_at_once_what_can_be_found_out(
    tmp_path: Path, database: Database, bank: BankServer, models: ModelServer, shape: str, lane: str, tool: str
) -> None:
    site, (first, _, _) = losing(tmp_path, database, bank, models, "ConnectionError", tool)
    work_items = 2 if SHAPES[shape] else 1
    models.always({**first, "unless": '"role": "tool"'})
    run = site.run(site.definition(asking(shape, lane, 0)))
    assert (bank.charges, statuses(site), len(models.calls)) == (
        {"7": work_items},
        ["unknown"] * work_items,
        work_items,
    )
    models.always(DONE)
    slots = range(site.expand(run, "ask", epoch=1)) if shape in ("mapped", "packed") else [None]
    assert {site.step(run, "ask", slot, epoch=1).status for slot in slots} == {"succeeded"}
    assert (bank.charges, statuses(site)) == ({"7": work_items}, ["done"] * work_items)
    assert len(models.calls) == 2 * work_items, "each was told what its tool did, and asked nothing else"


def test_an_agent_that_has_found_out_goes_on_there_when_it_is_tried_once_more(
    tmp_path: Path, database: Database, bank: BankServer, models: ModelServer
) -> None:
    """Once in the same process, and once in another one."""
    site, (first, _, done) = losing(tmp_path, database, bank, models, "ConnectionError", "bank.later, bank.die")
    first = {"call": {**first["call"], "name": "bank_later"}}
    models.script(first)
    run = site.open(site.definition(asking("single", "async", 1)))
    assert site.step(run, "ask").status == "failed"
    (tmp_path / "mended").touch()
    models.script({"status": 500}, {"call": {"name": "bank_die", "arguments": {}}})
    process = multiprocessing.get_context("fork").Process(target=ask_again, args=(site, models.url, run))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    models.script(done)
    assert site.step(run, "ask", epoch=1).status == "succeeded"
    assert (bank.charges, statuses(site)) == ({"7": 1}, ["done"])
    assert [call["messages"][-1]["role"] for call in models.calls] == ["user", "tool", "tool", "tool"]


def ask_again(site: Site, url: str, run: str) -> None:
    mine = Site.of(
        site.include, Database(site.services.database.dsn), site.services.artifacts, OneServer({"tier": url})
    )
    mine.step(run, "ask", epoch=1)
