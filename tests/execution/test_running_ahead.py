"""What follows a step in the triggerer begins before Airflow comes to it: what does, what must not, and once."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from muster.database import Database
from muster.events.model import Event, EventType
from muster.events.payloads.work import StepStarted
from muster.events.personal import Vault
from muster.execution import ahead, attempts, overtaken
from muster.execution.actions import act, fall_back
from muster.execution.ahead import RunningAhead
from muster.execution.outcome import Outcome
from muster.execution.performing import begin, perform
from muster.execution.references import WorkRef
from muster.execution.run_executions import begin_epoch, instant
from muster.execution.work_item import WorkItem
from muster.operations.cancelling import request_cancel
from muster.operations.forgetting import forget
from muster.operations.redoing import order, plan_restart
from muster.recovery import heartbeats
from support.bank import BankServer
from support.postgres_proxy import postgres_proxy
from support.runs import MASTER, Site
from support.sources import source_of
from support.waiting import eventually

pytestmark = pytest.mark.skills(chain=source_of(__file__, "running_ahead"))

HEAD = "automation: tested\ninputs: {url: {type: string}}\nsteps:\n"
PERSONAL = HEAD.replace("steps:", "personal: {subject: '{{ inputs.who }}'}\nsteps:").replace(
    "}}\n", "}, who: {type: string}}\n", 1
)
PATIENCE = overtaken.LONGEST_WAIT_AHEAD
LONG = 3.0
"""Seconds: longer than whoever comes to work that was begun ahead waits for a sign of life."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "AHEAD_BEAT", 0.2)
    monkeypatch.setattr(overtaken, "LONGEST_WAIT_AHEAD", 1.0)
    monkeypatch.setattr(overtaken, "LOOK", 0.05)


class Triggerer:
    """One triggerer, to which Airflow gives tasks."""

    def __init__(self, site: Site) -> None:
        self.services = site.services
        self.ahead = RunningAhead(perform, self.task_states)
        self.marked: dict[str, str | None] = {}
        """Airflow's states of tasks that it has not come to, where somebody has marked them."""

    async def task_states(self, run: str, steps: Collection[str]) -> Mapping[str, str | None]:
        states = {step: self.marked.get(step) for step in steps}
        return {step: state for step, state in states.items() if state != "gone"}

    async def comes_to(self, ref: WorkRef) -> Outcome:
        await self.ahead.join(self.services, ref)
        outcome = await perform(self.services, ref)
        self.ahead.go_on(self.services, ref, outcome)
        return outcome

    async def comes_to_rest(self) -> None:
        while self.ahead._tasks or self.ahead._looks:
            await asyncio.sleep(0.01)


def step(id: str, skill: str = "mark", more: str = "", given: str = "") -> str:
    return f'  - {{id: {id}, skill: chain.{skill}, with: {{url: "{{{{ inputs.url }}}}", name: {id}{given}}}{more}}}\n'


def opened(site: Site, bank: BankServer, *steps: str) -> str:
    return site.open(site.definition(HEAD + "".join(steps)), url=bank.url)


def given(site: Site, run: str, *steps: str, **more: object) -> list[Outcome]:
    """How these tasks end, which Airflow gives to one triggerer, each when that is at rest."""
    triggerer = Triggerer(site)

    async def all_of_them() -> list[Outcome]:
        found = []
        for name in steps:
            found.append(await triggerer.comes_to(WorkRef(run=run, step=name, **more)))  # type: ignore[arg-type]
            await triggerer.comes_to_rest()
        return found

    found: list[Outcome] = site.do(all_of_them())
    return found


def beginnings(site: Site, run: str) -> list[tuple[str | None, bool]]:
    """The steps that began, in order, and whether that was ahead of Airflow."""
    return [(event.step, StepStarted.of(event).ahead) for event in started(site, run)]


def started(site: Site, run: str) -> Iterable[Event]:
    return site.services.log.read(run, types=[EventType.STEP_STARTED])


