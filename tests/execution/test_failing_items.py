"""What an item that fails for good means for the others of its list; a server outside counts what really was done."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from muster.errors import PermanentError
from muster.events.model import Event, EventType
from muster.events.replay import replay
from muster.execution import concurrency, performing
from muster.execution.fanout import end
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.language import load_folder
from muster.operations.redoing import Plan, order, plan_discard, plan_redrive, plan_restart
from muster.recovery.dead_letters import DeadLetters, Filter
from support.bank import BankServer
from support.reconciled import begun_again
from support.runs import Site, perform_in_process, place, started
from support.sources import source_of

SKILLS = source_of(__file__, "failing_items")
pytestmark = pytest.mark.skills(shop=SKILLS)
AUTOMATION = """automation: tested
inputs: {url: {type: string}, items: {type: array, items: {type: string}}}
steps:
  - id: first
    skill: shop.charge
    with: {url: "{{ inputs.url }}", item: once}
    compensate: {skill: shop.refund, with: {url: "{{ inputs.url }}", item: once}}
  - id: charge
    each: "{{ inputs.items }}"
    failures: FAILURES
    PACK
    MORE
    skill: SKILL
    with: {url: "{{ inputs.url }}", item: "{{ item }}"}
    compensate: {skill: shop.refund, with: {url: "{{ inputs.url }}", item: "{{ item }}"}}
  - id: then
    each: "{{ steps.charge }}"
    PACK
    skill: SKILL
    with: {url: "{{ inputs.url }}", item: "{{ item }}"}
  - id: count
    skill: shop.count
    with: {url: "{{ inputs.url }}", items: "{{ steps.then }}"}
"""
PACKS = ["pack: 1", "pack: 2", "pack: all"]
every_pack = pytest.mark.parametrize("pack", PACKS)
both_lanes = pytest.mark.parametrize("skill", ["shop.charge", "shop.acharge"])


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In packs: what is under way is nothing that could be left out."""
    monkeypatch.setattr(concurrency, "ASYNC_AT_ONCE", 1)
    monkeypatch.setattr(concurrency, "THREADS_AT_ONCE", 1)


def written(failures: str = "stop", pack: str = "pack: 1", skill: str = "shop.acharge", more: str = "") -> str:
    """The automation, whose list says this."""
    text = AUTOMATION.replace("PACK", pack).replace("SKILL", skill).replace("MORE", more)
    return text.replace("failures: FAILURES", f"failures: {failures}" if failures else "")


def opened(site: Site, bank: BankServer, *items: str, **how: str) -> str:
    """A run about to charge these."""
    run = site.open(site.definition(written(**how)), url=bank.url, items=list(items))
    site.step(run, "first")
    bank.charges.clear()
    return run


def ended(site: Site, run: str, *steps: str, epoch: int = 0) -> str:
    """Perform these steps, or all that follow the first, and end the run as Airflow would; how it ended."""
    for step in steps or ("charge", "then", "count"):
        site.all_of(run, step, epoch=epoch)
    site.unwind(run, epoch=epoch)
    site.close(run, epoch=epoch)
    assert replay(site.services.database, run).differences == []
    return site.state(run).status


def charged(bank: BankServer, step: str = "charge") -> list[str]:
    """What a step charged since the last time, in order."""
    names = [name.removeprefix(f"{step}.") for name in bank.order if name.startswith(f"{step}.")]
    bank.order = [name for name in bank.order if not name.startswith(f"{step}.")]
    return names


def how(site: Site, run: str, step: str = "charge") -> list[str]:
    """How each item ended, or why it did not begin."""
    items = site.state(run).step(step).items
    return [items[index].reason or items[index].status for index in sorted(items)]


def again(site: Site, run: str, plan: Plan) -> int:
    """A person orders it, and Airflow begins."""
    order(site.services.log, plan)
    (site.include / "mended").touch()
    return int(site.do(begun_again(site, run)))


def redriven(site: Site, run: str, *indices: int) -> str:
    """Redrive items, mended; how the run ended."""
    plan = plan_redrive(site.services.log, site.services.definitions, run, {"charge": indices}, by="ann")
    return ended(site, run, epoch=again(site, run, plan))


def of_type(site: Site, run: str, type_: EventType, step: str = "charge") -> list[Event]:
    return list(site.services.log.read(run, steps=[step], types=[type_]))


