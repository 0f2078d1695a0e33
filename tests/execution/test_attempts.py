"""Of the attempts at one work item one at a time can do anything; a server and a table see what was done."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.events.work import OPEN
from muster.execution import locking, performing
from muster.execution.references import WorkRef
from muster.execution.run_executions import begin_epoch
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_restart
from muster.recovery import attempts
from muster.saga.closing import close_run
from muster.saga.resuming import resume
from support.bank import BankServer
from support.reconciled import FakeAirflow, found
from support.runs import Site, perform_in_process, place, started, undo_in_process
from support.sources import source_of
from support.waiting import eventually

SKILLS = source_of(__file__, "attempts")
HEAD = "automation: tested\ninputs: {url: {type: string}}\nsteps:\n"
WITH = "with: {url: '{{ inputs.url }}'}"
UNDO = f"compensate: {{skill: shop.undo, {WITH}}}"
SLOW_ENDINGS = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
CREATE TRIGGER slowly BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.type = 'step.succeeded') EXECUTE FUNCTION slowly();
"""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("shop", SKILLS)
    with database.connection() as connection:
        connection.execute("CREATE TABLE done (run text)")
    return made


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given up is not waited for long."""
    monkeypatch.setattr(attempts, "LINGER", 0.3)


def module() -> Any:
    return sys.modules["muster_site.shop"]


def done(site: Site) -> list[str]:
    with psycopg.connect(site.services.database.dsn) as connection:
        return [row[0] for row in connection.execute("SELECT run FROM done").fetchall()]


def begun(site: Site, bank: BankServer, step: str) -> str:
    return site.open(site.definition(HEAD + f"  - {{id: work, {step}}}\n"), url=bank.url)


LONG = "with: {url: '{{ inputs.url }}', seconds: 1.4}"


@pytest.mark.parametrize(
    "step", [f"skill: shop.slow, {WITH}", f"skill: shop.aslow, {WITH}", f"skill: shop.patient, timeout: 1s, {LONG}"]
)
def test_of_a_blocking_skill_that_takes_too_long_one_attempt_at_a_time_is_alive(
    site: Site, bank: BankServer, step: str
) -> None:
    run = begun(site, bank, f"{step}, retry: {{times: 3, delay: 0s}}")
    assert site.step(run, "work").status == "failed"
    assert eventually(lambda: bank.charges["out"] == 4)
    assert bank.order == ["in", "out"] * 4


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("skill", ["shop.hang", "shop.ahang"])
def test_nothing_begins_beside_a_thread_that_does_not_come_to_its_end(site: Site, bank: BankServer, skill: str) -> None:
    fallback = f"fallback: {{skill: shop.instead, {WITH}}}"
    run = begun(site, bank, f"skill: {skill}, retry: {{times: 3, delay: 0s}}, {fallback}, {UNDO}, {WITH}")
    outcome = site.step(run, "work")
    assert "still runs" in (outcome.reason or "")
    site.unwind(run)
    state = site.state(run)
    assert (state.status, state.stuck and state.stuck.error["class"]) == ("stuck", "StillRunning")
    assert bank.order == ["hang"]
    site.close(run)
    module().released.set()
    assert eventually(lambda: not any(thread.name == "muster-skill" for thread in threading.enumerate()))
    resume(site.services.log, run, by="ann")
    assert site.unwind(run, epoch=1) == "succeeded"
    assert site.close(run, epoch=1).reason is not None
    assert (site.state(run).status, bank.order) == ("compensated", ["hang", "undo"])


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("skill", ["shop.late", "shop.alate"])
def test_what_a_skill_does_after_its_run_was_compensated_is_refused(site: Site, bank: BankServer, skill: str) -> None:
    run = begun(site, bank, f"skill: {skill}, {UNDO}, {WITH}")
    assert site.step(run, "work").status == "failed"
    in_process(undo_in_process, *place(site), run)
    assert site.close(run).reason is not None
    assert site.state(run).status == "compensated"
    module().released.set()
    assert eventually(lambda: bank.charges["ended"] == 1)
    assert (bank.charges["undo"], bank.charges["effect"], done(site)) == (1, 0, [])
    assert module().refused == ["AttemptRevoked", "AttemptRevoked"]


@pytest.mark.parametrize("skill", ["shop.write", "shop.awrite"])
def test_of_two_processes_at_one_work_item_the_one_that_began_last_does_it(
    site: Site, bank: BankServer, skill: str
) -> None:
    run = begun(site, bank, f"skill: {skill}, {WITH}")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(perform_in_process, *place(site), run, "work", None)
    assert eventually(lambda: bank.charges["asked"] == 1)
    assert site.step(run, "work").output == 1
    is_done.set()
    first.join(60)
    assert (first.exitcode, done(site), bank.charges) == (0, [run], {"asked": 2, "effect": 1})
    assert site.state(run).step("work").output == 1


@pytest.mark.parametrize("lock", ["", "lock: [ledger], "])
@pytest.mark.parametrize("skill", ["shop.book", "shop.abook"])
def test_a_skill_with_savepoints_and_an_effect_does_not_wait_for_itself(
    site: Site, bank: BankServer, skill: str, lock: str
) -> None:
    run = begun(site, bank, f"skill: {skill}, {lock}{WITH}")
    assert site.step(run, "work").output == 1
    assert (done(site), bank.charges["effect"]) == ([run] * 3, 1)


def done_before(site: Site, bank: BankServer, run: str, epoch: int) -> list[str]:
    """What the work wrote in an execution before this one, where there was one."""
    if epoch:
        site.all_of(run, "work")
        site.close(run)
        order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, "work", by="ann"))
        site.do(begin_epoch(site.services, run, "begun/again", "again"))
        bank.charges.clear()
    return done(site)


@pytest.mark.parametrize("undo", ["", f", {UNDO}"])
@pytest.mark.parametrize("skill", ["shop.write", "shop.awrite", "shop.patient"])
@pytest.mark.parametrize("way", ["cancelled", "failed", "closed", "reconciled"])
@pytest.mark.parametrize("epoch", [0, 1])
def test_what_goes_on_after_its_run_was_closed_does_nothing(
    site: Site, bank: BankServer, skill: str, way: str, undo: str, epoch: int
) -> None:
    """Work in a process that was taken for dead, whether or not it can be undone, also when it is done again."""
    run = begun(site, bank, f"skill: {skill}, {WITH}{undo}")
    before = done_before(site, bank, run, epoch)
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(perform_in_process, *place(site), run, "work", None, epoch)
    assert eventually(lambda: sum(bank.charges.values()) == 1)
    if way == "cancelled":
        request_cancel(site.services.log, run, by="ann")
    if way in ("cancelled", "failed"):
        site.unwind(run, {"work": "failed"}, epoch=epoch)
    if way == "reconciled":
        assert [each.mended for each in found(site, FakeAirflow("success"))] == [True]
    else:
        site.close(run, {"work": "failed"}, epoch=epoch)
    events = [event.type for event in site.services.log.read(run)]
    is_done.set()
    first.join(60)
    assert first.exitcode is not None, "it does not wait for an ending that never comes"
    assert (bank.charges["effect"], done(site)) == (0, before)
    assert [event.type for event in site.services.log.read(run)] == events


EACH = 'each: "{{ [1, 2] }}", '
SHAPES = {
    "single": ("", None),
    "mapped": (EACH, 1),
    "packed": (EACH + "pack: 2, ", 0),
    "one pack": (EACH + "pack: all, ", None),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("skill", ["shop.patient", "shop.apatient"])
@pytest.mark.parametrize("undone", [True, False], ids=["undone", "closed"])
@pytest.mark.parametrize("epoch", [0, 1])
def test_what_ends_after_it_was_given_up_has_no_outcome_of_its_own(
    site: Site, bank: BankServer, skill: str, shape: str, undone: bool, epoch: int
) -> None:
    """Work that wrote nothing of its own, in a process that was taken for dead."""
    each, slot = SHAPES[shape]
    run = begun(site, bank, f"{each}skill: {skill}, {WITH}, {UNDO}")
    done_before(site, bank, run, epoch)
    if slot is not None:
        site.expand(run, "work", epoch=epoch)
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(perform_in_process, *place(site), run, "work", slot, epoch)
    items = 1 if shape in ("single", "mapped") else 2
    assert eventually(lambda: bank.charges["in"] == items)
    bank.meanwhile = lambda: None
    if undone:
        assert site.unwind(run, {"work": "failed"}, epoch=epoch) == "succeeded"
        assert bank.charges["undo"] == (2 if epoch and each else items)
    else:
        site.close(run, {"work": "failed"}, epoch=epoch)
    before = [event.type for event in site.services.log.read(run)]
    is_done.set()
    first.join(60)
    assert (first.exitcode, bank.charges["out"]) == (0, items)
    assert [event.type for event in site.services.log.read(run)] == before
    if undone:
        site.close(run, {"work": "failed"}, epoch=epoch)
        state = site.state(run)
        assert (state.status, state.step("work").work(None if not each else 1).status) == ("compensated", "undone")


@pytest.mark.parametrize("shape", ["single", "mapped", "packed"])
@pytest.mark.parametrize("skill", ["shop.patient", "shop.apatient"])
def test_who_waited_for_a_lock_while_another_process_ended_the_work_does_not_do_it_again(
    site: Site, bank: BankServer, skill: str, shape: str
) -> None:
    each, slot = SHAPES[shape]
    run = begun(site, bank, f"{each}skill: {skill}, lock: [till], {WITH}")
    if each:
        site.expand(run, "work")
    # Time in which the other one would have the lock, and would not find how the work ended.
    with site.services.database.connection() as connection:
        connection.execute(SLOW_ENDINGS)
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(perform_in_process, *place(site), run, "work", slot)
    assert eventually(lambda: bank.charges["in"] == 1)
    second = started(perform_in_process, *place(site), run, "work", slot)
    begins = 4 if shape == "packed" else 2
    assert eventually(
        lambda: sum(event.type == "step.started" for event in site.services.log.read(run)) == begins, 60.0
    )
    is_done.set()
    first.join(60)
    second.join(60)
    assert (first.exitcode, second.exitcode) == (0, 0)
    assert bank.charges["in"] == (2 if shape == "packed" else 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("skill", ["shop.write", "shop.awrite"])
def test_who_waits_for_a_lock_that_the_same_work_holds_in_another_process_waits_for_its_end(
    site: Site, bank: BankServer, skill: str, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process was taken for dead and lives, longer than anybody waits for a lock.

    No wait at all, so that often the lock is let go between a look at it and the question who has it.
    """
    each, slot = SHAPES[shape]
    lock = "lock: ['till:{{ item }}']" if each else "lock: [till]"
    run = begun(site, bank, f"{each}skill: {skill}, {lock}, retry: {{times: 2, delay: 60s}}, {WITH}")
    if each:
        site.expand(run, "work")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(perform_in_process, *place(site), run, "work", slot)
    items = 2 if shape in ("packed", "one pack") else 1
    assert eventually(lambda: bank.charges["asked"] == items)
    monkeypatch.setattr(locking, "WAIT", 0.0)
    threading.Timer(1.5, is_done.set).start()
    assert site.step(run, "work", slot).status == "succeeded"
    first.join(60)
    assert (first.exitcode, bank.charges["asked"], done(site)) == (0, items, [run] * items)
    types = [event.type for event in site.services.log.read(run)]
    assert (types.count("step.succeeded"), types.count("step.retried")) == (items, 0)


