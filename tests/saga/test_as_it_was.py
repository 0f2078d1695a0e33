"""A promise of compensations: they undo what was done with what the run's steps had given back when it was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.test_done_again import HEAD, LIST, House, work
from muster.database import Database


def undo(name: str) -> str:
    return f", compensate: {{skill: d.work, with: {{name: '{name}', step: undo, folder: '{{{{ inputs.folder }}}}'}}}}"


@pytest.fixture(params=["1", "2", "all"])
def house(request: pytest.FixtureRequest, tmp_path: Path, database: Database) -> House:
    return House(tmp_path, database, request.param)


def undone(house: House) -> list[str]:
    return sorted(call for call in house.called() if call.startswith("undo"))


def agrees(house: House, run: str) -> None:
    """The tables say of every piece what the state says."""
    state = house.site.state(run)
    for row in house.site.services.queries.steps(run):
        found = state.step(row.step)
        assert row.status == (found.status if row.index == -1 else found.work(row.index).status), row


@pytest.mark.parametrize("how", ["restarted", "cleared by hand"])
@pytest.mark.parametrize("left_out", [True, False])
def test_a_step_is_undone_with_what_others_had_given_back(
    tmp_path: Path, database: Database, how: str, left_out: bool
) -> None:
    one = House(tmp_path, database, "1")
    when = ", when: '{{ (steps.list | length) > 2 }}'" if left_out else ""
    run = one.open(HEAD + LIST + work("single", more=undo("{{ steps.list[0] }}") + when) + work("last"))
    one.performs(run, "list", "single", "last")
    assert one.ends(run) == ("succeeded", None)
    one.names("x")
    one.breaks("last.last.broken")
    epoch = one.restart(run, "list") if how == "restarted" else one.begun(run)
    one.performs(run, "list", *(["single"] if left_out else []), "last", epoch=epoch)
    assert one.ends(run, epoch)[0] == "compensated"
    assert undone(one) == ["undo a"], "the list said so when it was done"
    agrees(one, run)


def test_what_is_done_again_is_undone_with_what_is_given_back_now(tmp_path: Path, database: Database) -> None:
    one = House(tmp_path, database, "1")
    run = one.open(HEAD + LIST + work("single", more=undo("{{ steps.list[0] }}")) + work("last"))
    one.performs(run, "list", "single", "last")
    one.ends(run)
    one.names("x")
    one.breaks("last.last.broken")
    epoch = one.restart(run, "list")
    one.performs(run, "list", "single", "last", epoch=epoch)
    assert one.ends(run, epoch)[0] == "compensated"
    assert undone(one) == ["undo x"]


@pytest.mark.parametrize("how", ["restarted", "cleared by hand"])
def test_so_is_an_item_that_was_set_aside_since(house: House, how: str) -> None:
    source = work("check", "steps.list") + work("post", "steps.check", undo("{{ steps.check[index] }}"))
    run = house.open(HEAD + LIST + source + work("last"))
    house.performs(run, "list", "check", "post", "last")
    assert house.ends(run) == ("succeeded", None)
    house.breaks("last.last.broken", "check.c.aside")
    epoch = house.restart(run, "check") if how == "restarted" else house.begun(run)
    house.performs(run, "check", "post", "last", epoch=epoch)
    assert house.ends(run, epoch)[0] == "compensated"
    assert undone(house) == ["undo a", "undo b", "undo c"]
    agrees(house, run)


def test_of_items_that_were_redriven_each_is_undone_as_when_it_was_done(house: House) -> None:
    found = "{{ item }} of {{ steps.check | present | length }}"
    source = work("check", "steps.list") + work("post", "steps.check", undo(found))
    run = house.open(HEAD + LIST + source + work("last", more=", when: '{{ (steps.check | present | length) > 2 }}'"))
    house.breaks("check.c.broken", "last.last.broken")
    house.performs(run, "list", "check", "post", "last")
    assert house.ends(run)[0] == "failed"
    house.called()
    house.breaks("last.last.broken")
    epoch = house.redrive(run, check=[2])
    house.performs(run, "check", "post", "last", epoch=epoch)
    assert house.ends(run, epoch)[0] == "compensated"
    assert undone(house) == ["undo a of 2", "undo b of 2", "undo c of 3"]
    agrees(house, run)


def test_after_a_resume_it_is_still_what_was_given_back_then(tmp_path: Path, database: Database) -> None:
    from muster.saga.resuming import resume

    one = House(tmp_path, database, "1")
    run = one.open(HEAD + LIST + work("single", more=undo("{{ steps.list[0] }}")) + work("last"))
    one.performs(run, "list", "single", "last")
    one.ends(run)
    one.names("x")
    one.breaks("last.last.broken", "undo.a.broken")
    epoch = one.begun(run)
    one.performs(run, "list", "last", epoch=epoch)
    assert one.ends(run, epoch)[0] == "stuck"
    one.called()
    one.breaks()
    resume(one.site.services.log, run, by="admin")
    assert one.ends(run, one.begun(run))[0] == "compensated"
    assert undone(one) == ["undo a"]
