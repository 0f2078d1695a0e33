"""Promises of undoing what was done under locks: it is undone under the same ones, and waits for them."""

from __future__ import annotations

import threading
import time

import pytest

from muster.database import Database
from muster.recovery.leases import Leases
from support.bank import BankServer
from support.runs import Site, place, started, undo_in_process
from support.sources import source_of
from support.waiting import eventually

SKILLS = source_of(__file__, "undoing_under_locks")
pytestmark = pytest.mark.skills(till=SKILLS)
SLOW_ENDINGS = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
CREATE TRIGGER slowly BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.type = 'compensation.succeeded')
EXECUTE FUNCTION slowly();
"""
AUTOMATION = """automation: paying
inputs: {till: {type: string}}
steps:
  - {id: take, skill: till.take, lock: ["till:{{ inputs.till }}"], compensate: {skill: till.put_back}}
  - {id: each, each: [a, b], pack: all, skill: till.take, lock: ["drawer:{{ item }}"],
     compensate: {skill: till.put_back}}
  - {id: fail, skill: till.fail}
"""


def failed(site: Site) -> str:
    run = site.open(site.definition(AUTOMATION), till="7")
    for step in ("take", "each", "fail"):
        site.step(run, step)
    return run


def test_what_was_done_under_a_lock_is_undone_under_the_same_one(site: Site) -> None:
    run = failed(site)
    assert site.unwind(run) == "succeeded"
    state = site.state(run)
    take = state.step("take").whole
    assert [held for held in take.output if not held.startswith("sha256:")] == [f"till:7 by {run}/take"]
    assert take.undoing is not None
    assert take.undoing.output == take.output
    for index, name in enumerate("ab"):
        item = state.step("each").work(index)
        assert item.undoing is not None
        assert f"drawer:{name} by {run}/each[{index}]" in item.undoing.output
    assert Leases(site.services.database).held() == [], "and nothing is held afterwards"


def test_undoing_waits_for_whoever_holds_its_lock(site: Site, database: Database) -> None:
    run = failed(site)
    Leases(database).acquire(["till:7"], "somebody else", ttl=2.0)
    began = time.monotonic()
    assert site.unwind(run) == "succeeded"
    assert time.monotonic() - began > 1.5


SHAPES = ["", "each: [1, 2], ", "each: [1, 2], pack: 2, ", "each: [1, 2], pack: all, "]


@pytest.mark.parametrize("each", SHAPES)
@pytest.mark.parametrize(("does", "undoes"), [("till.pay", "till.unpay"), ("till.apay", "till.aunpay")])
def test_of_two_processes_that_undo_it_one_does(
    site: Site, bank: BankServer, each: str, does: str, undoes: str
) -> None:
    """One was taken for dead; the other one waits for the lock meanwhile."""
    given = "with: {url: '{{ inputs.url }}'}"
    source = f"""automation: paying
inputs: {{url: {{type: string}}}}
steps:
  - {{id: pay, {each}skill: {does}, lock: [till], {given}, compensate: {{skill: {undoes}, {given}}}}}
  - {{id: work, skill: till.fail}}
"""
    run = site.open(site.definition(source), url=bank.url)
    log, database = site.services.log, site.services.database
    with database.connection() as connection:
        connection.execute("CREATE TABLE till (amount int)")
        connection.execute("INSERT INTO till VALUES (100)")
        # Time in which the other one would have the lock, and would not find that it is undone.
        connection.execute(SLOW_ENDINGS)
    site.all_of(run, "pay")
    site.step(run, "work")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    first = started(undo_in_process, *place(site), run)
    assert eventually(lambda: bank.charges["asked"] == 1)
    second = started(undo_in_process, *place(site), run)
    items = 2 if each else 1
    begun = 2 * items
    assert eventually(lambda: sum(event.type == "compensation.started" for event in log.read(run)) == begun, 60.0)
    is_done.set()
    first.join(60)
    second.join(60)
    assert (first.exitcode, second.exitcode) == (0, 0)
    with database.connection() as connection:
        amount = connection.execute("SELECT amount FROM till").fetchone()
    assert (amount, bank.charges["asked"]) == ((100,), items)
    site.close(run)
    assert site.state(run).status == "compensated"
