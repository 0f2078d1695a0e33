"""Runs that died after a person had them begun again go on as well, and nothing is done that nobody wanted done."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from muster.database import Database
from muster.events.lifecycle import LIFECYCLE_EVENTS, RunLifecycle
from muster.events.model import EventType, NewEvent
from muster.execution.references import WorkRef
from muster.execution.rerun_scope import preserved_steps_of
from muster.execution.view import definition_of
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_restart
from muster.saga import unwinding
from muster.saga.resuming import resume
from support.depot import Depot
from support.reconciled import SKILLS, UNDONE, FakeAirflow, begun_again, found, performed_whole, told
from support.runs import Site

pytestmark = pytest.mark.skills(depot=SKILLS)

APART = """automation: apart
steps:
  - {id: one, skill: depot.act, with: {name: one}}
  - {id: two, after: [], skill: depot.act, with: {name: two}}
"""


@pytest.fixture
def depot(tmp_path: Path, database: Database) -> Depot:
    return Depot(tmp_path, database)


def test_a_restarted_run_that_died_does_only_what_the_restart_was_of(depot: Depot) -> None:
    run = depot.run(1)
    plan = depot.restart(run, "then")
    depot.perform(run, plan, steps=["then"])
    depot.called()
    airflow = FakeAirflow("failed")
    (restarted,) = found(depot.site, airflow)
    assert (restarted.mended, restarted.person, len(airflow.restarted)) == (True, False, 1)
    ended = performed_whole(depot.site, run)
    assert depot.called() == ["last last"], "the first steps stand as they were, and `then` had been done again"
    assert set(ended.values()) == {"succeeded", "skipped"}
    assert (ended["first"], ended["each_3"], ended["unwind"]) == ("succeeded", "succeeded", "skipped")
    assert depot.site.services.queries.run(run).status == "succeeded"
    assert [event.data["epoch"] for event in depot.site.services.log.read(run, types=[EventType.RUN_CLOSED])] == [0, 1]
    assert depot.site.services.log.verify(run) is None


def test_it_may_die_again(depot: Depot) -> None:
    run = depot.run(1)
    depot.perform(run, depot.restart(run, "each"), steps=["each"])
    depot.called()
    airflow = FakeAirflow("failed")
    for number in range(3):
        assert found(depot.site, airflow)[0].mended
        performed_whole(depot.site, run, until="then")
        assert depot.called() == [], f"death {number}"
    (undone,) = found(depot.site, airflow)
    assert "what it did is undone" in undone.message
    performed_whole(depot.site, run)
    assert depot.called() == []
    assert depot.site.services.queries.run(run).status != "open"

    depot.perform(run, depot.restart(run, "then"), epoch=2, steps=["then"])
    assert depot.called() == [f"then {name}" for name in depot.names]
    assert found(depot.site, airflow)[0].message.endswith("it goes on where it stopped"), "counted afresh"


@pytest.mark.parametrize("pack", [1, 2, "all"])
def test_a_redrive_that_died_does_the_dead_letters_and_no_other_item(depot: Depot, pack: int | str) -> None:
    run = depot.run(pack, "b")
    depot.redrive(run, each=[1])
    assert depot.site.do(begun_again(depot.site, run)) == 1
    assert found(depot.site, FakeAirflow("failed"))[0].mended
    performed_whole(depot.site, run)
    assert depot.called() == ["each b", "last last", "then b"]
    state = depot.site.state(run)
    assert (state.status, state.step("each").output) == ("succeeded", depot.names)
    # What was redriven has its outcome in another execution than the other items: all of them stand.
    depot.restart(run, "last")
    assert found(depot.site, FakeAirflow("success"))[0].mended
    performed_whole(depot.site, run)
    assert depot.called() == ["last last"]
    assert depot.site.state(run).step("each").output == depot.names


@pytest.mark.parametrize("state", ["success", "failed"])
def test_what_a_person_ordered_and_airflow_never_heard_of_is_carried_out(depot: Depot, state: str) -> None:
    run = depot.run(1)
    order(
        depot.site.services.log,
        plan_restart(depot.site.services.log, depot.site.services.definitions, run, "last", by="ada"),
    )
    airflow = FakeAirflow(state, tasks={"close": "success"})
    assert found(depot.site, airflow, later=timedelta(minutes=1)) == []
    (carried_out,) = found(depot.site, airflow)
    assert (carried_out.mended, len(airflow.restarted)) == (True, 1)
    performed_whole(depot.site, run)
    assert depot.called() == ["last last"]
    assert depot.site.state(run).status == "succeeded"


def test_what_airflow_never_takes_is_given_up_after_a_day_and_can_be_ordered_again(depot: Depot) -> None:
    run = depot.run(1)
    depot.restart(run, "then")
    airflow = FakeAirflow("failed")
    airflow.refuses = True
    assert not found(depot.site, airflow)[0].mended
    (given_up,) = found(depot.site, airflow, later=timedelta(days=2))
    assert "came to nothing" in given_up.message
    plan = depot.restart(run, "last")
    depot.perform(run, plan, epoch=depot.site.do(begun_again(depot.site, run)), steps=["last"])
    assert depot.called() == ["last last"]
    log, definition = depot.site.services.log, depot.site.do(definition_of(depot.site.services, run))
    last = RunLifecycle.of(log.read(run, types=LIFECYCLE_EVENTS)).last
    assert preserved_steps_of(definition, last) == {"first", "each", "then"}


def test_a_run_that_died_while_it_was_resumed_begins_no_step(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    data = {"step": "two", "index": None, "epoch": 0}
    site.services.log.append(run, [NewEvent(type=EventType.STEP_STARTED, data=data)])
    (site.include / "skills" / "depot.py").write_text(
        SKILLS.replace("    return context.step", '    raise PermanentError("undone it is not")').replace(
            "from muster.skills", "from muster.errors import PermanentError\nfrom muster.skills", 1
        )
    )
    states = {"two": "failed"}
    assert site.unwind(run, states) == "failed"
    site.close(run, states)
    assert site.state(run).status == "stuck"
    site.skills("depot", SKILLS)
    resume(site.services.log, run, by="admin")
    assert site.do(begun_again(site, run)) == 1

    (restarted,) = found(site, FakeAirflow("failed"))
    assert restarted.mended
    ended = performed_whole(site, run)
    assert ended == {"one": "succeeded", "two": "failed", "unwind": "succeeded", "close": "failed"}
    assert site.services.queries.run(run).status == "compensated"
    assert [event.data["step"] for event in site.services.log.read(run, types=[EventType.STEP_STARTED])] == [
        "one",
        "two",
    ]


def test_what_was_cleared_by_hand_is_told_from_what_airflow_says(depot: Depot) -> None:
    run = depot.run(1)
    depot.site.do(begun_again(depot.site, run))
    tasks = {
        "first": "success",
        "each.items": "success",
        **{f"each_{slot}": "success" for slot in range(5)},
        "then.items": "failed",
        **{f"then_{slot}": "upstream_failed" for slot in range(5)},
        "last": None,
        "close": "failed",
    }
    assert found(depot.site, FakeAirflow("failed", tasks=tasks))[0].mended
    performed_whole(depot.site, run)
    assert depot.called() == ["last last", *(f"then {name}" for name in depot.names)]


def test_what_began_after_it_was_cleared_by_hand_is_not_left(depot: Depot) -> None:
    run = depot.run(1)
    epoch = depot.site.do(begun_again(depot.site, run))
    depot.site.step(run, "last", epoch=epoch)
    depot.called()
    assert found(depot.site, FakeAirflow("failed", tasks={"first": "success", "last": "success"}))[0].mended
    ended = performed_whole(depot.site, run)
    assert (depot.called(), ended["last"]) == ([], "succeeded")


def test_some_items_of_a_list_cleared_by_hand_are_left_to_a_person(depot: Depot) -> None:
    run = depot.run(1)
    depot.site.do(begun_again(depot.site, run))
    tasks = {"each_0": "success", "each_1": "failed", "close": "failed"}
    airflow = FakeAirflow("failed", tasks=tasks)
    (closed,) = found(depot.site, airflow)
    assert "cleared by hand" in closed.message
    assert (closed.person, airflow.restarted, depot.site.state(run).status) == (True, [], "failed")
    assert len(told(depot.site)) == 1


def test_tasks_lost_in_a_later_execution_are_performed_again_in_it(depot: Depot) -> None:
    run = depot.run(1)
    plan = depot.restart(run, "then")
    assert depot.site.do(begun_again(depot.site, run)) == 1
    depot.perform(run, plan, steps=["then"])
    depot.called()
    airflow = FakeAirflow("running", tasks={"last": "deferred"})
    airflow.clears = False
    assert [(each.kind, each.mended) for each in found(depot.site, airflow)] == [("task", True)]
    airflow.task_states = {"first": "deferred", "each_2": "deferred"}
    assert [each.mended for each in found(depot.site, airflow)] == [True], "what stands takes no time"
    assert len(airflow.restarted) == 2
    airflow.task_states = {"then_0": "deferred"}
    assert [each.mended for each in found(depot.site, airflow)] == [True], "it has ended"
    again = {"step": "then", "index": 0, "kind": "skill", "attempt": 2, "epoch": 2}
    assert depot.site.do(begun_again(depot.site, run)) == 2
    depot.site.services.log.append(run, [NewEvent(type=EventType.STEP_STARTED, data=again)])
    assert found(depot.site, airflow) == [], "it has begun, and nobody can say how long it may take"


def test_a_step_that_stands_and_never_ended_is_not_begun(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    version = site.services.log.version(run)
    outcome = site.step(run, "two", epoch=1, is_preserved=True)
    assert (outcome.status, "does not include it" in str(outcome.reason)) == ("failed", True)
    assert site.services.log.version(run) == version


def test_undoing_goes_on_where_it_died_in_a_later_execution(site: Site) -> None:
    run = site.run(site.definition(UNDONE))
    order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, "two", by="admin"))
    assert site.do(begun_again(site, run)) == 1
    site.services.log.append(
        run, [NewEvent(type=EventType.RUN_CANCEL_REQUESTED, data={"reason": "enough"}, actor="admin", key="cancel@1")]
    )
    begun = site.do(unwinding.begin(site.services, WorkRef(run=run, step="begin", epoch=1), {}))
    assert begun.status == "succeeded"
    assert found(site, FakeAirflow("failed"))[0].mended
    ended = performed_whole(site, run)
    assert (ended["one"], ended["unwind"]) == ("succeeded", "succeeded")
    assert site.services.queries.run(run).status == "compensated"


def test_what_was_to_be_done_again_and_died_without_a_word_does_not_count_as_done(depot: Depot) -> None:
    run = depot.run(1)
    depot.restart(run, "first")
    epoch = depot.site.do(begun_again(depot.site, run))
    states = {"first": "failed", "each.items": "success"}
    assert depot.site.expand(run, "each", epoch=epoch) == 0
    assert depot.site.step(run, "last", epoch=epoch).status == "skipped"
    assert depot.called() == [], "what comes after it has nothing to go on with"
    closed = depot.site.close(run, states, epoch=epoch)
    assert (closed.status, closed.reason) == ("failed", "step first stopped without an outcome")


def test_a_list_that_was_to_be_laid_out_again_and_was_not_does_not_count_as_done(depot: Depot) -> None:
    run = depot.run(1)
    depot.restart(run, "each")
    epoch = depot.site.do(begun_again(depot.site, run))
    assert depot.site.expand(run, "then", epoch=epoch) == 0
    assert depot.site.step(run, "last", epoch=epoch).status == "skipped"
    assert depot.called() == []
    states = {"each.items": "failed", "each": "upstream_failed"}
    assert depot.site.close(run, states, epoch=epoch).reason == "step each stopped without an outcome"


def test_an_item_that_was_redriven_and_died_without_a_word_does_not_count_as_done(depot: Depot) -> None:
    run = depot.run(1, "b")
    depot.redrive(run, each=[1])
    epoch = depot.site.do(begun_again(depot.site, run))
    assert depot.site.close(run, {"each_1": "failed", "then_1": "failed"}, epoch=epoch).status == "failed"


def test_what_stands_counts_as_it_did(depot: Depot) -> None:
    run = depot.run(1)
    depot.perform(run, depot.restart(run, "last"), steps=[])
    epoch = depot.site.do(begun_again(depot.site, run))
    assert depot.site.step(run, "last", epoch=epoch).status == "succeeded"
    # Airflow may have failed it after its outcome, in the first execution.
    assert depot.site.close(run, {"first": "failed"}, epoch=epoch).status == "succeeded"


def test_a_run_that_was_cancelled_and_is_restarted_half_has_not_succeeded(site: Site) -> None:
    run = site.open(site.definition(APART))
    site.step(run, "one")
    request_cancel(site.services.log, run, by="ann")
    assert site.step(run, "two").status == "skipped"
    site.close(run)
    order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, "one", by="ann"))
    epoch = site.do(begun_again(site, run))
    assert site.step(run, "one", epoch=epoch).status == "succeeded"
    closed = site.close(run, epoch=epoch)
    assert (closed.status, closed.reason) == (
        "failed", "step two was left out when the run was cancelled, and has not been done since"
    )  # fmt: skip
    order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, "two", by="ann"))
    epoch = site.do(begun_again(site, run))
    assert site.step(run, "two", epoch=epoch).status == "succeeded"
    assert site.close(run, epoch=epoch).status == "succeeded"


def stuck_and_resumed(site: Site) -> str:
    """A run whose undoing has stopped, and of which somebody has said that it goes on."""
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    error = {"class": "PermanentError", "message": "no", "remedy": None}
    stuck = {"step": "one", "index": None, "error": error, "epoch": 0}
    unwinding_ = {"reason": "no", "pieces": {"one": [None]}, "epoch": 0}
    events = [
        NewEvent(type=EventType.SAGA_UNWINDING, data=unwinding_, key="unwinding@0"),
        NewEvent(type=EventType.RUN_STUCK, data=stuck, key="stuck@0"),
    ]
    request_cancel(site.services.log, run, by="ann")
    site.services.log.append(run, events)
    site.close(run)
    resume(site.services.log, run, by="ann")
    return run


@pytest.mark.parametrize("asked_for", [False, True])
def test_an_order_that_is_given_up_leaves_its_number_to_the_next(site: Site, asked_for: bool) -> None:
    run = stuck_and_resumed(site)
    if asked_for:
        # Airflow was asked for it, and never began.
        assert "goes on where it stopped" in found(site, FakeAirflow("failed"))[0].message
        (given_up,) = found(site, FakeAirflow("failed"), later=timedelta(days=2))
        assert "came to nothing" in given_up.message
    else:
        (given_up,) = found(site, FakeAirflow(None))
        assert "does not know it any more" in given_up.message
    assert site.services.queries.run(run).status == "stuck"
    resume(site.services.log, run, by="ann")
    epoch = site.do(begun_again(site, run))
    assert (epoch, site.unwind(run, epoch=epoch)) == (1, "succeeded")
    site.close(run, epoch=epoch)
    assert site.services.queries.run(run).status == "compensated"


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("state", [None, "failed"])
def test_a_run_that_somebody_cancelled_and_that_died_before_it_was_undone_is_stuck(
    site: Site, state: str | None, by_hand: bool
) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    request_cancel(site.services.log, run, by="ann")
    if state is None:
        (closed,) = found(site, FakeAirflow(None))
    else:
        airflow = FakeAirflow(state)
        airflow.refuses = True
        assert not found(site, airflow)[0].mended
        (closed,) = found(site, airflow, later=timedelta(days=2))
    assert ("one was begun and is not undone" in closed.message, "muster resume" in closed.remedy) == (True, True)
    assert site.services.queries.run(run).status == "stuck"
    resume(site.services.log, run, by="ann", by_hand=by_hand)
    epoch = site.do(begun_again(site, run))
    assert (epoch, site.step(run, "two", epoch=epoch).status) == (1, "skipped")
    assert site.unwind(run, epoch=epoch) == "succeeded"
    site.close(run, epoch=epoch)
    assert site.services.queries.run(run).status == "compensated"
