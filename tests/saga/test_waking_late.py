"""Promises of a task that was taken for dead and wakes in a later execution: it ends and undoes nothing of that one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from muster.approvals import asking
from muster.database import Database
from muster.execution.performing import begin as begin_work_item
from muster.execution.references import WorkRef
from muster.operations.redoing import order, plan_restart
from muster.saga import unwinding
from muster.saga.closing import close_run
from support.children import Family, step
from support.reconciled import FakeAirflow, begun_again, found
from support.sources import source_of

ASKS = "steps:\n" + step("reserve") + "  - {id: ask, human: {ask: Pay?, assignees: [lead]}}\n" + step("pick")
WRITES = "steps:\n" + step("reserve") + "  - {id: write, skill: till.write}\n"
SKILL = source_of(__file__, "waking_late")


@pytest.fixture
def family(tmp_path: Path, database: Database) -> Family:
    return Family(tmp_path, database, {"asks": ASKS, "writes": WRITES}, skills={"till": SKILL})


def restarted(family: Family, run: str, name: str) -> int:
    """The epoch of an execution that does a step again and all that comes after it."""
    services = family.site.services
    order(services.log, plan_restart(services.log, services.definitions, run, name, by="ann"))
    epoch: int = family.site.do(begun_again(family.site, run))
    return epoch


def asked_again(family: Family, *, reconciled: bool) -> tuple[str, int]:
    """A run that has ended, and whose question is put to people again."""
    run = family.open("asks")
    family.site.step(run, "reserve")
    family.site.approve(run, "ask", by="lead")
    family.site.step(run, "pick")
    if reconciled:
        # Its end was taken for dead.
        assert [each.mended for each in found(family.site, FakeAirflow(None))] == [True]
    else:
        assert family.finish(run).status == "succeeded"
    epoch = restarted(family, run, "ask")

    async def ask() -> None:
        work_item = await begin_work_item(family.site.services, WorkRef(run=run, step="ask", epoch=epoch))
        await asking.request(family.site.services, work_item)

    family.site.do(ask())
    return run, epoch


def comes_through(family: Family, run: str, epoch: int) -> None:
    """The later execution goes on as if nothing had been."""
    assert family.site.state(run).step("ask").status == "waiting"
    family.site.approve(run, "ask", by="lead", epoch=epoch)
    family.site.step(run, "pick", epoch=epoch)
    state = family.finish(run, epoch=epoch)
    assert (state.status, state.reason) == ("succeeded", None)


def test_who_begins_to_undo_late_undoes_nothing_of_a_later_execution(family: Family) -> None:
    run, epoch = asked_again(family, reconciled=False)
    before = family.types(run)
    late = family.site.do(unwinding.begin(family.site.services, WorkRef(run=run, step="begin", epoch=0), {}))
    assert (late.status, family.types(run)) == ("failed", before)
    comes_through(family, run, epoch)


@pytest.mark.parametrize("reconciled", [False, True])
def test_who_closes_late_closes_nothing_of_a_later_execution(family: Family, reconciled: bool) -> None:
    run, epoch = asked_again(family, reconciled=reconciled)
    before = family.types(run)
    late = family.site.close(run)
    # Whose own word stands says it again.
    assert late.status == ("failed" if reconciled else "succeeded")
    assert family.types(run) == before
    comes_through(family, run, epoch)


def test_who_closes_late_revokes_nothing_that_a_later_execution_is_at(family: Family) -> None:
    run = family.open("writes")
    family.site.step(run, "reserve")
    family.site.step(run, "write")
    assert family.finish(run).status == "succeeded"
    epoch = restarted(family, run, "write")
    skill = sys.modules["muster_site.till"]

    async def late() -> None:
        await close_run(family.site.services, WorkRef(run=run, step="close", epoch=0), {})

    skill.calls.clear()
    skill.meanwhile.append(late)
    assert family.site.step(run, "write", epoch=epoch).status == "succeeded"
    assert (skill.calls, family.finish(run, epoch=epoch).status) == (["called"], "succeeded")