@both_lanes
@every_pack
@pytest.mark.usefixtures("one_at_a_time")
def test_after_an_item_that_failed_none_begins_and_what_was_done_stands(
    site: Site, bank: BankServer, pack: str, skill: str
) -> None:
    run = opened(site, bank, "a", "b", "bad", "c", "d", "e", pack=pack, skill=skill)
    assert ended(site, run) == "failed"
    assert charged(bank) == ["a", "b", "bad"]
    assert how(site, run) == ["succeeded", "succeeded", "failed", *["item_failed"] * 3]
    assert charged(bank, "then") == ["a", "b"], "what comes after them skips them, as it does the one that failed"
    assert (site.state(run).step("count").output, bank.charges["count"]) == (2, 1)
    assert charged(bank, "refund") == []
    assert site.state(run).reason == "1 of 6 items of step charge failed, and 3 did not begin after that"
    assert [event.index for event in of_type(site, run, EventType.STEP_STARTED)] == [0, 1, 2]
    assert [letter.index for letter in DeadLetters(site.services.database).waiting(Filter(run=run), limit=9)] == [2]


@both_lanes
@every_pack
@pytest.mark.usefixtures("one_at_a_time")
def test_what_undoes_all_undoes_what_was_done_of_the_list_and_before_it(
    site: Site, bank: BankServer, pack: str, skill: str
) -> None:
    run = opened(site, bank, "a", "b", "bad", "c", "d", "e", pack=pack, skill=skill, failures="undo")
    assert ended(site, run) == "compensated"
    assert charged(bank) == ["a", "b", "bad"]
    assert site.state(run).step("then").whole.reason == "upstream_failed"
    assert charged(bank, "then") == []
    assert bank.charges["count"] == 0
    refunded = charged(bank, "refund")
    assert sorted(refunded) == ["a", "b", "bad", "once"], "whether anything came of the failed one, nobody knows"
    assert refunded[-1] == "once"
    assert "1 of 6 items of step charge failed" in (site.state(run).reason or "")


@pytest.mark.parametrize("failures", ["continue", ""])
@every_pack
def test_without_a_word_or_with_continue_the_others_go_on(
    site: Site, bank: BankServer, pack: str, failures: str
) -> None:
    run = opened(site, bank, "a", "bad", "b", "c", failures=failures, pack=pack)
    assert ended(site, run) == "failed"
    assert sorted(charged(bank)) == ["a", "b", "bad", "c"]
    assert how(site, run) == ["succeeded", "failed", "succeeded", "succeeded"]
    assert charged(bank, "refund") == []


def test_a_definition_that_says_the_default_is_the_same_as_one_that_does_not(site: Site) -> None:
    said, silent, stop = (site.definition(written(word)) for word in ("continue", "", "stop"))
    assert said.hash == silent.hash != stop.hash
    assert "failures" not in silent.canonical_json()


@every_pack
def test_where_the_first_or_every_item_fails_what_was_done_before_stands_or_is_undone_as_is_said(
    site: Site, bank: BankServer, pack: str
) -> None:
    for failures, wanted in (("stop", "failed"), ("undo", "compensated"), ("continue", "compensated")):
        run = opened(site, bank, "bad", "bad2", failures=failures, pack=pack)
        assert ended(site, run) == wanted
        assert charged(bank, "refund")[-1:] == ([] if failures == "stop" else ["once"])


def test_an_item_that_is_set_aside_has_not_failed(site: Site, bank: BankServer) -> None:
    for failures in ("stop", "undo"):
        run = opened(site, bank, "odd", "a", failures=failures)
        assert ended(site, run) == "succeeded"
        assert charged(bank) == ["odd", "a"]


def test_one_that_is_under_way_finishes_with_all_its_attempts(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, "late", "bad", "a", more="retry: {times: 3, delay: 0s}")
    tasks = site.tasks(run, "charge")
    bank.meanwhile = lambda: performed(site, run, [1])
    for task in tasks:
        site.step(run, "charge", task.slot)
    assert charged(bank) == ["late", "bad", "late"]
    assert how(site, run) == ["succeeded", "failed", "item_failed"]


def performed(site: Site, run: str, slots: list[int], step: str = "charge") -> None:
    """Perform task instances at once, each in a process of its own."""
    processes = [started(perform_in_process, *place(site), run, step, slot) for slot in slots]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


@pytest.mark.parametrize("failures", ["stop", "undo"])
@both_lanes
def test_of_several_processes_none_begins_an_item_once_the_failure_of_another_is_in_the_log(
    site: Site, bank: BankServer, skill: str, failures: str
) -> None:
    items = ["a", "b", "bad", "c", "d", "e", "f", "g"]
    run = opened(site, bank, *items, failures=failures, skill=skill, pack="pack: 2")
    site.expand(run, "charge")
    performed(site, run, [0, 1, 2, 3])
    performed(site, run, [0, 1, 2, 3])
    ran = charged(bank)
    assert len(ran) == len(set(ran))
    (failed,) = of_type(site, run, EventType.STEP_FAILED)
    begun = {event.index: event.version for event in of_type(site, run, EventType.STEP_STARTED)}
    for index, outcome in enumerate(how(site, run)):
        assert (items[index] in ran) == (outcome != "item_failed")
        assert (outcome != "item_failed") == (index in begun and begun[index] < failed.version), index


