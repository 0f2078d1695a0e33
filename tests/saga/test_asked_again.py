"""Promises about what nothing can undo: people are asked about it each time, and what they undid is undone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from execution.test_done_again import ASK, HEAD, House, work
from muster.database import Database
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_restart
from muster.saga.resuming import resume
from support.children import Family, step
from support.reconciled import begun_again
from support.sources import source_of

SKILLS = source_of(__file__, "asked_again")
POST = work("single", more=', compensate: {skill: d.work, with: {name: x, step: undo, folder: "{{ inputs.folder }}"}}')
GIVEN = "with: {name: 'NAME', folder: '{{ inputs.folder }}'}, irreversible: true"
ONE = f"  - {{id: pay, skill: bank.pay, {GIVEN.replace('NAME', 'a')}}}\n"
FANS = "each: '{{ inputs.names }}', pack: PACK, "
EACH = f"  - {{id: pay, {FANS}skill: bank.pay, {GIVEN.replace('NAME', '{{ item }}')}}}\n"
APPROVE = f"  - {{id: approve, {ASK}}}\n"


class Bank(House):
    """A house that pays: one for all, or each of a list."""

    def __init__(self, folder: Path, database: Database, shape: str) -> None:
        super().__init__(folder, database, shape if shape != "single" else "1")
        self.site.skills("bank", SKILLS)
        self.shape = shape
        self.pay = ONE if shape == "single" else EACH
        self.paid = ["paid a"] if shape == "single" else ["paid a", "paid b"]

    def pays(self, run: str, *, epoch: int = 0) -> None:
        if self.shape == "single":
            self.site.step(run, "pay", epoch=epoch)
        else:
            self.performs(run, "pay", epoch=epoch)

    def stuck(self, post: str = POST) -> str:
        """A run that has paid and was stuck before it undid what it posted."""
        run = self.open(HEAD + post + APPROVE + self.pay + work("last"))
        self.breaks("last.last.broken")
        self.performs(run, "single")
        self.answers(run, "approve", None)
        self.pays(run)
        self.performs(run, "last")
        assert self.ends(run)[0] == "stuck"
        assert sorted(self.called()) == ["last last", *self.paid, "single single"]
        return run

    def resumed(self, run: str, *, by_hand: bool = False) -> tuple[str, str | None]:
        services = self.site.services
        resume(services.log, run, by="admin", by_hand=by_hand)
        return self.ends(run, self.begun(run))

    def agrees(self, run: str) -> None:
        """The tables say of every piece what the state says."""
        state = self.site.state(run)
        for row in self.site.services.queries.steps(run):
            found = state.step(row.step)
            assert row.status == (found.status if row.index == -1 else found.work(row.index).status), row


SHAPES = ["single", "1", "2", "all"]


@pytest.fixture(params=SHAPES)
def bank(request: pytest.FixtureRequest, tmp_path: Path, database: Database) -> Bank:
    return Bank(tmp_path, database, request.param)


@pytest.mark.parametrize("how", ["restarted", "cleared by hand", "restarted and cancelled"])
def test_a_second_failure_is_asked_about_again(bank: Bank, how: str) -> None:
    run = bank.stuck()
    epoch = bank.begun(run) if how == "cleared by hand" else bank.restart(run, "last")
    if how == "restarted and cancelled":
        request_cancel(bank.site.services.log, run, by="admin")
    bank.performs(run, "last", epoch=epoch)
    assert bank.ends(run, epoch)[0] == "stuck"
    assert not [call for call in bank.called() if call.startswith("undo")]
    assert len(bank.site.services.notices.outbox.entries()) == 2, "people are told anew"
    assert bank.resumed(run)[0] == "compensated"
    assert bank.called() == ["undo x"]


@pytest.mark.parametrize("how", ["restarted", "cleared by hand"])
def test_an_answer_is_about_what_was_done_before_it(bank: Bank, how: str) -> None:
    run = bank.stuck()
    assert bank.resumed(run)[0] == "compensated"
    assert bank.called() == ["undo x"]
    epoch = bank.restart(run, "single") if how == "restarted" else bank.begun(run)
    bank.performs(run, "single", epoch=epoch)
    if how == "restarted":
        bank.answers(run, "approve", None, epoch=epoch)
        bank.pays(run, epoch=epoch)
    bank.performs(run, "last", epoch=epoch)
    assert bank.ends(run, epoch)[0] == "stuck"
    assert bank.called() == ["single single", "last last"], "what was paid and not undone is not paid again"


def test_so_is_a_redrive(bank: Bank) -> None:
    """Only of a run that had nothing to undo can a dead letter be redriven after it was stuck."""
    run = bank.stuck(work("single"))
    assert bank.resumed(run)[0] == "failed"
    epoch = bank.redrive(run, last=[None])  # type: ignore[list-item]
    bank.performs(run, "last", epoch=epoch)
    assert bank.ends(run, epoch)[0] == "stuck"


def test_a_compensation_that_fails_after_the_answer_asks_nobody_anew(bank: Bank) -> None:
    run = bank.stuck()
    (bank.folder / "undo.x.broken").touch()
    assert bank.resumed(run)[0] == "stuck"
    bank.breaks()
    assert bank.resumed(run)[0] == "compensated"
    assert bank.called()[-1] == "undo x"


@pytest.mark.parametrize("failed", [False, True])
def test_what_a_person_undid_by_hand_is_done_again(bank: Bank, failed: bool) -> None:
    if failed:
        # Then it is the irreversible step itself that the run is undone for.
        run = bank.open(HEAD + POST + APPROVE + bank.pay + work("last"))
        bank.breaks("pay.a.broken", "pay.b.broken")
        bank.performs(run, "single")
        bank.answers(run, "approve", None)
        bank.pays(run)
        bank.performs(run, "last")
        assert bank.ends(run)[0] == "stuck"
        assert sorted(bank.called()) == [*bank.paid, "single single"]
    else:
        run = bank.stuck()
    reason = bank.site.state(run).reason
    assert bank.resumed(run, by_hand=True) == ("compensated", reason)
    assert bank.called() == ["undo x"]
    bank.agrees(run)
    assert bank.site.state(run).step("pay").status == "undone"
    bank.breaks()
    epoch = bank.restart(run, "single")
    bank.performs(run, "single", epoch=epoch)
    bank.answers(run, "approve", None, epoch=epoch)
    bank.pays(run, epoch=epoch)
    bank.performs(run, "last", epoch=epoch)
    assert bank.ends(run, epoch) == ("succeeded", None)
    assert sorted(bank.called()) == ["last last", *bank.paid, "single single"]
    bank.agrees(run)


def test_all_that_nothing_can_undo_is_named_and_counts_as_undone_by_hand(tmp_path: Path, database: Database) -> None:
    bank = Bank(tmp_path, database, "single")
    fee = ONE.replace("id: pay", "id: fee").replace("name: 'a'", "name: fee")
    run = bank.open(HEAD + POST + APPROVE + ONE + fee + work("last"))
    bank.breaks("last.last.broken")
    bank.performs(run, "single")
    bank.answers(run, "approve", None)
    for name in ("pay", "fee", "last"):
        bank.site.step(run, name)
    bank.ends(run)
    assert "fee, pay cannot be undone" in bank.site.state(run).stuck.error["message"]  # type: ignore[union-attr]
    bank.resumed(run, by_hand=True)
    assert [bank.site.state(run).step(name).status for name in ("single", "pay", "fee")] == ["undone"] * 3


PARENT = "steps:\n" + step("reserve") + "  - {id: deliver, run: child}\n" + step("bill")
CHILD = (
    "steps:\n" + step("pick") + "  - {id: agreed, human: {ask: 'Ship?', assignees: [boss]}}\n"
    "  - {id: ship, skill: bank.ship, irreversible: true}\n" + step("label")
)
SHIP = source_of(__file__, "asked_again_ship")


@pytest.fixture(params=[False, True], ids=["child", "child of a child"])
def family(request: pytest.FixtureRequest, tmp_path: Path, database: Database) -> Family:
    middle = {"middle": "steps:\n  - {id: deliver, run: child}\n"} if request.param else {}
    parent = PARENT.replace("run: child", "run: middle") if request.param else PARENT
    return Family(tmp_path, database, {"parent": parent, "child": CHILD, **middle}, skills={"bank": SHIP})


def again(family: Family, run: str, name: str | None = None) -> int:
    """A later execution, from a step on where it is given; else of what was resumed."""
    services = family.site.services
    if name is not None:
        order(services.log, plan_restart(services.log, services.definitions, run, name, by="ada"))
    epoch: int = family.site.do(begun_again(family.site, run))
    return epoch


def goes(family: Family, child: str, *, epoch: int = 0) -> str:
    """All steps of a child, and its end."""
    site = family.site
    site.step(child, "pick", epoch=epoch)
    site.approve(child, "agreed", by="boss", epoch=epoch)
    site.step(child, "ship", epoch=epoch)
    site.step(child, "label", epoch=epoch)
    return family.finish(child, epoch=epoch).status


def delivered(family: Family, status: str = "succeeded") -> tuple[str, str]:
    """A run whose child has shipped, and the child."""
    run = family.open("parent")
    family.site.step(run, "reserve")
    middle = "middle" in family.definitions
    asks = family.begin(family.ask(run, "deliver")) if middle else run
    child = family.begin(family.ask(asks, "deliver"))
    assert goes(family, child) == status
    if middle:
        family.follow(asks, "deliver")
        family.finish(asks)
    family.follow(run, "deliver")
    return run, child


def test_a_second_failure_after_a_child_has_done_it_is_asked_about_again(family: Family) -> None:
    run, child = delivered(family)
    family.depot.broken.add("bill")
    family.site.step(run, "bill")
    assert family.finish(run).status == "stuck"
    epoch = again(family, run, "bill")
    family.site.step(run, "bill", epoch=epoch)
    assert family.finish(run, epoch=epoch).status == "stuck"
    assert family.depot.undone == []
    resume(family.site.services.log, run, by="ada")
    assert family.finish(run, epoch=again(family, run)).status == "compensated"
    assert (family.site.state(child).status, family.depot.undone) == (
        "compensated",
        ["bill", "label", "pick", "reserve"],
    )


def test_a_child_that_was_stuck_and_went_forward_is_asked_about(family: Family) -> None:
    family.depot.broken.add("label")
    run = family.open("parent")
    family.site.step(run, "reserve")
    middle = "middle" in family.definitions
    asks = family.begin(family.ask(run, "deliver")) if middle else run
    child = family.begin(family.ask(asks, "deliver"))
    assert goes(family, child) == "stuck"
    family.depot.broken.clear()
    epoch = again(family, child, "label")
    family.site.step(child, "label", epoch=epoch)
    assert family.finish(child, epoch=epoch).status == "succeeded"
    if middle:
        family.follow(asks, "deliver")
        assert family.finish(asks).status == "succeeded"
    family.follow(run, "deliver")
    family.depot.broken.add("bill")
    family.site.step(run, "bill")
    assert family.finish(run).status == "stuck"
    assert family.depot.undone == []


def test_a_child_that_is_done_again_after_it_was_undone_is_asked_about_anew(family: Family) -> None:
    run, child = delivered(family)
    family.depot.broken.add("bill")
    family.site.step(run, "bill")
    family.finish(run)
    resume(family.site.services.log, run, by="ada")
    assert family.finish(run, epoch=again(family, run)).status == "compensated"
    family.depot.undone.clear()
    family.depot.broken.add("label")
    assert goes(family, child, epoch=again(family, child, "pick")) == "stuck"
    assert family.depot.undone == []


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_a_person_undid_of_a_child_is_done_again_there(family: Family, by_hand: bool) -> None:
    run, child = delivered(family)
    family.depot.broken.add("bill")
    family.site.step(run, "bill")
    assert family.finish(run).status == "stuck"
    resume(family.site.services.log, run, by="ada", by_hand=by_hand)
    assert family.finish(run, epoch=again(family, run)).status == "compensated"
    assert family.site.state(child).step("ship").status == ("undone" if by_hand else "succeeded")
    assert goes(family, child, epoch=again(family, child, "pick")) == "succeeded"
    shipped = [key.rpartition("/")[2] for key in sys.modules["muster_site.bank"].shipped]
    assert shipped == (["ship", "ship~1"] if by_hand else ["ship"])