def test_a_chain_is_performed_when_its_first_task_has_come_and_the_other_tasks_find_it_done(
    site: Site, bank: BankServer
) -> None:
    run = opened(site, bank, step("a"), step("b"), step("c"))
    (first,) = given(site, run, "a")
    assert (first.output, bank.order) == ("a", ["a", "b", "c"])
    assert beginnings(site, run) == [("a", False), ("b", True), ("c", True)]
    assert [each.output for each in given(site, run, "b", "c")] == ["b", "c"]
    assert bank.order == ["a", "b", "c"]
    site.close(run)
    assert site.state(run).status == "succeeded"


EACH = ', each: "{{ [1, 2] }}"'
NOT_AHEAD = {
    "it has a worker": step("b", "held"),
    "it asks people": "  - {id: b, human: {ask: Well?, assignees: [lead]}}\n",
    "it is an operator": "  - {id: b, operator: airflow.providers.standard.operators.empty.EmptyOperator}\n",
    "it has a task for each item": step("b", more=EACH),
    "it is in a pool": step("b", more=", pool: narrow"),
    "something else before it has not ended": step("other", "held", ", after: []")
    + step("b", more=", after: [a, other]"),
}


@pytest.mark.parametrize("why", NOT_AHEAD)
def test_what_only_airflow_may_begin_is_left_to_it(site: Site, bank: BankServer, why: str) -> None:
    run = opened(site, bank, step("a"), NOT_AHEAD[why], step("c"))
    given(site, run, "a")
    assert bank.order == ["a"]
    assert beginnings(site, run) == [("a", False)]


def test_nothing_follows_a_failure_and_the_task_of_what_failed_ahead_fails(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b", "fail"), step("c"))
    given(site, run, "a")
    assert bank.order == ["a", "b"]
    (failed,) = given(site, run, "b")
    assert (failed.status, failed.reason) == ("failed", "It is broken.")
    assert bank.order == ["a", "b"]
    assert site.state(run).step("c").status == "pending", "Airflow does not begin its task either"


def test_what_is_left_out_ahead_is_left_out_and_what_comes_after_it_goes_on(site: Site, bank: BankServer) -> None:
    ways = "  - {id: way, after: [a], branch: [{to: [left]}]}\n"
    sides = step("left", more=", after: [way]") + step("right", more=", after: [way]")
    run = opened(
        site, bank, step("a"), ways, sides, step("both", more=", after: [left, right]"), step("c", more=", when: false")
    )
    given(site, run, "a")
    assert bank.order == ["a", "left", "both"]
    state = site.state(run)
    assert {name: state.step(name).whole.reason for name in ("right", "c")} == {"right": "not_taken", "c": "when"}
    assert [each.status for each in given(site, run, "right", "c")] == ["skipped", "skipped"]


def test_what_two_steps_lead_to_begins_once_when_the_later_one_has_ended(site: Site, bank: BankServer) -> None:
    sides = [step(name, more=", after: [a]") for name in ("b", "c", "d")]
    run = opened(site, bank, step("a"), *sides, step("e", more=", after: [b, c, d]"))
    given(site, run, "a")
    assert sorted(bank.order[1:4]) == ["b", "c", "d"]
    assert bank.order[4:] == ["e"]
    assert [name for name, _ in beginnings(site, run)].count("e") == 1


def test_a_pack_is_performed_ahead_and_what_comes_after_it(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b", more=EACH + ", pack: all"), step("c"))
    given(site, run, "a")
    assert bank.order == ["a", "b", "b", "c"]
    assert [each.status for each in given(site, run, "b", "c")] == ["succeeded", "succeeded"]
    assert bank.order == ["a", "b", "b", "c"]


def test_a_run_that_airflow_does_not_follow_goes_no_further(
    site: Site, bank: BankServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "LEAD", 0.5)
    run = opened(site, bank, step("a"), step("b", given=", seconds: 1"), step("c"))
    given(site, run, "a")
    assert bank.order == ["a", "b"]
    given(site, run, "b")
    assert bank.order == ["a", "b", "c"], "Airflow has come to it again"


@pytest.mark.parametrize("unwinds", [False, True])
def test_nothing_begins_ahead_in_a_run_that_was_stopped(site: Site, bank: BankServer, unwinds: bool) -> None:
    run = opened(site, bank, step("a"), step("b"), step("c"))

    def stop() -> None:
        elsewhere = Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)
        request_cancel(elsewhere.services.log, run, by="ann")
        if unwinds:
            elsewhere.unwind(run)

    bank.meanwhile = stop
    given(site, run, "a")
    assert bank.order == ["a"]
    assert beginnings(site, run) == [("a", False)]


def again(site: Site, run: str) -> int:
    at = instant(datetime.now(UTC))
    epoch: int = site.do(begin_epoch(site.services, run, f"begun/{at}", at)).number
    return epoch


def test_a_restart_goes_ahead_with_what_it_does_again_and_leaves_the_rest(site: Site, bank: BankServer) -> None:
    sides = step("b"), step("kept", more=", after: [a]")
    run = opened(site, bank, step("a"), *sides, step("c", more=", after: [b]"), step("d"))
    given(site, run, "a")
    site.close(run)
    order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, "b", by="ann"))
    epoch = again(site, run)
    bank.order.clear()
    given(site, run, "a", epoch=epoch, is_preserved=True)
    assert bank.order == ["b", "c", "d"]
    assert [each.output for each in given(site, run, "b", "c", "d", epoch=epoch)] == ["b", "c", "d"]
    assert bank.order == ["b", "c", "d"]


