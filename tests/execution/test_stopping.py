"""A run that was cancelled, or is being undone, begins nothing more; a server outside counts what was done."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import pytest

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.execution import concurrency
from muster.execution.references import WorkRef
from muster.operations.cancelling import request_cancel
from muster.saga import unwinding
from support.bank import BankServer
from support.runs import Site, perform_in_process
from support.sources import source_of

SKILLS = source_of(__file__, "stopping")
pytestmark = pytest.mark.skills(shop=SKILLS)
INPUTS = "automation: tested\ninputs: {url: {type: string}, items: {type: array, items: {type: string}}}\nsteps:\n"
FAN_OUT = """  - id: charge
    each: "{{ inputs.items }}"
    %s
    skill: %s
    with: {url: "{{ inputs.url }}", item: "{{ item }}"}
"""


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In packs: what has begun already is nothing that could be left out."""
    monkeypatch.setattr(concurrency, "ASYNC_AT_ONCE", 1)
    monkeypatch.setattr(concurrency, "THREADS_AT_ONCE", 1)


def cancelling(site: Site, run: str) -> Callable[[], object]:
    """A person cancels it, elsewhere."""

    def cancel() -> None:
        elsewhere = Database(site.services.database.dsn)
        request_cancel(EventLog(elsewhere), run, by="ann")
        elsewhere.close()

    return cancel


def undoing(site: Site, run: str) -> Callable[[], object]:
    """Airflow takes the task for dead, and another process begins to undo the run."""

    def begin() -> None:
        elsewhere = Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)
        task_states = {"charge": "failed"}
        ref = WorkRef(run=run, step="begin")
        assert elsewhere.do(unwinding.begin(elsewhere.services, ref, task_states)).status != "failed"

    return begin


STOPPED = {"cancelled": cancelling, "unwinding": undoing}


@pytest.mark.parametrize("reason", STOPPED)
@pytest.mark.parametrize("skill", ["shop.charge", "shop.acharge"])
@pytest.mark.parametrize("pack", ["pack: 1", "pack: 2", "pack: all"])
def test_nothing_begins_after_the_item_at_which_a_run_was_stopped(
    site: Site, bank: BankServer, pack: str, skill: str, reason: str
) -> None:
    definition = site.definition(INPUTS + FAN_OUT % (pack, skill))
    run = site.open(definition, url=bank.url, items=list("abcdef"))
    bank.meanwhile = STOPPED[reason](site, run)
    slots = [None] if pack == "pack: all" else list(range(site.expand(run, "charge")))
    for slot in slots:
        site.step(run, "charge", slot)
    assert bank.charges == {"a": 1}
    items = site.state(run).step("charge").items
    assert [items[index].status for index in range(6)] == ["succeeded"] + ["skipped"] * 5
    assert {items[index].reason for index in range(1, 6)} == {reason}
    started = [event for event in site.services.log.read(run) if event.type == "step.started"]
    assert [event.data["index"] for event in started] == [0]


def test_processes_that_come_after_the_cancelling_begin_nothing(site: Site, bank: BankServer) -> None:
    definition = site.definition(INPUTS + FAN_OUT % ("pack: 1", "shop.charge"))
    run = site.open(definition, url=bank.url, items=["a", "b", "c", "d"])
    bank.meanwhile = cancelling(site, run)
    site.expand(run, "charge")
    context = multiprocessing.get_context("spawn")
    own = (site.include, site.services.database.dsn, site.services.artifacts, run, "charge")
    for slots in ([0], [1, 2, 3, 0]):
        processes = [context.Process(target=perform_in_process, args=(*own, slot)) for slot in slots]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
    assert bank.charges == {"a": 1}


@pytest.mark.parametrize("reason", STOPPED)
@pytest.mark.parametrize(
    "how",
    [
        "skill: shop.fail, retry: {times: 3, delay: 0s}",
        "skill: shop.fail, retry: {times: 3, delay: 0s}, lock: [ledger]",
        "skill: shop.fail, retry: {times: 0, on: {transient: {times: 3, delay: 0s}}}",
        "skill: shop.refuse, fallback: {skill: shop.fail, with: {url: '{{ inputs.url }}'}}",
    ],
)
def test_no_attempt_and_no_fallback_begins_once_a_run_was_stopped(
    site: Site, bank: BankServer, how: str, reason: str
) -> None:
    definition = site.definition(INPUTS + f"  - {{id: charge, {how}, with: {{url: '{{{{ inputs.url }}}}'}}}}\n")
    run = site.open(definition, url=bank.url, items=[])
    bank.meanwhile = STOPPED[reason](site, run)
    assert site.step(run, "charge").reason == reason
    assert bank.charges == {"x": 1}
    assert site.state(run).step("charge").status == "skipped"


def test_what_a_cancelled_run_left_out_of_a_list_is_not_forgotten_when_it_goes_on_later(
    site: Site, bank: BankServer
) -> None:
    definition = site.definition(INPUTS + FAN_OUT % ("pack: all", "shop.charge"))
    run = site.open(definition, url=bank.url, items=["a", "b"])
    bank.meanwhile = cancelling(site, run)
    site.step(run, "charge")
    assert site.state(run).step("charge").status == "succeeded", "an item of it came through"
    assert site.close(run).reason == "cancelled by ann"
    site.services.log.append(run, [NewEvent(type=EventType.RUN_RESTARTED, data={"from": "later"})])
    assert "was left out when the run was cancelled" in (site.close(run, epoch=1).reason or "")


@pytest.mark.parametrize("budget", ["", "budget: {retries: 5}\n"], ids=["no budget", "budget"])
@pytest.mark.parametrize("skill", ["shop.late", "shop.alate"])
@pytest.mark.parametrize("pack", ["single", "pack: 1", "pack: 2", "pack: all"])
def test_an_attempt_that_fails_after_its_run_has_ended_is_followed_by_none_and_nothing_is_at_work(
    site: Site, bank: BankServer, pack: str, skill: str, budget: str
) -> None:
    """Its task was taken for dead; its process was alive after all."""
    step = FAN_OUT % ("" if pack == "single" else pack, skill) + "    retry: {times: 3, delay: 0s}\n"
    if pack == "single":
        step = step.replace('    each: "{{ inputs.items }}"\n', "").replace("{{ item }}", "x")
    definition = site.definition(INPUTS.replace("steps:\n", budget + "steps:\n") + step)
    run = site.open(definition, url=bank.url, items=["a", "b"])
    slots = range(site.expand(run, "charge")) if pack in ("pack: 1", "pack: 2") else [None]

    def close() -> None:
        elsewhere = Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)
        elsewhere.close(run, {"charge": "failed"})

    bank.meanwhile = close
    site.step(run, "charge", next(iter(slots)))
    assert bank.charges == {"x": 1}
    events = list(site.services.log.read(run))
    assert EventType.STEP_RETRIED not in {event.type for event in events}
    assert (site.state(run).status, site.state(run).step("charge").status) == ("failed", "stopped")
    assert not {row.status for row in site.services.queries.steps(run)} & {"running", "retrying", "waiting"}
