"""Promises of a compensation in a process that was taken for dead: it does nothing once its run was closed."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.execution.run_executions import begin_epoch
from muster.saga.resuming import resume
from support.bank import BankServer
from support.reconciled import FakeAirflow, found
from support.runs import Site, place, started, undo_in_process
from support.sources import source_of
from support.waiting import eventually

SKILLS = source_of(__file__, "stalled_undoing")
AUTOMATION = """automation: tested
inputs: {{url: {{type: string}}}}
steps:
  - {{id: pay, {shape}skill: till.take, compensate: {{skill: {skill}, with: {{url: "{{{{ inputs.url }}}}"}}}}}}
  - {{id: work, skill: till.fail}}
"""
EACH = 'each: "{{ [1, 2] }}", '
SHAPES = {"single": "", "mapped": EACH, "packed": EACH + "pack: 2, ", "one pack": EACH + "pack: all, "}


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("till", SKILLS)
    with database.connection() as connection:
        connection.execute("CREATE TABLE till (amount integer)")
        connection.execute("INSERT INTO till VALUES (100)")
        connection.execute("CREATE TABLE asked (index integer PRIMARY KEY)")
    return made


def amount(site: Site, more: int = 0) -> int:
    """What is in the till, after a person has put some more into it."""
    with psycopg.connect(site.services.database.dsn) as connection:
        row = connection.execute("UPDATE till SET amount = amount + %s RETURNING amount", (more,)).fetchone()
    assert row is not None
    return int(row[0])


def failed(site: Site, bank: BankServer, shape: str, skill: str) -> str:
    """A run that has to be undone."""
    run = site.open(site.definition(AUTOMATION.format(shape=SHAPES[shape], skill=skill)), url=bank.url)
    site.all_of(run, "pay")
    site.step(run, "work")
    return run


def taken_for_dead(site: Site, run: str, way: str) -> None:
    """Airflow has failed the task of the compensation without a word, and the run is closed."""
    if way == "reconciled":
        # While another item is still being written down, the run is left alone until the next look.
        assert eventually(lambda: [each.mended for each in found(site, FakeAirflow(None))] == [True])
    else:
        site.close(run, {"unwind.pay": "failed"})


def goes_on_undoing(site: Site, run: str, *, by_hand: bool) -> None:
    """A person has acted, and the rest is undone."""
    resume(site.services.log, run, by="ann", by_hand=by_hand)
    epoch = site.do(begin_epoch(site.services, run, "begun/again", "again")).number
    site.unwind(run, epoch=epoch)
    site.close(run, epoch=epoch)


@pytest.mark.parametrize("goes_on", ["by hand", "resumed"])
@pytest.mark.parametrize("way", ["closed", "reconciled"])
@pytest.mark.parametrize("skill", ["till.put", "till.aput"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_compensation_that_wakes_up_after_a_person_has_acted_does_nothing(
    site: Site, bank: BankServer, shape: str, skill: str, way: str, goes_on: str
) -> None:
    run = failed(site, bank, shape, skill)
    work_items = 1 if shape == "single" else 2
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    stalled = started(undo_in_process, *place(site), run)
    # Of two items one stalls.
    assert eventually(lambda: (bank.charges["asked"], bank.charges["refund"]) == (work_items, work_items - 1))
    assert eventually(
        lambda: sum(work.status == "undone" for work in site.state(run).step("pay").works) == work_items - 1
    )
    taken_for_dead(site, run, way)
    assert site.state(run).status == "stuck"
    by_hand = goes_on == "by hand"
    assert amount(site, 10 if by_hand else 0) == (100 if by_hand else 90)
    goes_on_undoing(site, run, by_hand=by_hand)
    assert (site.state(run).status, amount(site)) == ("compensated", 100)
    is_done.set()
    stalled.join(60)
    assert stalled.exitcode is not None
    assert (site.state(run).status, amount(site)) == ("compensated", 100)
    assert bank.charges["refund"] == work_items - by_hand


@pytest.mark.parametrize("goes_on", ["by hand", "resumed"])
@pytest.mark.parametrize("way", ["closed", "reconciled"])
@pytest.mark.parametrize("shape", ["single", "mapped", "packed"])
def test_a_compensation_that_fails_after_a_person_has_acted_says_nothing(
    site: Site, bank: BankServer, shape: str, way: str, goes_on: str
) -> None:
    run = failed(site, bank, shape, "till.refuse")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    stalled = started(undo_in_process, *place(site), run)
    assert eventually(lambda: bank.charges["asked"] == (1 if shape == "single" else 2))
    taken_for_dead(site, run, way)
    goes_on_undoing(site, run, by_hand=goes_on == "by hand")
    before = site.services.log.version(run)
    assert site.state(run).status == "compensated"
    is_done.set()
    stalled.join(60)
    assert stalled.exitcode is not None
    assert [event.type for event in site.services.log.read(run, after_version=before)] == []
    assert site.state(run).status == "compensated"