@pytest.mark.parametrize(("way", "status"), [("cancelled", "skipped"), ("closed", "failed")])
def test_who_waits_so_waits_no_longer_once_its_run_has_stopped(
    site: Site, bank: BankServer, way: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(site, bank, f"skill: shop.write, lock: [till], {WITH}")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(perform_in_process, *place(site), run, "work", None)
    assert eventually(lambda: bank.charges["asked"] == 1)
    monkeypatch.setattr(locking, "WAIT", 0.0)

    def stop() -> None:
        assert eventually(lambda: sum(event.type == "step.started" for event in site.services.log.read(run)) == 2)
        if way == "cancelled":
            request_cancel(site.services.log, run, by="ann")
        else:
            other = Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)
            other.close(run, {"work": "failed"})

    stops = threading.Thread(target=stop)
    stops.start()
    outcome = site.step(run, "work")
    assert (outcome.status, is_done.is_set()) == (status, False)
    stops.join()
    is_done.set()
    first.join(60)
    site.unwind(run, {"work": "failed"})
    site.close(run, {"work": "failed"})
    assert (site.state(run).status, bank.charges["effect"]) == ("failed", 0 if way == "closed" else 1)


@pytest.mark.parametrize("shape", ["single", "mapped", "packed"])
def test_who_waited_for_a_lock_while_its_run_was_closed_does_nothing_and_says_nothing(
    site: Site, bank: BankServer, shape: str
) -> None:
    each, slot = SHAPES[shape]
    step = f"{each}skill: shop.patient, lock: [till], fallback: {{skill: shop.instead, {WITH}}}, {WITH}"
    other, run = begun(site, bank, f"skill: shop.patient, lock: [till], {WITH}"), begun(site, bank, step)
    if each:
        site.expand(run, "work")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    holds = started(perform_in_process, *place(site), other, "work", None)
    assert eventually(lambda: bank.charges["in"] == 1)
    waits = started(perform_in_process, *place(site), run, "work", slot)
    items = 2 if shape == "packed" else 1
    assert eventually(lambda: sum(event.type == "step.started" for event in site.services.log.read(run)) == items, 60.0)
    site.close(run, {"work": "failed"})
    before = [event.type for event in site.services.log.read(run)]
    is_done.set()
    holds.join(60)
    waits.join(60)
    assert (holds.exitcode, waits.exitcode) == (0, 0)
    assert (bank.charges["in"], bank.charges["instead"]) == (1, 0)
    assert [event.type for event in site.services.log.read(run)] == before


