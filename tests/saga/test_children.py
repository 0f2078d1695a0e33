"""Promises of runs within runs: what a run asked for is undone with it, once, or it is stuck and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from muster.saga.resuming import resume
from support.children import Family, step

CHILD = "steps:\n" + step("pick") + step("pack") + step("weigh", undo=False)
PARENT = "steps:\n" + step("reserve") + "  - {id: deliver, run: child}\n" + step("bill")


@pytest.fixture
def family(tmp_path: Path, database: Database) -> Family:
    return Family(tmp_path, database, {"parent": PARENT, "child": CHILD})


def test_what_a_child_did_is_undone_with_its_parent_in_its_own_log_and_order(family: Family) -> None:
    family.depot.broken.add("bill")
    run = family.open("parent")
    state = family.play(run)
    (child,) = state.step("deliver").whole.children
    assert (state.status, state.step("deliver").status) == ("compensated", "undone")
    assert family.depot.undone == ["bill", "pack", "pick", "reserve"]
    below = family.site.state(child)
    assert (below.status, below.reason) == ("compensated", f"undone with step deliver of {run}")
    assert below.step("pick").status == below.step("pack").status == "undone"
    assert below.step("weigh").status == "succeeded"
    assert family.types(child)[-9:] == [
        "run.closed", "run.begun", "run.undo_requested", "saga.unwinding", "compensation.started",
        "compensation.succeeded", "compensation.started", "compensation.succeeded", "run.closed",
    ]  # fmt: skip
    undone = [event for event in family.site.services.log.read(run) if event.type == "compensation.succeeded"]
    assert undone[1].data["output"] == {child: "compensated"}
    assert family.site.services.log.verify(child) is None
    assert family.site.services.queries.run(child).status == "compensated"
