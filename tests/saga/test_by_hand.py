"""Promises of `muster resume --by-hand`: what it says is written, wherever undoing got stuck, or refused in words."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.events.model import EventType, NewEvent
from muster.execution.references import WorkRef
from muster.recovery import attempts
from muster.recovery.attempts import StillRunning
from muster.saga import unwinding
from muster.saga.resuming import resume
from support.bank import BankServer
from support.reconciled import FakeAirflow, found
from support.runs import Site, perform_in_process, place, started
from support.sources import source_of
from support.waiting import eventually

SKILLS = source_of(__file__, "by_hand")
WITH = "with: {url: '{{ inputs.url }}'}"
AUTOMATION = f"""automation: tested
inputs: {{url: {{type: string}}}}
steps:
  - {{id: work, SHAPEskill: depot.act, {WITH}, compensate: {{skill: depot.undo, {WITH}}}}}
  - {{id: last, skill: depot.fail}}
"""
EACH = 'each: "{{ [1, 2] }}", '
SHAPES = {"single": "", "mapped": EACH, "packed": EACH + "pack: 2, ", "one pack": EACH + "pack: all, "}


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("depot", SKILLS)
    with database.connection() as connection:
        connection.execute("CREATE TABLE done (run text)")
    return made


def opened(site: Site, bank: BankServer, shape: str) -> str:
    return site.open(site.definition(AUTOMATION.replace("SHAPE", SHAPES[shape])), url=bank.url)


def failed(site: Site, bank: BankServer, shape: str) -> str:
    """A run that has to be undone."""
    run = opened(site, bank, shape)
    site.all_of(run, "work")
    site.step(run, "last")
    return run


def ended(site: Site, run: str, epoch: int = 1) -> str:
    """How the run ends once Airflow has gone on with it."""
    site.unwind(run, epoch=epoch)
    site.close(run, epoch=epoch)
    return site.state(run).status


@pytest.mark.parametrize("way", ["it is gone in Airflow", "it died four times"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_reconciler_left_to_a_person_is_not_undone_after_them(
    site: Site, bank: BankServer, shape: str, way: str
) -> None:
    run = failed(site, bank, shape)
    site.do(unwinding.begin(site.services, WorkRef(run=run, step="begin"), {}))
    airflow = FakeAirflow(None if way == "it is gone in Airflow" else "failed")
    for days in range(8):
        found(site, airflow, later=timedelta(days=2 * days, hours=1))
    stuck = site.state(run).stuck
    assert stuck is not None
    assert (site.state(run).status, stuck.step, stuck.index) == ("stuck", "work", None)
    resume(site.services.log, run, by="ann", by_hand=True)
    assert ended(site, run) == "compensated"
    assert bank.charges["undone"] == 0
    works = [work for work in site.state(run).step("work").works if work.undoing is not None]
    assert [work.undoing.by_hand for work in works if work.undoing] == [True] * (1 if shape == "single" else 2)


def test_a_commit_that_hangs_is_waited_for_before_anything_is_said_to_be_undone_by_hand(
    site: Site, bank: BankServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "LINGER", 0.3)
    monkeypatch.setattr(attempts, "LONGEST_WAIT", 0.2)
    run = opened(site, bank, "single")
    is_done = threading.Event()
    bank.meanwhile = lambda: is_done.wait(60)
    one = started(perform_in_process, *place(site), run, "work", None)
    assert eventually(lambda: bank.charges["done"] == 1)
    one.kill()
    one.join()
    is_done.set()
    log = site.services.log
    with psycopg.connect(site.services.database.dsn) as hanging:  # Its commit, which does not end.
        hanging.execute(
            "INSERT INTO attempts (work, run, execution, attempt) VALUES (%s, %s, 2, 1)", (f"{run}/work", run)
        )
        assert site.unwind(run, {"work": "failed"}) == "failed"
        site.close(run, {"work": "failed"})
        before = log.version(run)
        with pytest.raises(StillRunning, match="being committed"):
            resume(log, run, by="ann", by_hand=True)
        assert log.version(run) == before, "nothing was written"
    resume(log, run, by="ann", by_hand=True)
    assert ended(site, run) == "compensated"
    assert bank.charges["undone"] == 0


def test_where_nothing_is_left_to_be_done_by_hand_that_is_refused_in_words(site: Site, bank: BankServer) -> None:
    run = failed(site, bank, "single")
    begun = WorkRef(run=run, step="begin")
    site.do(unwinding.begin(site.services, begun, {}))
    found(site, FakeAirflow(None))
    # What was taken for dead had done it when the run was closed, and says so after that.
    work = site.state(run).step("work").whole
    data = {"step": "work", "index": None, "work_epoch": work.epoch, "epoch": 0, "output": 1}
    key = f"work/undone@{work.epoch}"
    site.services.log.append(run, [NewEvent(type=EventType.COMPENSATION_SUCCEEDED, data=data, key=key)])
    before = site.services.log.version(run)
    with pytest.raises(PermanentError, match=r"work of .* is undone already; nothing was changed") as refused:
        resume(site.services.log, run, by="ann", by_hand=True)
    assert f"muster resume {run}" in (refused.value.remedy or "")
    assert site.services.log.version(run) == before
    resume(site.services.log, run, by="ann")
    assert ended(site, run) == "compensated"
