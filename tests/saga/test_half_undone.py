"""Promises of a run of which something is half undone: undoing comes to its end before anything is done again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from muster.errors import PermanentError
from muster.events.model import EventType, NewEvent
from muster.events.replay import replay
from muster.execution.run_executions import begin_epoch
from muster.operations.redoing import Plan, order, plan_redrive, plan_restart
from muster.saga.resuming import resume
from support.bank import BankServer
from support.reconciled import FakeAirflow, found
from support.runs import Site, place, started, undo_in_process
from support.sources import source_of
from support.waiting import eventually

SKILLS = source_of(__file__, "half_undone")
pytestmark = pytest.mark.skills(bank=SKILLS)
AUTOMATION = """automation: tested
inputs: {{url: {{type: string}}}}
steps:
  - id: pay
    {shape}
    skill: bank.pay
    with: {{url: "{{{{ inputs.url }}}}"}}
    compensate: {{skill: {skill}, with: {{url: "{{{{ inputs.url }}}}"}}}}
  - {{id: work, skill: bank.work}}
"""
EACH = 'each: "{{ [1, 2] }}"'
SHAPES = {"single": "", "mapped": EACH, "packed": EACH + "\n    pack: 2", "one pack": EACH + "\n    pack: all"}
every_shape = pytest.mark.parametrize("shape", SHAPES)
both_lanes = pytest.mark.parametrize("skill", ["bank.refund", "bank.arefund"])


def paid(site: Site, run: str, shape: str, epoch: int = 0) -> list[Any]:
    """Perform the tasks that pay; how each ended."""
    return site.all_of(run, "pay", epoch=epoch)


def failed(site: Site, bank: BankServer, shape: str, skill: str) -> str:
    """A run that has to be undone."""
    run = site.open(site.definition(AUTOMATION.format(shape=SHAPES[shape], skill=skill)), url=bank.url)
    paid(site, run, shape)
    site.step(run, "work")
    return run


def begun(site: Site, run: str, key: str) -> int:
    """What Airflow starts then."""
    return int(site.do(begin_epoch(site.services, run, f"begun/{key}", key)).number)


def planned(site: Site, run: str) -> list[Callable[[], Plan]]:
    """A person has it done again, in each way that there is."""
    log, definitions = site.services.log, site.services.definitions
    return [
        lambda: plan_restart(log, definitions, run, "pay", by="ann"),
        lambda: plan_restart(log, definitions, run, "work", by="ann"),
        lambda: plan_redrive(log, definitions, run, {"work": [None]}, by="ann"),
    ]


def refused(site: Site, run: str) -> None:
    """Nothing is done again, and the words name what leads on."""
    version = site.services.log.version(run)
    for plan in planned(site, run):
        with pytest.raises(PermanentError, match="has begun and has not come to its end") as error:
            plan()
        for command in (f"`muster resume {run}`", f"`muster resume {run} --by-hand`"):
            assert command in error.value.message
    assert site.services.log.version(run) == version


def undone_at_last(site: Site, run: str, *, by_hand: bool) -> None:
    """A person has the undoing come to its end."""
    for number in range(2):
        if site.state(run).status == "stuck":
            resume(site.services.log, run, by="ann", by_hand=by_hand)
            epoch = begun(site, run, f"resumed {number}")
            site.unwind(run, epoch=epoch)
            site.close(run, epoch=epoch)
    assert site.state(run).status == "compensated"


def done_again(site: Site, run: str, shape: str) -> None:
    """A restart is accepted, and all is done."""
    (site.include / "mended").touch()
    order(site.services.log, planned(site, run)[0]())
    epoch = begun(site, run, "again")
    paid(site, run, shape, epoch)
    site.step(run, "work", epoch=epoch)
    assert site.unwind(run, epoch=epoch) == "skipped"
    site.close(run, epoch=epoch)
    assert site.state(run).status == "succeeded"
    assert replay(site.services.database, run).differences == []


@pytest.mark.parametrize("goes_on", ["resumed", "by hand"])
@both_lanes
@every_shape
def test_what_is_half_undone_is_undone_before_it_is_done_again(
    site: Site, bank: BankServer, shape: str, skill: str, goes_on: str
) -> None:
    run = failed(site, bank, shape, skill)
    work_items = 1 if shape == "single" else 2
    assert site.unwind(run) == "failed"
    site.close(run)
    refused(site, run)
    if goes_on == "resumed":
        (site.include / "mended").touch()
    undone_at_last(site, run, by_hand=goes_on == "by hand")
    done_again(site, run, shape)
    assert (bank.charges["pay"], bank.charges["refund"]) == (2 * work_items, work_items), (
        "what was taken back is paid anew"
    )


@pytest.mark.parametrize("way", ["closed", "reconciled"])
@both_lanes
@every_shape
def test_so_is_what_a_process_died_in_while_it_undid_it(
    site: Site, bank: BankServer, shape: str, skill: str, way: str
) -> None:
    run = failed(site, bank, shape, skill)
    bank.charges.clear()
    (site.include / "mended").touch()
    dies = threading.Event()
    bank.meanwhile = lambda: dies.wait(60)
    dying = started(undo_in_process, *place(site), run)
    assert eventually(lambda: bank.charges["refund"] >= 1)
    dying.kill()
    dying.join()
    dies.set()
    if way == "reconciled":
        assert [each.mended for each in found(site, FakeAirflow(None))] == [True]
    else:
        site.close(run, {"unwind.pay": "failed"})
    assert site.state(run).status == "stuck"
    refused(site, run)
    undone_at_last(site, run, by_hand=True)
    done_again(site, run, shape)


@pytest.mark.parametrize("is_mended", [True, False])
@every_shape
def test_a_step_that_is_cleared_by_hand_while_it_is_half_undone_does_nothing_and_says_so(
    site: Site, bank: BankServer, shape: str, is_mended: bool
) -> None:
    run = failed(site, bank, shape, "bank.refund")
    work_items = 1 if shape == "single" else 2
    site.unwind(run)
    site.close(run)
    if is_mended:
        (site.include / "mended").touch()
    epoch = begun(site, run, "cleared")
    outcomes = paid(site, run, shape, epoch)
    assert "failed" in [outcome.status for outcome in outcomes]
    assert any(f"muster resume {run}" in (outcome.reason or "") for outcome in outcomes)
    assert site.step(run, "work", epoch=epoch).status == "skipped", "nothing after it goes ahead"
    assert bank.charges["pay"] == work_items, "nothing was paid anew"
    # Undoing goes on, and is what becomes of the run.
    assert site.unwind(run, {"pay": "failed"}, epoch=epoch) == ("succeeded" if is_mended else "failed")
    site.close(run, {"pay": "failed"}, epoch=epoch)
    assert site.state(run).status == ("compensated" if is_mended else "stuck")
    undone_at_last(site, run, by_hand=True)
    done_again(site, run, shape)


def test_what_a_dead_process_says_of_undoing_what_was_done_anew_since_is_nothing(site: Site, bank: BankServer) -> None:
    run = failed(site, bank, "single", "bank.refund")
    assert site.unwind(run) == "failed"
    site.close(run)
    undone_at_last(site, run, by_hand=True)
    done_again(site, run, "single")
    data = {"step": "pay", "index": None, "work_epoch": 0, "epoch": 0, "error": {"class": "E", "message": "x"}}
    site.services.log.append(run, [NewEvent(type=EventType.COMPENSATION_FAILED, data=data)])
    assert planned(site, run)[0]().steps == ("pay", "work")