def test_where_tasks_were_cleared_by_hand_airflow_alone_knows_what_is_done_again(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b"))
    given(site, run, "a")
    site.close(run)
    epoch = again(site, run)
    given(site, run, "a", epoch=epoch)
    assert bank.order == ["a", "b", "a"]


def ahead_elsewhere(site: Site, run: str, dsn: str | None = None) -> BaseProcess:
    """Another triggerer, which Airflow has given the first task."""

    def perform_all() -> None:
        given(Site.of(site.include, Database(dsn or site.services.database.dsn), site.services.artifacts), run, "a")

    process = multiprocessing.get_context("fork").Process(target=perform_all)
    process.start()
    return process


def test_what_another_triggerer_has_begun_ahead_is_left_to_it_while_it_lives(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b", given=f", seconds: {LONG}"), step("c"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b"] == 1)
    assert [each.output for each in given(site, run, "b")] == ["b"]
    other.join(60)
    assert other.exitcode == 0
    assert (bank.charges["a"], bank.charges["b"], bank.charges["c"]) == (1, 1, 1)
    assert [name for name, _ in beginnings(site, run)].count("b") == 1


def test_whoever_waits_for_a_pack_that_is_under_way_ahead_looks_for_all_its_items_at_once(
    site: Site, bank: BankServer
) -> None:
    items = 40
    pack = f', each: "{{{{ range({items}) }}}}", pack: all'
    run = opened(site, bank, step("a"), step("b", given=f", seconds: {LONG}", more=pack), step("c"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b"] == items)
    asked: list[int] = []
    look = site.services.log.aunder_keys

    def counted(stream: str, wanted: Collection[str]) -> Any:
        if any(ended.startswith("b[") and "/ended@" in ended for ended in wanted):
            asked.append(len(wanted))
        return look(stream, wanted)

    object.__setattr__(site.services.log, "aunder_keys", counted)
    assert [each.status for each in given(site, run, "b")] == ["succeeded"]
    other.join(60)
    assert bank.charges["b"] == items
    assert sum(asked) > 10 * items, "they looked again and again"
    assert sum(asked) / len(asked) > items / 4, "each look is about most of them"


def test_signs_of_life_count_also_where_a_skill_blocks_the_event_loop_of_whoever_waits_for_them(
    site: Site, bank: BankServer
) -> None:
    run = opened(site, bank, step("a"), step("b", given=f", seconds: {LONG}"), step("c"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b"] == 1)

    async def blocked() -> Outcome:
        triggerer = Triggerer(site)
        task = asyncio.create_task(triggerer.comes_to(WorkRef(run=run, step="b")))
        await asyncio.sleep(overtaken.LONGEST_WAIT_AHEAD / 2)
        time.sleep(1.5 * overtaken.LONGEST_WAIT_AHEAD)
        outcome = await task
        await triggerer.comes_to_rest()
        return outcome

    outcome = site.do(blocked())
    other.join(60)
    assert outcome.output == "b"
    assert bank.charges["b"] == 1
    assert [name for name, _ in beginnings(site, run)].count("b") == 1


def test_whoever_has_lost_one_heartbeat_is_not_taken_for_dead(
    site: Site, bank: BankServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, seconds in (
        (attempts, "AHEAD_BEAT", overtaken.AHEAD_BEAT),
        (heartbeats, "LIMIT", heartbeats.LIMIT),
        (overtaken, "LONGEST_WAIT_AHEAD", PATIENCE),
    ):
        monkeypatch.setattr(module, name, seconds / 10)
    run = opened(site, bank, step("a"), step("b", given=", seconds: 5"))
    with postgres_proxy(site.services.database.dsn) as proxy:
        proxy.swallow(b"SET beaten_at")
        other = ahead_elsewhere(site, run, proxy.dsn)
        assert eventually(lambda: bank.charges["b"] == 1)
        given(site, run, "b")
        other.join(60)
    assert proxy.swallowed == 1
    assert bank.charges["b"] == 1


def test_what_has_begun_ahead_counts_also_in_a_run_that_was_cancelled_since(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b", given=f", seconds: {LONG}"), step("c"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b"] == 1)
    request_cancel(site.services.log, run, by="ann")
    assert [each.output for each in given(site, run, "b")] == ["b"]
    other.join(60)
    assert bank.order == ["a", "b"]


@pytest.mark.parametrize("skill", ["mark", "once"])
def test_what_a_triggerer_that_died_had_begun_ahead_is_done_by_the_task(
    site: Site, bank: BankServer, skill: str
) -> None:
    run = opened(site, bank, step("a"), step("b", skill, given=f", seconds: {LONG}"), step("c"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b"] == 1)
    other.kill()
    other.join(60)
    assert [each.output for each in given(site, run, "b", "c")] == ["b", "c"]
    assert bank.charges["b"] == (1 if skill == "once" else 2), "as after any death: the ledger keeps it to one"
    assert bank.charges["c"] == 1
    # Whether Airflow comes to `c` first is a matter of speed.
    assert beginnings(site, run)[:3] == [("a", False), ("b", True), ("b", False)]
    assert [name for name, _ in beginnings(site, run)[3:]] == ["c"]


def test_what_airflow_has_begun_is_never_begun_ahead(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b", given=", seconds: 1"), step("c"))
    site.step(run, "a")

    async def both() -> None:
        task = asyncio.create_task(perform(site.services, WorkRef(run=run, step="b")))
        while not bank.charges["b"]:
            await asyncio.sleep(0.01)
        with pytest.raises(overtaken.BegunBefore):
            await perform(site.services, WorkRef(run=run, step="b", ahead=True))
        assert (await task).output == "b"

    site.do(both())
    assert bank.charges["b"] == 1


def test_whoever_cancels_the_task_cancels_what_was_begun_ahead_of_it(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b", given=", seconds: 60"), step("c"))

    async def marked_as_failed() -> float:
        triggerer = Triggerer(site)
        await triggerer.comes_to(WorkRef(run=run, step="a"))
        while not bank.charges["b"]:
            await asyncio.sleep(0.01)
        task = asyncio.create_task(triggerer.comes_to(WorkRef(run=run, step="b")))
        other = asyncio.create_task(triggerer.ahead.join(site.services, WorkRef(run=run, step="b")))
        await asyncio.sleep(0.1)
        task.cancel()
        begun = time.monotonic()
        await triggerer.comes_to_rest()
        assert await other, "who waits for it beside that is not cancelled with it"
        return time.monotonic() - begun

    assert site.do(marked_as_failed()) < 30
    assert site.state(run).step("b").status == "running"
    assert "c" not in bank.order


def test_what_was_taken_over_before_it_gave_a_sign_of_life_is_done_once(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b"), step("c"))
    site.step(run, "a")

    async def blocked() -> Event:
        # As where a skill blocks the event loop of the triggerer: `step.started` is written, and nothing goes on.
        begun = await begin(site.services, WorkRef(run=run, step="b", ahead=True))
        assert isinstance(begun, WorkItem)
        assert (await perform(site.services, WorkRef(run=run, step="b"))).output == "b"
        return await attempts.finish(site.services, begun, act, fall_back)

    assert site.do(blocked()).type == EventType.STEP_SUCCEEDED
    assert bank.charges["b"] == 1
    assert beginnings(site, run) == [("a", False), ("b", True), ("b", False)]


UNDO = ', compensate: {skill: chain.undo, with: {url: "{{ inputs.url }}", name: b}}'
MARKED = {"a": "success", "b": "failed", "c": "upstream_failed"}


@pytest.mark.parametrize("undo", [UNDO, ""])
def test_a_run_is_undone_and_closed_when_what_was_begun_ahead_of_a_marked_task_has_ended(
    site: Site, bank: BankServer, monkeypatch: pytest.MonkeyPatch, undo: str
) -> None:
    monkeypatch.setattr(ahead, "LEAD", LONG / 2)
    run = opened(site, bank, step("a"), step("b", "late", undo, f", seconds: {LONG}"), step("c"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b_begun"] == 1)
    if undo:
        site.unwind(run, MARKED)
    site.close(run, MARKED)
    other.join(60)
    assert bank.order == ["a", "b_begun", "b", *(["b_undone"] if undo else [])]
    assert site.state(run).status == ("compensated" if undo else "failed")
    assert EventType.STEP_STOPPED not in {event.type for event in site.services.log.read(run)}


def test_who_undoes_a_run_does_not_wait_for_a_triggerer_that_died(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b", "late", UNDO, f", seconds: {LONG}"), step("c"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b_begun"] == 1)
    other.kill()
    other.join(60)
    site.unwind(run, MARKED)
    site.close(run, MARKED)
    assert bank.order == ["a", "b_begun", "b_undone"]
    assert site.state(run).status == "compensated"


def test_who_undoes_a_run_waits_for_all_items_of_a_pack_at_once_whose_triggerer_died(
    site: Site, bank: BankServer
) -> None:
    items = 12
    pack = f', each: "{{{{ range({items}) }}}}", pack: all'
    run = opened(site, bank, step("a"), step("b", "late", UNDO + pack, f", seconds: {LONG}"), step("c"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b_begun"] == items)
    other.kill()
    other.join(60)
    asked: list[int] = []
    look = site.services.log.aunder_keys

    def counted(stream: str, wanted: Collection[str]) -> Any:
        if any(ended.startswith("b[") and "/ended@" in ended for ended in wanted):
            asked.append(len(wanted))
        return look(stream, wanted)

    object.__setattr__(site.services.log, "aunder_keys", counted)
    site.unwind(run, MARKED)
    assert max(asked) == items, "they are waited for at once: one after the other, 200 items would take 100 minutes"
    site.close(run, MARKED)
    assert site.state(run).status == "compensated"


def test_a_later_execution_does_a_step_when_nobody_is_at_it_ahead_any_more(site: Site, bank: BankServer) -> None:
    run = opened(site, bank, step("a"), step("b", "late", given=f", seconds: {LONG}"))
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b_begun"] == 1)
    given(site, run, "b", epoch=again(site, run))
    other.join(60)
    assert bank.order == ["a", "b_begun", "b", "b_begun", "b"]


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed", "gone"])
def test_what_somebody_has_marked_in_airflow_before_its_turn_is_left_alone(
    site: Site, bank: BankServer, state: str
) -> None:
    run = opened(site, bank, step("a"), step("b"), step("c", more=", after: [a]"))

    async def performed() -> None:
        triggerer = Triggerer(site)
        triggerer.marked |= {"b": state, "c": "scheduled"}
        await triggerer.comes_to(WorkRef(run=run, step="a"))
        await triggerer.comes_to_rest()

    site.do(performed())
    assert bank.order == ["a", "c"]


@pytest.mark.parametrize("why", ["failed", "gone", "cleared"])
def test_work_ahead_that_airflow_waits_for_no_more_is_cancelled(
    site: Site, bank: BankServer, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(ahead, "WATCH", 0.2)
    run = opened(site, bank, step("a"), step("b", "late", given=", seconds: 60"), step("c"))

    async def stopped() -> float:
        triggerer = Triggerer(site)
        await triggerer.comes_to(WorkRef(run=run, step="a"))
        while not bank.charges["b_begun"]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        assert triggerer.ahead._tasks, "as long as Airflow waits for it, it goes on"
        if why != "cleared":
            triggerer.marked["b"] = why
        else:
            at = instant(datetime.now(UTC))
            await begin_epoch(site.services, run, f"begun/{at}", at)
        begun = time.monotonic()
        await triggerer.comes_to_rest()
        return time.monotonic() - begun

    assert site.do(stopped()) < 30
    assert site.state(run).step("b").status == "running"
    assert bank.order == ["a", "b_begun"]


def test_what_was_begun_ahead_about_somebody_who_is_forgotten_is_not_failed_beside_it(
    site: Site, bank: BankServer
) -> None:
    more = ", when: \"{{ inputs.who == 'ann' }}\""
    source = PERSONAL + step("a") + step("b", "late", more, f", seconds: {LONG}")
    run = site.open(site.definition(source), url=bank.url, who="ann")
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b_begun"] == 1)
    forget(site.services.database, Vault(lambda: MASTER), "ann", by="officer")
    (task,) = given(site, run, "b")
    other.join(60)
    assert bank.order == ["a", "b_begun", "b"]
    assert (task.status, site.state(run).step("b").status) == ("succeeded", "succeeded")


def test_nor_is_a_pack_that_was_begun_ahead(site: Site, bank: BankServer) -> None:
    head = PERSONAL.replace("who: {type: string}", "who: {type: string}, letters: {type: array}")
    more = ', each: "{{ inputs.letters }}", pack: all'
    run = site.open(
        site.definition(head + step("a") + step("b", "late", more, f", seconds: {LONG}")),
        url=bank.url,
        who="ann",
        letters=["x", "y"],
    )
    other = ahead_elsewhere(site, run)
    assert eventually(lambda: bank.charges["b_begun"] == 2)
    forget(site.services.database, Vault(lambda: MASTER), "ann", by="officer")
    (task,) = given(site, run, "b")
    other.join(60)
    assert bank.order == ["a", "b_begun", "b_begun", "b", "b"]
    assert (task.status, site.state(run).step("b").status) == ("succeeded", "succeeded")


def test_in_a_run_about_somebody_what_is_done_ahead_is_sealed(site: Site, bank: BankServer) -> None:
    source = PERSONAL + step("a") + step("b", more=", when: \"{{ steps.a == 'a' }}\"") + step("c")
    run = site.open(site.definition(source), url=bank.url, who="ann")
    given(site, run, "a")
    assert bank.order == ["a", "b", "c"]
    with site.services.database.connection() as connection:
        rows = connection.execute("SELECT data->'output' FROM events WHERE type = 'step.succeeded'").fetchall()
    assert [list(output) for (output,) in rows] == [["$personal", "sealed"]] * 3