def test_after_a_kill_the_next_process_does_it_and_the_dead_one_nothing(site: Site, bank: BankServer) -> None:
    run = begun(site, bank, f"skill: shop.write, {WITH}")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(perform_in_process, *place(site), run, "work", None)
    assert eventually(lambda: bank.charges["asked"] == 1)
    first.kill()
    first.join(60)
    assert site.step(run, "work").output == 1
    is_done.set()
    assert (done(site), bank.charges["effect"]) == ([run], 1)


@pytest.mark.parametrize("skill", ["shop.write", "shop.awrite"])
def test_who_lost_its_lock_commits_nothing_after_the_next_holder(site: Site, bank: BankServer, skill: str) -> None:
    definition = site.definition(HEAD + f"  - {{id: work, skill: {skill}, lock: [ledger], {WITH}}}\n")
    slow, quick = (site.open(definition, url=bank.url) for _ in range(2))
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(perform_in_process, *place(site), slow, "work", None)
    assert eventually(lambda: bank.charges["asked"] == 1)
    with psycopg.connect(site.services.database.dsn) as connection:
        connection.execute("UPDATE leases SET expires_at = clock_timestamp() WHERE owner IS NOT NULL")
    assert site.step(quick, "work").status == "succeeded"
    is_done.set()
    first.join(120)
    assert (first.exitcode, done(site)) == (0, [quick, slow]), "it is done again under a lease of its own"
    assert bank.charges["effect"] == 2


