"""A task that waits for a run of another automation, or undoes one, is lost once that run has come to rest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from muster.database import Database
from muster.events.model import EventType, NewEvent
from muster.execution.references import WorkRef
from muster.saga import unwinding
from support.children import Family, step
from support.reconciled import FakeAirflow, found

AUTOMATIONS = {
    "between": "steps:\n" + step("book") + "  - {id: deliver, run: parcel, timeout: 20m}\n" + step("last"),
    "parcel": "steps:\n" + step("pack"),
}


@pytest.fixture
def family(tmp_path: Path, database: Database) -> Family:
    return Family(tmp_path, database, AUTOMATIONS)


def lost(family: Family, run: str, task: str, later: timedelta) -> list[str]:
    """The tasks of the run that are performed again when this one is deferred."""
    airflow = FakeAirflow("running", tasks={task: "deferred"})
    return [each.mark for each in found(family.site, airflow, later=later) if each.mended and each.subject == run]


def test_who_waits_for_a_run_that_goes_on_may_wait_and_is_lost_once_it_has_ended(family: Family) -> None:
    run = family.open("between")
    family.site.step(run, "book")
    child = family.begin(family.ask(run, "deliver"))
    assert lost(family, run, "deliver", timedelta(days=2)) == []
    family.play(child)
    assert lost(family, run, "deliver", timedelta(minutes=1)) == []
    assert lost(family, run, "deliver", timedelta(minutes=30)) == ["deliver"]


def test_undoing_a_run_is_lost_when_neither_has_said_anything_for_twice_as_long_as_it_may_take(family: Family) -> None:
    run = family.open("between")
    family.site.step(run, "book")
    family.child(run, "deliver")
    cancel = NewEvent(type=EventType.RUN_CANCEL_REQUESTED, data={"reason": "enough"}, actor="ann", key="cancel")
    family.site.services.log.append(run, [cancel])
    family.site.do(unwinding.begin(family.site.services, WorkRef(run=run, step="begin"), {}))
    assert lost(family, run, "unwind.deliver", timedelta(minutes=30)) == ["unwind.deliver"], "it has not begun"
    data = {"step": "deliver", "index": None, "work_epoch": 0, "epoch": 0}
    family.site.services.log.append(run, [NewEvent(type=EventType.COMPENSATION_STARTED, data=data)])
    assert lost(family, run, "unwind.deliver", timedelta(minutes=45)) == []
    assert lost(family, run, "unwind.deliver", timedelta(minutes=55)) == ["unwind.deliver"]