@pytest.mark.parametrize("failures", ["stop", "undo"])
def test_an_item_that_begins_as_another_one_fails_does_nothing(
    site: Site, bank: BankServer, failures: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(site, bank, "a", "bad", failures=failures)
    site.expand(run, "charge")
    begins = performing.begin_work_item

    async def fails_before(services: Any, work_item: WorkItem) -> WorkItem:
        monkeypatch.setattr(performing, "begin_work_item", begins)
        await asyncio.to_thread(performed, site, run, [1])
        return await begins(services, work_item)

    monkeypatch.setattr(performing, "begin_work_item", fails_before)
    site.step(run, "charge", 0)
    assert charged(bank) == ["bad"]
    assert how(site, run) == ["item_failed", "failed"]
    assert [event.index for event in of_type(site, run, EventType.STEP_STARTED)] == [1, 0]


@every_pack
@pytest.mark.usefixtures("one_at_a_time")
def test_a_redrive_does_the_failed_item_and_what_did_not_begin_because_of_it(
    site: Site, bank: BankServer, pack: str
) -> None:
    run = opened(site, bank, "a", "bad", "b", "c", pack=pack)
    ended(site, run)
    assert (charged(bank), charged(bank, "then")) == (["a", "bad"], ["a"])
    assert redriven(site, run, 1) == "succeeded"
    assert (charged(bank), charged(bank, "then")) == (["bad", "b", "c"], ["bad", "b", "c"])
    assert (site.state(run).step("count").output, bank.charges["count"]) == (4, 2)


@every_pack
@pytest.mark.usefixtures("one_at_a_time")
def test_an_item_that_fails_again_in_a_redrive_stops_the_others_again(site: Site, bank: BankServer, pack: str) -> None:
    run = opened(site, bank, "a", "bad", "b", "c", pack=pack)
    ended(site, run)
    plan = plan_redrive(site.services.log, site.services.definitions, run, {"charge": [1]}, by="ann")
    order(site.services.log, plan)
    assert ended(site, run, epoch=site.do(begun_again(site, run))) == "failed"
    assert charged(bank) == ["a", "bad", "bad"]
    assert how(site, run) == ["succeeded", "failed", "item_failed", "item_failed"]
    assert redriven(site, run, 1) == "succeeded"
    assert charged(bank) == ["bad", "b", "c"]


def test_where_several_failed_one_that_is_redriven_brings_what_did_not_begin_and_the_other_stays(
    site: Site, bank: BankServer
) -> None:
    run = opened(site, bank, "late", "bad", "bad2", "a", more="retry: {times: 3, delay: 0s}")
    tasks = site.tasks(run, "charge")
    bank.meanwhile = lambda: performed(site, run, [1])
    site.do(begin(site.services, WorkRef(run=run, step="charge", slot=2)))
    for task in tasks:
        site.step(run, "charge", task.slot)
    assert how(site, run) == ["succeeded", "failed", "failed", "item_failed"]
    assert ended(site, run) == "failed"
    charged(bank)
    assert redriven(site, run, 1) == "failed", "nobody has decided about the other one"
    assert charged(bank) == ["bad", "a"]
    assert how(site, run) == ["succeeded", "succeeded", "failed", "succeeded"]
    order(site.services.log, plan_discard(site.services.log, run, {"charge": [2]}, by="ann", reason="no"))


@pytest.mark.usefixtures("one_at_a_time")
def test_an_item_that_was_set_aside_is_redriven_alone(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, "odd", "bad", "a", pack="pack: all")
    ended(site, run)
    charged(bank)
    assert redriven(site, run, 0) == "failed"
    assert charged(bank) == ["odd"]
    assert how(site, run) == ["succeeded", "failed", "item_failed"]


@every_pack
@pytest.mark.usefixtures("one_at_a_time")
def test_a_restart_does_all_of_it(site: Site, bank: BankServer, pack: str) -> None:
    run = opened(site, bank, "a", "bad", "b", pack=pack)
    ended(site, run)
    charged(bank)
    epoch = again(site, run, plan_restart(site.services.log, site.services.definitions, run, "charge", by="ann"))
    assert ended(site, run, epoch=epoch) == "succeeded"
    assert charged(bank) == ["a", "bad", "b"]


def test_what_did_not_begin_is_missing_also_where_the_failed_item_alone_was_cleared_by_hand(
    site: Site, bank: BankServer
) -> None:
    run = opened(site, bank, "a", "bad", "b")
    ended(site, run)
    (site.include / "mended").touch()
    epoch = site.do(begun_again(site, run))
    site.step(run, "charge", 1, epoch=epoch)
    site.unwind(run, epoch=epoch)
    site.close(run, epoch=epoch)
    assert how(site, run) == ["succeeded", "succeeded", "item_failed"]
    assert site.state(run).status == "failed"
    assert "1 of 3 items of step charge did not begin when another one failed" in (site.state(run).reason or "")


@pytest.mark.parametrize("failures", ["stop", "undo"])
def test_a_machine_that_dies_after_the_failure_finishes_what_it_had_begun_and_begins_nothing(
    site: Site, bank: BankServer, failures: str
) -> None:
    run = opened(site, bank, "a", "bad", "b", "c", failures=failures)
    site.expand(run, "charge")
    site.do(begin(site.services, WorkRef(run=run, step="charge", slot=0)))  # It dies in the middle of it.
    site.step(run, "charge", 1)
    assert charged(bank) == ["bad"]
    performed(site, run, [0, 1, 2, 3])
    assert charged(bank) == ["a"]
    assert how(site, run) == ["succeeded", "failed", "item_failed", "item_failed"]
    assert ended(site, run) == ("failed" if failures == "stop" else "compensated")


@both_lanes
def test_an_item_that_waits_for_its_lock_has_not_begun(site: Site, bank: BankServer, skill: str) -> None:
    run = opened(site, bank, "bad", "bad2", "bad3", pack="pack: all", skill=skill, more="lock: till")
    assert ended(site, run) == "failed"
    assert len(charged(bank)) == 1
    assert sorted(how(site, run)) == ["failed", "item_failed", "item_failed"]


def test_each_item_of_a_long_list_looks_through_what_is_new(site: Site, bank: BankServer) -> None:
    items = [f"i{number}" for number in range(40)]
    run = opened(site, bank, *items)
    asked: list[int] = []
    read = site.services.log.aread

    def counted(stream: str, **how: Any) -> Any:
        if how.get("types") == [EventType.STEP_FAILED]:
            asked.append(site.services.log.version(run) - how["after_version"])
        return read(stream, **how)

    object.__setattr__(site.services.log, "aread", counted)
    site.all_of(run, "charge")
    assert len(asked) == 2 * len(items)
    assert max(asked[4:]) < 10, "events between what was seen and the end"


ELSEWHERE = {
    "human": "human: {ask: 'Pay {{ item }}?', assignees: [lead]}",
    "operator": "operator: airflow.providers.standard.operators.bash.BashOperator, with: {bash_command: 'x'}",
    "run": "run: other",
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_so_it_is_of_work_that_is_done_elsewhere(site: Site, kind: str) -> None:
    site.definition("automation: other\nsteps: [{id: only, branch: [{to: []}]}]\n")
    text = f"automation: tested\nsteps:\n  - {{id: charge, each: [a, b, c], failures: stop, {ELSEWHERE[kind]}}}\n"
    (site.include / "automations" / "parent.yaml").write_text(text)
    catalogue = load_folder(site.include)
    assert not catalogue.problems
    run = site.open(catalogue.definitions["tested"])
    under_way, bad, left = site.tasks(run, "charge")
    assert isinstance(site.do(begin(site.services, under_way)), WorkItem)
    work_item = site.do(begin(site.services, bad))
    site.do(end(site.services, bad, [work_item.failed(PermanentError("no"))]))
    assert site.do(begin(site.services, left)).reason == "item_failed"
    assert isinstance(site.do(begin(site.services, replace(under_way, attempt=2))), WorkItem), "it goes on"


@both_lanes
def test_so_it_is_of_agents_and_of_notices(site: Site, bank: BankServer, skill: str) -> None:
    site.agents(f"department: shop\nagents:\n  - {{id: clerk, role: You charge., tiers: [small], offline: {skill}}}\n")
    lane = "worker" if skill == "shop.charge" else "async"
    run = site.open(
        site.definition(
            "automation: tested\ninputs: {url: {type: string}}\nsteps:\n"
            f"  - {{id: charge, each: [a, bad, b], failures: stop, lane: {lane}, agent: clerk, ask: Charge., "
            'with: {url: "{{ inputs.url }}", item: "{{ item }}"}}\n'
            f"  - {{id: tell, after: [], each: [1, 0, 2], failures: undo, lane: {lane}, "
            'notify: [{slack: "#a", text: "{{ 1 / item }}"}]}\n'
        ),
        url=bank.url,
    )
    assert ended(site, run, "charge", "tell") == "failed", "a notice that fails undoes nothing"
    assert charged(bank) == ["a", "bad"]
    assert how(site, run) == how(site, run, "tell") == ["succeeded", "failed", "item_failed"]
    assert [entry.target for entry in site.services.notices.outbox.entries()] == ["#a"]