def in_process(target: Callable[..., None], *arguments: Any) -> None:
    process = started(target, *arguments)
    process.join(120)
    assert process.exitcode == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("skill", ["shop.patient", "shop.apatient"])
@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("way", ["closed", "reconciled"])
def test_what_would_begin_after_its_run_was_closed_does_not(
    site: Site, bank: BankServer, skill: str, shape: str, epoch: int, way: str
) -> None:
    each, slot = SHAPES[shape]
    run = begun(site, bank, f"{each}skill: {skill}, {WITH}")
    done_before(site, bank, run, epoch)
    if each:
        site.expand(run, "work", epoch=epoch)
    if way == "reconciled":
        assert [each.mended for each in found(site, FakeAirflow("success"))] == [True]
    else:
        site.close(run, epoch=epoch)
    before = [event.type for event in site.services.log.read(run)]
    outcome = site.step(run, "work", slot, epoch=epoch)
    assert (outcome.status, "has ended" in str(outcome.reason), sum(bank.charges.values())) == ("failed", True, 0)
    assert [event.type for event in site.services.log.read(run)] == before
    order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, "work", by="ann"))
    later = site.do(begin_epoch(site.services, run, "begun/later", "later")).number
    if slot is not None:
        site.expand(run, "work", epoch=later)
    assert site.step(run, "work", slot, epoch=later).status == "succeeded", "what is ordered after it does"


@pytest.mark.parametrize("shape", SHAPES)
def test_what_begins_as_its_run_is_closed_does_nothing_and_is_not_at_work(
    site: Site, bank: BankServer, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is closed after it was asked whether the work may begin, and before that is written."""
    each, slot = SHAPES[shape]
    run = begun(site, bank, f"{each}skill: shop.patient, {WITH}")
    if each:
        site.expand(run, "work")
    writes = performing._started

    async def closed_before(services: Any, work_item: Any) -> Any:
        if not any(event.type == "run.closed" for event in site.services.log.read(run)):
            await close_run(services, WorkRef(run=run, step="close"), {})
        return await writes(services, work_item)

    monkeypatch.setattr(performing, "_started", closed_before)
    outcome = site.step(run, "work", slot)
    assert (outcome.status, sum(bank.charges.values())) == ("failed", 0)
    assert [work.status for _, _, work in site.state(run).works() if work.status in OPEN] == []
