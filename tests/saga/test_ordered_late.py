"""Promises about a wish to undo a run that comes as it ends, after it was decided that nothing has to be undone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.events.model import Event, EventType, NewEvent
from muster.execution.personal import RunLog
from muster.execution.references import WorkRef
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_restart
from muster.saga import children
from muster.saga.closing import close_run
from muster.saga.resuming import resume
from support.children import Family, step
from support.reconciled import begun_again
from support.runs import MASTER

ITEMS = {"": 1, "each: [a, b], ": 2, "each: [a, b], pack: 2, ": 2, "each: [a, b], pack: all, ": 2}


def made(tmp_path: Path, database: Database, each: str) -> Family:
    source = "steps:\n" + step("reserve") + step("pick").replace("skill:", f"{each}skill:", 1)
    return Family(tmp_path, database, {"work": f'incidents: [{{slack: "#stuck"}}]\n{source}'})


def done(family: Family, run: str, each: str, *, epoch: int = 0) -> None:
    """All that there is to do; and it is decided that nothing of it is undone."""
    site = family.site
    site.step(run, "reserve", epoch=epoch)
    site.all_of(run, "pick", epoch=epoch)
    assert site.unwind(run, epoch=epoch) == "skipped"


def closed(family: Family, run: str, *, epoch: int = 0) -> str:
    ref = WorkRef(run=run, step="close", epoch=epoch)
    family.site.do(close_run(family.site.services, ref, {}))
    return family.site.state(run).status


@pytest.mark.parametrize("each", ITEMS)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_run_that_is_cancelled_as_it_ends_is_stuck_and_undone_once_it_is_resumed(
    tmp_path: Path, database: Database, each: str, restarted: bool
) -> None:
    family, epoch = made(tmp_path, database, each), 0
    services, run = family.site.services, family.open("work")
    done(family, run, each)
    if restarted:
        assert closed(family, run) == "succeeded"
        order(services.log, plan_restart(services.log, services.definitions, run, "reserve", by="ann"))
        epoch = family.site.do(begun_again(family.site, run))
        done(family, run, each, epoch=epoch)
    request_cancel(services.log, run, by="ann")
    assert closed(family, run, epoch=epoch) == "stuck"
    assert (closed(family, run, epoch=epoch), family.types(run).count("run.stuck")) == ("stuck", 1)
    [notice] = services.notices.outbox.entries()
    assert "had been decided that nothing of it is" in notice.text
    resume(services.log, run, by="ann")
    epoch = family.site.do(begun_again(family.site, run))
    assert family.site.unwind(run, epoch=epoch) == "succeeded"
    assert closed(family, run, epoch=epoch) == "compensated"
    assert family.depot.undone == ["pick"] * ITEMS[each] + ["reserve"]


def test_where_a_person_has_undone_the_last_of_it_the_rest_is_undone(tmp_path: Path, database: Database) -> None:
    family = made(tmp_path, database, "")
    run = family.open("work")
    done(family, run, "")
    request_cancel(family.site.services.log, run, by="ann")
    assert closed(family, run) == "stuck"
    resume(family.site.services.log, run, by="ann", by_hand=True)
    epoch = family.site.do(begun_again(family.site, run))
    assert family.site.unwind(run, epoch=epoch) == "succeeded"
    assert closed(family, run, epoch=epoch) == "compensated"
    assert family.depot.undone == ["reserve"]


def test_a_run_that_did_nothing_to_undo_is_not_stuck(tmp_path: Path, database: Database) -> None:
    family = Family(tmp_path, database, {"work": "steps:\n" + step("reserve", undo=False)})
    run = family.open("work")
    family.site.step(run, "reserve")
    request_cancel(family.site.services.log, run, by="ann")
    assert closed(family, run) == "failed"
    with pytest.raises(PermanentError, match="has ended"):
        request_cancel(family.site.services.log, run, by="ann")


@pytest.mark.parametrize("by", ["its parent", "a person"])
def test_a_child_that_is_to_be_undone_as_it_ends_is_undone_with_its_parent(
    tmp_path: Path, database: Database, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = "steps:\n" + step("pay") + "  - {id: deliver, run: work, timeout: 1h}\n"
    source = "steps:\n" + step("reserve") + step("pick")
    family = Family(tmp_path, database, {"parent": parent, "work": source})
    site, log, run = family.site, family.site.services.log, family.open("parent")
    site.step(run, "pay")
    child = family.begin(family.ask(run, "deliver"))
    done(family, child, "")
    request_cancel(log, run, by="ann")
    if by == "a person":
        request_cancel(log, child, by="ann")
        assert closed(family, child) == "stuck"
    else:
        withdraw = children.withdraw

        async def withdrawn(services: object, name: str, **how: str) -> bool:
            """As Airflow closes it, the moment after."""
            before = await withdraw(services, name, **how)  # type: ignore[arg-type]
            await close_run(site.services, WorkRef(run=name, step="close"), {})
            return before

        monkeypatch.setattr(children, "withdraw", withdrawn)
    assert family.finish(run).status == "compensated"
    assert site.state(child).status == "compensated"
    assert family.depot.undone == ["pick", "reserve", "pay"]


@pytest.mark.parametrize("each", ITEMS)
def test_a_run_whose_undoing_died_before_it_began_is_stuck_and_undone_once_it_is_resumed(
    tmp_path: Path, database: Database, each: str
) -> None:
    family = made(tmp_path, database, each)
    services, run = family.site.services, family.open("work")
    family.site.step(run, "reserve")
    ref = WorkRef(run=run, step="close")
    tasks: dict[str, str | None] = {"pick.items" if each and "all" not in each else "pick": "failed"}
    family.site.do(close_run(services, ref, {**tasks, "unwind.begin": "failed"}))
    assert family.site.state(run).status == "stuck"
    [notice] = services.notices.outbox.entries()
    assert "The task that begins to undo it died." in notice.text
    resume(services.log, run, by="ann")
    epoch = family.site.do(begun_again(family.site, run))
    assert family.site.unwind(run, tasks, epoch=epoch) == "succeeded"
    assert closed(family, run, epoch=epoch) == "compensated"
    assert family.depot.undone == ["reserve"]


def test_what_is_cancelled_after_its_end_is_written_is_not_called_stuck(tmp_path: Path, database: Database) -> None:
    """The task that closes died after it had written so, and is performed again."""
    family = made(tmp_path, database, "")
    services, run = family.site.services, family.open("work")
    done(family, run, "")
    assert closed(family, run) == "succeeded"
    services.log.append(run, [NewEvent(type=EventType.RUN_CANCEL_REQUESTED, data={"reason": None}, actor="ann")])
    assert closed(family, run) == "succeeded"
    assert (family.types(run).count("run.stuck"), services.notices.outbox.entries()) == (0, [])


def test_a_wish_to_cancel_a_run_that_has_just_ended_is_refused(tmp_path: Path, database: Database) -> None:
    """It ends between what the wish has read and what it writes."""
    family = made(tmp_path, database, "")
    run = family.open("work")
    done(family, run, "")

    class Meanwhile(RunLog):
        def append(self, stream: str, events: Sequence[NewEvent], **more: Any) -> list[Event]:
            assert closed(family, run) == "succeeded"
            return super().append(stream, events, **more)

    with pytest.raises(PermanentError, match=r"has ended \(succeeded\)"):
        request_cancel(Meanwhile(database, lambda: MASTER), run, by="ann")
    assert "run.cancel_requested" not in family.types(run)
