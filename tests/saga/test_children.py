"""Promises of runs within runs: what a run asked for is undone with it, once, or it is stuck and says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muster.database import Database
from muster.events.audit import trail
from muster.events.model import EventType, NewEvent
from muster.events.replay import replay
from muster.events.snapshots import dump, restore
from muster.execution.run_executions import begin_epoch
from muster.operations.cancelling import open_children, request_cancel
from muster.operations.debugging import debug
from muster.operations.redoing import order, plan_redrive, plan_restart
from muster.runs.children import withdraw
from muster.saga import children
from muster.saga.resuming import resume
from support.children import SKILLS, Family, step
from support.reconciled import begun_again

CHILD = "steps:\n" + step("pick") + step("pack") + step("weigh", undo=False)
PARENT = "steps:\n" + step("reserve") + "  - {id: deliver, run: child}\n" + step("bill")


@pytest.fixture
def family(tmp_path: Path, database: Database) -> Family:
    return Family(tmp_path, database, {"parent": PARENT, "child": CHILD})


def broken(family: Family) -> tuple[str, str]:
    """A run whose last step broke after its child had succeeded, not undone yet; and the child."""
    family.depot.broken.add("bill")
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = family.child(run, "deliver")
    family.site.step(run, "bill")
    return run, child


def test_what_a_child_did_is_undone_with_its_parent_in_its_own_log_and_order(family: Family) -> None:
    run, child = broken(family)
    state = family.finish(run)
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


def test_a_run_that_succeeds_leaves_its_children_alone(family: Family) -> None:
    run = family.open("parent")
    state = family.play(run)
    assert state.status == "succeeded"
    assert family.site.state(state.children[0]).status == "succeeded"
    assert family.depot.undone == []


def test_undoing_that_dies_in_the_middle_of_a_child_goes_on_there(family: Family) -> None:
    run, child = broken(family)
    family.depot.dies.add("pack")
    with pytest.raises(family.depot.Death):
        family.site.unwind(run)
    assert family.site.state(child).status == "succeeded"
    assert family.finish(run).status == "compensated"
    # What died after it had undone, and before anybody knew, is undone by the compensation's own key; nothing else is.
    assert family.depot.undone == ["bill", "pack", "pack", "pick", "reserve"]
    assert family.types(child).count("run.undo_requested") == 1
    assert family.types(child).count("saga.unwinding") == 1


def test_undoing_twice_undoes_a_child_once(family: Family) -> None:
    run, child = broken(family)
    family.finish(run)
    before = family.types(child)
    assert family.site.unwind(run) == "succeeded"
    assert family.types(child) == before


def test_children_of_children_are_undone_with_them(tmp_path: Path, database: Database) -> None:
    middle = "steps:\n" + step("pick") + "  - {id: below, run: child}\n"
    parent = "steps:\n  - {id: deliver, run: middle}\n" + step("bill")
    family = Family(tmp_path, database, {"parent": parent, "middle": middle, "child": "steps:\n" + step("pack")})
    family.depot.broken.add("bill")
    run = family.open("parent")
    state = family.play(run)
    (middle_run,) = state.children
    (lowest,) = family.site.state(middle_run).children
    assert [family.site.state(each).status for each in (run, middle_run, lowest)] == ["compensated"] * 3
    assert family.depot.undone == ["bill", "pack", "pick"]


def test_a_child_that_cannot_be_undone_makes_both_stuck_until_a_person_has_acted(family: Family) -> None:
    run, child = broken(family)
    family.depot.broken.add("undo pick")
    state = family.finish(run)
    assert (state.status, family.site.state(child).status) == ("stuck", "stuck")
    assert state.reason is not None
    assert f"The run {child} is stuck" in state.stuck.error["message"]  # type: ignore[union-attr]
    assert f"muster resume {child}" in state.stuck.error["remedy"]  # type: ignore[union-attr]
    assert "reserve" not in family.depot.undone

    family.depot.broken.clear()
    log = family.site.services.log
    resume(log, run, by="ada")
    family.site.unwind(run, epoch=1, only=["deliver", "reserve"])
    family.site.close(run, epoch=1)
    assert family.site.state(run).status == "stuck"  # the child comes first

    resume(log, child, by="ada", note="mended")
    # What Airflow does then: the child's own tasks that undo it, in its next epoch.
    assert family.finish(child, epoch=2).status == "compensated"
    resume(log, run, by="ada")
    family.site.unwind(run, epoch=2, only=["deliver", "reserve"])
    family.site.close(run, epoch=2)
    assert family.site.state(run).status == "compensated"
    assert family.depot.undone == ["bill", "pack", "pick", "reserve"]


SHIP = (
    "steps:\n" + step("pick") + "  - {id: agreed, human: {ask: 'Ship?', assignees: [boss]}}\n"
    "  - {id: ship, skill: depot.act, with: {name: ship}, irreversible: true}\n"
)


def shipped(family: Family, run: str) -> str:
    """A child that did what nothing can undo, and is still open."""
    child = family.begin(family.ask(run, "deliver"))
    family.site.step(child, "pick")
    family.site.approve(child, "agreed", by="boss")
    family.site.step(child, "ship")
    return child


@pytest.mark.parametrize("middle", [False, True])
def test_what_nothing_can_undo_in_a_child_makes_its_parent_stuck_before_anything_is_undone(
    tmp_path: Path, database: Database, middle: bool
) -> None:
    between = "steps:\n" + step("reserve") + "  - {id: deliver, run: child}\n"
    parent = PARENT.replace("run: child", "run: middle") if middle else PARENT
    family = Family(tmp_path, database, {"parent": parent, "child": SHIP, "middle": between})
    family.depot.broken.add("bill")
    run = family.open("parent")
    family.site.step(run, "reserve")
    between_run = family.begin(family.ask(run, "deliver")) if middle else None
    if between_run:
        family.site.step(between_run, "reserve")
    child = shipped(family, between_run or run)
    assert family.finish(child).status == "succeeded"
    if between_run:
        family.follow(between_run, "deliver")
        family.finish(between_run)
    family.follow(run, "deliver")
    family.site.step(run, "bill")
    state = family.finish(run)
    assert (state.status, family.site.state(child).status) == ("stuck", "succeeded")
    assert f"ship of {child} cannot be undone" in state.stuck.error["message"]  # type: ignore[union-attr]
    assert family.depot.undone == []
    # A person undid it outside, and says so once; the rest is undone, here and below.
    resume(family.site.services.log, run, by="ada", by_hand=True)
    assert family.finish(run, epoch=1).status == "compensated"
    runs = [child, *([between_run] if between_run else [])]
    assert {family.site.state(each).status for each in runs} == {"compensated"}
    assert family.depot.undone == ["bill", "pick", "reserve", *(["reserve"] if middle else [])]


@pytest.mark.parametrize("answered", [False, True])
def test_a_child_that_is_stuck_at_what_nothing_can_undo_comes_before_its_parent(
    tmp_path: Path, database: Database, answered: bool
) -> None:
    child_source = SHIP + step("label")
    family = Family(tmp_path, database, {"parent": PARENT, "child": child_source})
    family.depot.broken.add("label")
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = shipped(family, run)
    family.site.step(child, "label")
    assert family.finish(child).status == "stuck"
    assert family.follow(run, "deliver").status == "failed"
    if not answered:
        assert family.finish(run).status == "stuck"
        assert family.depot.undone == []
    resume(family.site.services.log, child, by="ada", by_hand=not answered)
    assert family.finish(child, epoch=family.site.do(begun_again(family.site, child))).status == "compensated"
    if not answered:
        resume(family.site.services.log, run, by="ada")
    # Nobody is asked again about what a person has answered for.
    assert family.finish(run, epoch=0 if answered else 1).status == "compensated"
    assert family.site.state(child).status == "compensated", "it is left as it is"
    assert family.depot.undone == ["label", "pick", "reserve"]


def test_a_child_that_failed_and_undid_itself_is_left_as_it_is(family: Family) -> None:
    family.depot.broken.add("pack")
    run = family.open("parent")
    state = family.play(run)
    (child,) = state.children
    assert state.status == "compensated"
    assert family.depot.undone == ["pack", "pick", "reserve"]
    assert "run.undo_requested" not in family.types(child)


def test_what_is_left_of_a_child_that_failed_without_undoing_is_undone(tmp_path: Path, database: Database) -> None:
    child = "steps:\n" + step("pick") + "  - {id: tell, notify: [{slack: '#a', text: '{{ steps.pick[7].x }}'}]}\n"
    family = Family(tmp_path, database, {"parent": PARENT, "child": child})
    run = family.open("parent")
    state = family.play(run)
    assert state.step("deliver").whole.error["message"].startswith(f"The run {state.children[0]} ended failed")  # type: ignore[index]
    assert state.status == "compensated"
    assert family.depot.undone == ["pick", "reserve"]


def test_a_child_that_is_still_open_is_cancelled_and_waited_for(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LONGEST_UNDOING", 0.2)
    monkeypatch.setattr(children, "FIRST_LOOK", 0.01)
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = family.begin(family.ask(run, "deliver"))
    family.site.step(child, "pick")
    log = family.site.services.log
    request_cancel(log, run, by="ada")
    assert list(open_children(log, run)) == [child]
    state = family.finish(run)
    assert state.status == "stuck"
    assert "has not ended within" in state.stuck.error["message"]  # type: ignore[union-attr]
    # Its next step sees the wish, and it undoes itself.
    assert family.site.step(child, "pack").reason == "cancelled"
    assert family.finish(child).status == "compensated"
    assert list(open_children(log, run)) == []
    resume(log, run, by="ada")
    family.site.unwind(run, epoch=1, only=["deliver", "reserve"])
    family.site.close(run, epoch=1)
    assert family.site.state(run).status == "compensated"
    assert family.depot.undone == ["pick", "reserve"]


LETTERS = "steps:\n" + step("pick").replace("id: pick,", "id: pick, each: [1, 2], when: '{{ item }}',")


def half_done(family: Family) -> tuple[str, str]:
    """A run whose child lost one of its items; the parent has not been undone yet."""
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = family.begin(family.ask(run, "deliver"))
    family.depot.broken.add("pick")
    for slot in range(family.site.expand(child, "pick")):
        family.site.step(child, "pick", slot)
        family.depot.broken.clear()
    assert family.finish(child).status == "failed"
    return run, child


def test_a_child_whose_redrive_is_ordered_is_waited_for_before_it_is_undone(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LONGEST_UNDOING", 0.2)
    monkeypatch.setattr(children, "FIRST_LOOK", 0.01)
    family = Family(tmp_path, database, {"parent": PARENT, "child": LETTERS})
    run, child = half_done(family)
    log = family.site.services.log
    order(log, plan_redrive(log, family.site.services.definitions, child, {"pick": [0]}, by="ada"))
    assert family.follow(run, "deliver").status == "failed"
    state = family.finish(run)
    assert state.status == "stuck"
    assert "has not ended within" in state.stuck.error["message"]  # type: ignore[union-attr]
    assert family.depot.undone == []
    # Airflow performs the redrive; its run knows that it is no longer wanted, and undoes itself.
    family.site.expand(child, "pick", epoch=1)
    family.site.step(child, "pick", 0, epoch=1)
    assert family.finish(child, epoch=1).status == "compensated"
    resume(log, run, by="ada")
    assert family.finish(run, epoch=1).status == "compensated"
    assert family.depot.undone == ["pick", "pick", "reserve"]


@pytest.mark.parametrize("again", ["redriven", "restarted"])
def test_cancelling_a_run_reaches_children_that_are_done_again(tmp_path: Path, database: Database, again: str) -> None:
    top = "steps:\n  - {id: deliver, run: parent}\n"
    family = Family(tmp_path, database, {"top": top, "parent": PARENT, "child": LETTERS})
    log, definitions = family.site.services.log, family.site.services.definitions
    first = family.open("top")
    run = family.begin(family.ask(first, "deliver"))
    family.site.step(run, "reserve")
    child = family.begin(family.ask(run, "deliver"))
    family.depot.broken.add("pick")
    for slot in range(family.site.expand(child, "pick")):
        family.site.step(child, "pick", slot)
        family.depot.broken.clear()
    assert list(open_children(log, first)) == [run, child]
    family.finish(child)
    family.site.close(run)
    assert list(open_children(log, first)) == []
    plan = (
        plan_redrive(log, definitions, child, {"pick": [0]}, by="ada")
        if again == "redriven"
        else plan_restart(log, definitions, child, "pick", by="ada")
    )
    order(log, plan)
    assert list(open_children(log, first)) == [child]
    request_cancel(log, child, by="ada")
    assert family.site.state(child).cancelled_by == "ada"


@pytest.mark.parametrize("undone", [False, True], ids=["cleared by hand", "undone with its parent"])
def test_cancelling_a_run_reaches_children_of_which_tasks_were_cleared_by_hand_and_none_that_is_undone(
    family: Family, undone: bool
) -> None:
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = family.begin(family.ask(run, "deliver"))
    family.site.step(child, "pick")
    family.finish(child)
    log = family.site.services.log
    assert list(open_children(log, run)) == []
    started = None if undone else "2026-11-22T00:00:00.000000Z"
    begun = begin_epoch(family.site.services, child, "begun/x", started, undone_with=run if undone else None)
    assert family.site.do(begun).number == 1
    assert list(open_children(log, run)) == ([] if undone else [child])


@pytest.mark.parametrize("keeps", [True, False])
def test_a_child_that_was_withdrawn_is_withdrawn_again_once_a_person_has_it_done_again(
    family: Family, keeps: bool
) -> None:
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = family.begin(family.ask(run, "deliver"))
    services = family.site.services
    family.site.do(withdraw(services, child, by=run, reason="no more"))
    how = EventType.RUN_CONTINUED if keeps else EventType.RUN_RESTARTED
    services.log.append(child, [NewEvent(type=how, data={} if keeps else {"from": "pick"}, actor="ada")])
    for _ in range(2):
        assert not family.site.do(withdraw(services, child, by=run, reason="no more"))
    assert family.types(child).count("run.cancel_requested") == (1 if keeps else 2)
    assert family.site.state(child).cancelled_by == run


def test_a_child_that_never_began_never_does(family: Family) -> None:
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = family.ask(run, "deliver")
    request_cancel(family.site.services.log, run, by="ada")
    assert family.finish(run).status == "compensated"
    undone = [event for event in family.site.services.log.read(run) if event.type == "compensation.succeeded"]
    assert undone[0].data["output"] == {child.run: "never begun"}
    # Airflow starts it all the same, when somebody unpauses it.
    state = family.play(family.begin(child))
    assert (state.status, family.depot.done) == ("failed", [f"{run}/reserve"])


def test_a_run_done_again_asks_for_another_child_and_both_are_undone(family: Family) -> None:
    run, first = broken(family)
    # `muster restart RUN --from deliver`, in its next epoch.
    second = family.child(run, "deliver", epoch=1)
    assert first != second
    family.site.step(run, "bill", epoch=1)
    assert family.finish(run, epoch=1).status == "compensated"
    assert [family.site.state(each).status for each in (first, second)] == ["compensated", "compensated"]
    log = family.site.services.log
    asked = [next(log.read(each, types=["run.undo_requested"])) for each in (second, first)]
    assert asked[0].position < asked[1].position
    assert family.depot.undone == ["bill", "pack", "pick", "pack", "pick", "reserve"]


@pytest.mark.parametrize("again", ["restarted", "resumed"])
def test_a_child_that_was_stuck_is_withdrawn_where_a_person_has_it_done_again(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """Nothing of it is half undone: else it could not be done again."""
    monkeypatch.setattr(children, "LONGEST_UNDOING", 0.2)
    monkeypatch.setattr(children, "FIRST_LOOK", 0.01)
    family = Family(tmp_path, database, {"parent": PARENT, "child": SHIP + step("pack")})
    family.depot.broken.add("pack")
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = shipped(family, run)
    family.site.step(child, "pack")
    assert family.finish(child).status == "stuck"
    family.follow(run, "deliver")
    family.depot.broken.clear()
    log = family.site.services.log
    if again == "resumed":
        resume(log, child, by="ada")
    else:
        order(log, plan_restart(log, family.site.services.definitions, child, "pick", by="ada"))
        # What nothing can undo is asked about first.
        assert family.finish(run).status == "stuck"
        resume(log, run, by="ada")
    assert family.finish(run, epoch=int(again == "restarted")).status == "stuck"
    assert family.site.state(child).cancelled_by == (run if again == "restarted" else None)


def test_every_child_of_a_fan_out_is_undone(tmp_path: Path, database: Database) -> None:
    parent = "steps:\n  - {id: deliver, each: [1, null, 3], run: child}\n" + step("bill")
    family = Family(tmp_path, database, {"parent": parent, "child": CHILD})
    family.depot.broken.add("bill")
    run = family.open("parent")
    assert family.site.expand(run, "deliver") == 2
    for slot in range(2):
        family.play(family.begin(family.ask(run, "deliver", slot)))
        assert family.follow(run, "deliver", slot).status == "succeeded"
    family.site.step(run, "bill")
    state = family.finish(run)
    assert state.status == "compensated"
    assert sorted(state.step("deliver").items) == [0, 2]
    assert len(set(state.children)) == 2
    assert sorted(family.depot.undone) == ["bill", "pack", "pack", "pick", "pick"]


def test_a_child_is_undone_by_the_skills_of_its_own_version(family: Family, tmp_path: Path) -> None:
    family.depot.broken.add("bill")
    run = family.open("parent")
    family.site.step(run, "reserve")
    asked = family.ask(run, "deliver")
    family.play(family.begin(asked, version="v1"))
    family.follow(run, "deliver")
    family.site.step(run, "bill")
    pinned = tmp_path / "v1" / "skills"
    pinned.mkdir(parents=True)
    (pinned / "depot.py").write_text(SKILLS.replace('return "undone"', 'return "undone as in v1"'))
    family.site.services = replace(family.site.services, pinned={"v1": pinned}.get)
    assert family.finish(run).status == "compensated"
    outputs = [
        [
            event.data["output"]
            for event in family.site.services.log.read(each)
            if event.type == "compensation.succeeded"
        ]
        for each in (asked.run, run)
    ]
    assert outputs == [["undone as in v1"] * 2, ["undone", {asked.run: "compensated"}, "undone"]]


def test_replay_and_debug_find_nothing_wrong_with_runs_within_runs(family: Family) -> None:
    run, child = broken(family)
    family.finish(run)
    for each in (run, child):
        replayed = replay(family.site.services.database, each)
        assert (replayed.differences, replayed.state.status) == ([], "compensated")
        definition = family.definitions[each.partition("/")[0]]
        events = list(family.site.services.log.read(each))
        assert debug(events, definition, definition, family.site.services).differences == []
    assert restore(dump(family.site.state(run)) or "") == family.site.state(run)


def test_the_trail_of_a_run_that_was_withdrawn_before_it_began_can_be_checked(family: Family) -> None:
    run = family.open("parent")
    family.site.step(run, "reserve")
    child = family.ask(run, "deliver")
    family.site.do(withdraw(family.site.services, child.run, by=run, reason="no more"))
    database = family.site.services.database
    assert replay(database, child.run).state.status == "unknown"
    family.play(family.begin(child))
    assert replay(database, child.run).differences == []
    lines = list(trail(database, child.run, None))
    assert lines[0]["automation"] == "child"
    assert [line["what"] for line in lines[1:3]] == ["run.cancel_requested", "run.opened"]
