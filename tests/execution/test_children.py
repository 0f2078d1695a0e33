"""Promises of a step that runs another automation: one run, whatever crashes; its end is the step's end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.errors import PermanentError, TransientError
from muster.events.model import NewEvent
from muster.events.queries import Queries
from muster.execution.performing import begin
from muster.execution.references import StepNotInScope, WorkRef
from muster.execution.run_executions import begin_epoch
from muster.execution.stopping import Stopped
from muster.operations.cancelling import open_children, request_cancel
from muster.operations.redoing import order, plan_restart
from muster.runs import following
from muster.runs.children import PARENT, Child, ask_for, settle, withdraw
from muster.runs.opening import InputsDoNotFit, Opening, open_run
from muster.saga import unwinding
from muster.saga.resuming import resume
from support.children import PACE, Family, step
from support.reconciled import FakeAirflow, begun_again, found

CHILD = "inputs: {name: {type: string, default: x}}\nsteps:\n" + step("pick") + step("pack")
PARENT_SOURCE = (
    "steps:\n" + step("reserve") + "  - {id: deliver, run: child, with: {name: '{{ steps.reserve }}'}, timeout: 1h}\n"
)


@pytest.fixture
def family(tmp_path: Path, database: Database) -> Family:
    return Family(tmp_path, database, {"parent": PARENT_SOURCE, "child": CHILD})


@pytest.fixture
def run(family: Family) -> str:
    opened = family.open("parent")
    family.site.step(opened, "reserve")
    return opened


def test_the_run_is_named_once_and_knows_who_asked_for_it(family: Family, run: str) -> None:
    first, second = family.ask(run, "deliver"), family.ask(run, "deliver")
    assert first == second
    assert family.types(run).count("child.requested") == 1
    assert first.inputs == {"name": "RESERVE"}
    family.begin(first)
    opened = next(iter(family.site.services.log.read(first.run)))
    assert opened.data["parent"] == {"run": run, "step": "deliver", "index": None}
    assert opened.data["inputs"] == {"name": "RESERVE"}
    assert opened.causation == first.requested.id
    state = family.site.state(first.run)
    assert (state.parent, state.requested_by) == (opened.data["parent"], "requester")


@pytest.mark.parametrize("conf", ["forged", {"run": 1, "key": "x"}, {"run": "parent/none", "key": "deliver/child@0"}])
def test_a_run_that_says_itself_who_asked_for_it_is_not_believed(family: Family, run: str, conf: Any) -> None:
    stranger = family.site.open(family.definitions["child"], **{PARENT: conf})
    assert family.site.state(stranger).parent is None
    child = family.ask(run, "deliver")
    other = family.site.open(family.definitions["child"], **{PARENT: child.conf[PARENT]})
    assert family.site.state(other).parent is None


def test_the_step_gives_back_what_the_runs_steps_gave_back(family: Family, run: str) -> None:
    child = family.child(run, "deliver")
    assert family.site.state(run).step("deliver").output == {
        "run": child,
        "automation": "child",
        "status": "succeeded",
        "counts": {"succeeded": 2, "failed": 0, "skipped": 0, "set_aside": 0, "undone": 0},
        "outputs": {"pick": "PICK", "pack": "PACK"},
    }
    assert family.site.state(run).step("deliver").whole.produced_by == "run"
    assert family.types(run).count("step.started") == 2  # of the two steps: who waits begins nothing anew


ASKS = "steps:\n  - {id: approve, EACHhuman: {ask: 'Well?', assignees: [lead]}}\n"
BELOW = "steps:\n  - {id: sub, EACHrun: child}\n" + step("final", undo=False, more=", when: '{{ CONDITION }}'")


def answer_below(family: Family, run: str, *, approved: bool) -> None:
    """Play a run, and what it asks for first, of which the last asks people."""
    first = family.definitions[run.partition("/")[0]].steps[0]
    for slot in range(family.site.expand(run, first.id)) if first.each is not None else [None]:
        if first.kind == "human":
            family.site.approve(run, first.id, by="lead", approved=approved, slot=slot)
        else:
            answer_below(family, family.begin(family.ask(run, first.id, slot)), approved=approved)
            family.follow(run, first.id, slot)
    if first.kind == "run":
        family.site.step(run, "final")
    family.site.close(run)


@pytest.mark.parametrize("approved", [False, True])
@pytest.mark.parametrize("condition", ["OUTPUTS.approve", "not not OUTPUTS.approve", "OUTPUTS.approve and true"])
@pytest.mark.parametrize("fan", ["", 'each: "{{ [1] }}", '])
def test_a_rejection_in_a_child_is_false_in_its_parent(
    tmp_path: Path, database: Database, fan: str, condition: str, approved: bool
) -> None:
    outputs = "steps.sub[0].outputs" if fan else "steps.sub.outputs"
    source = BELOW.replace("CONDITION", condition.replace("OUTPUTS", outputs)).replace("EACH", fan)
    family = Family(tmp_path, database, {"parent": source, "child": ASKS.replace("EACH", "")})
    answer_below(family, family.open("parent"), approved=approved)
    assert bool(family.depot.done) is approved


@pytest.mark.parametrize("approved", [False, True])
def test_so_is_one_further_below(tmp_path: Path, database: Database, approved: bool) -> None:
    parent = BELOW.replace("EACHrun: child", "run: middle").replace(
        "CONDITION", "steps.sub.outputs.sub.outputs.approve"
    )
    middle = BELOW.replace("EACH", "").replace("CONDITION", "false")
    family = Family(tmp_path, database, {"parent": parent, "middle": middle, "child": ASKS.replace("EACH", "")})
    answer_below(family, family.open("parent"), approved=approved)
    assert bool(family.depot.done) is approved


@pytest.mark.parametrize(
    ("condition", "goes_ahead"),
    [("ANSWERS[0]", False), ("ANSWERS | select", False), ("ANSWERS | length == 2", True), ("ANSWERS", False)],
)
def test_so_are_the_answers_about_each_item(
    tmp_path: Path, database: Database, condition: str, goes_ahead: bool
) -> None:
    source = BELOW.replace("EACH", "").replace("CONDITION", condition.replace("ANSWERS", "steps.sub.outputs.approve"))
    asks = ASKS.replace("EACH", 'each: "{{ [1, 2] }}", ')
    family = Family(tmp_path, database, {"parent": source, "child": asks})
    run = family.open("parent")
    answer_below(family, run, approved=False)
    assert bool(family.depot.done) is goes_ahead
    assert family.site.state(run).status == ("failed" if condition == "ANSWERS" else "succeeded")


def test_personal_data_stays_in_the_runs_own_log(tmp_path: Path, database: Database) -> None:
    personal = "personal: {subject: '{{ inputs.name }}', impersonal: pack}\n"
    family = Family(tmp_path, database, {"parent": PARENT_SOURCE, "child": personal + CHILD})
    run = family.open("parent")
    family.site.step(run, "reserve")
    family.child(run, "deliver")
    assert family.site.state(run).step("deliver").output["outputs"] == {"pack": "PACK"}


def test_a_run_that_does_not_succeed_fails_the_step_and_says_how_it_ended(family: Family, run: str) -> None:
    family.depot.broken.add("pack")
    child = family.child(run, "deliver")
    error = family.site.state(run).step("deliver").whole.error
    assert error is not None
    assert error["message"] == f"The run {child} ended compensated: step pack failed: pack is broken."
    assert error["remedy"] == f"`muster show {child}` tells what happened."


def test_a_run_that_is_stuck_fails_the_step_and_says_what_to_resume(family: Family, run: str) -> None:
    family.depot.broken.update({"pack", "undo pick"})
    child = family.child(run, "deliver")
    error = family.site.state(run).step("deliver").whole.error
    assert error is not None
    assert f"`muster resume {child}`" in error["remedy"]


OTHER = {"name": "mallory"}


def stranger(family: Family, child: Child, conf: Mapping[str, Any]) -> str:
    """Somebody who may trigger the child's Dag does so under the child's id, before the parent's process does."""
    opening = Opening(
        run=child.run,
        dag_id=child.automation,
        dag_run_id=child.dag_run_id,
        definition=family.definitions["child"],
        bundle_version=None,
        conf=conf,
        requested_by="mallory",
    )
    with suppress(InputsDoNotFit):  # Of a name that the child does not declare; its run is opened all the same.
        family.site.do(open_run(family.site.services, opening))
    return child.run


def forged(child: Child) -> dict[str, dict[str, Any]]:
    """What somebody may write who knows everything of the parent's log, of its child's conf, and of another child's."""
    parent = {name: value for name, value in child.conf[PARENT].items() if name != "proof"}
    kept = child.requested.data["proof"]
    return {
        "nothing": OTHER,
        "the parent, other inputs": {**OTHER, PARENT: parent},
        "the parent, the same inputs": {**child.inputs, PARENT: parent},
        "what the log keeps": {**child.inputs, PARENT: {**parent, "proof": kept}},
        "the proof, other inputs": {**child.conf, **OTHER},
        "the proof, an input more": {**child.conf, "more": 1},
        "no text": {**child.inputs, PARENT: {**parent, "proof": [kept]}},
    }


FORGED = [
    "nothing", "the parent, other inputs", "the parent, the same inputs", "what the log keeps",
    "the proof, other inputs", "the proof, an input more", "no text",
]  # fmt: skip


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("how", FORGED)
def test_a_run_that_somebody_else_has_started_by_the_childs_id_is_not_taken_for_it(
    family: Family, run: str, how: str, ended: bool
) -> None:
    """Between the request and the trigger the parent's process has died, and somebody was quicker than the next one."""
    child = family.ask(run, "deliver")
    other = stranger(family, child, forged(child)[how])
    assert family.site.state(other).parent is None
    if ended:
        family.play(other)
    again = family.ask(run, "deliver")
    assert again.run == other, "the next process asks for the same run, and Airflow says that it is there"
    outcome = family.follow(run, "deliver")
    assert outcome.status == "failed"
    assert outcome.reason is not None
    assert "somebody else has started it" in outcome.reason
    assert f"muster restart {run} --from deliver" in str(family.site.state(run).step("deliver").whole.error)

    before = family.types(other)
    assert list(open_children(family.site.services.log, run)) == []
    assert family.finish(run).status == "compensated"
    assert family.depot.undone == ["reserve"]
    assert family.types(other) == before, "it goes on, or stays, as if the parent had never been"
    if not ended:
        assert family.play(other).status == "succeeded"


def test_who_comes_after_the_child_was_opened_changes_nothing_of_it(family: Family, run: str) -> None:
    child = family.ask(run, "deliver")
    family.begin(child)
    stranger(family, child, OTHER)
    opened = next(iter(family.site.services.log.read(child.run)))
    assert opened.data["inputs"] == {"name": "RESERVE"}
    assert opened.data["requested_by"] == "requester"
    family.play(child.run)
    assert family.follow(run, "deliver").status == "succeeded"


def test_after_a_strangers_run_a_restart_asks_for_another_child_that_is_taken(family: Family, run: str) -> None:
    stranger(family, family.ask(run, "deliver"), OTHER)
    family.follow(run, "deliver")
    family.finish(run)
    assert family.site.do(begin_epoch(family.site.services, run, "begun/again", "again")).number == 1
    family.site.step(run, "reserve", epoch=1)
    child = family.ask(run, "deliver", epoch=1)
    family.play(family.begin(child))
    assert family.follow(run, "deliver", epoch=1).status == "succeeded"
    assert family.site.state(child.run).parent == {"run": run, "step": "deliver", "index": None}


def test_a_childs_name_and_proof_follow_from_nothing_that_others_know(family: Family, run: str, dsn: str) -> None:
    child = family.ask(run, "deliver")
    public = f"{run}/deliver@0"
    assert hashlib.sha256(public.encode()).hexdigest()[:24] not in child.run
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT data::text FROM events UNION ALL SELECT content::text FROM definitions")
        assert not [text for (text,) in rows if child.proof in text]
        connection.execute("UPDATE installation_secrets SET value = decode(repeat('00', 32), 'hex')")
    other = family.ask(run, "deliver")
    assert other.run == child.run, "the log's word counts"
    assert other.proof != child.proof
    with pytest.raises(PermanentError, match="not those it was asked for with"):
        _ = other.conf


@pytest.mark.parametrize("value", [1e20, -0.0, 1.0, 0.1, 12345678901234567890, {"a": [1e3, None, True, "ä\n"]}])
def test_inputs_that_went_through_airflows_database_are_the_same(
    tmp_path: Path, database: Database, dsn: str, value: Any
) -> None:
    sources = {
        "parent": "inputs: {given: {}}\nsteps:\n  - {id: deliver, run: child, with: {name: '{{ inputs.given }}'}}\n",
        "child": "inputs: {name: {}}\nsteps:\n" + step("pick"),
    }
    family = Family(tmp_path, database, sources)
    child = family.ask(family.open("parent", given=value), "deliver")
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT %s::jsonb", [json.dumps(child.conf)]).fetchone()
    assert row is not None
    stranger(family, child, row[0])
    assert family.site.state(child.run).parent is not None


def test_a_child_that_an_earlier_release_has_asked_for_is_still_taken(family: Family, run: str) -> None:
    earlier = {"step": "deliver", "index": None, "child": "child/child__1", "automation": "child", "epoch": 0}
    request = NewEvent(type="child.requested", data=earlier, key="deliver/child@0")
    family.site.services.log.append(run, [request])
    child = family.ask(run, "deliver")
    assert child.run == "child/child__1"
    parent = {"run": run, "step": "deliver", "index": None, "key": request.key}
    stranger(family, child, {**child.inputs, PARENT: parent})
    assert family.site.state(child.run).parent == {"run": run, "step": "deliver", "index": None}


def test_waiting_again_after_the_end_changes_nothing(family: Family, run: str) -> None:
    family.child(run, "deliver")
    before = family.types(run)
    assert family.follow(run, "deliver").status == "succeeded"
    assert family.types(run) == before


def later(family: Family, monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    now = family.site.services.clock() + by
    object.__setattr__(family.site.services, "clock", lambda: now)


def test_a_run_that_takes_too_long_is_cancelled(family: Family, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    child = family.begin(family.ask(run, "deliver"))
    later(family, monkeypatch, timedelta(hours=1))
    outcome = family.follow(run, "deliver")
    assert outcome.status == "failed"
    assert outcome.reason == f"The run {child} took longer than the step's timeout of 3600 s, and was cancelled."
    assert family.site.state(child).cancelled_by == run


def test_a_run_that_does_not_begin_is_given_up_and_never_does(family: Family, run: str) -> None:
    child = family.ask(run, "deliver")
    outcome = family.follow(run, "deliver", airflow="queued", pace=replace(PACE, begins=0.2))
    assert outcome.reason is not None
    assert "has not begun within 0.2 s" in outcome.reason
    state = family.play(family.begin(child))
    assert (state.status, state.step("pick").status) == ("failed", "skipped")


@pytest.mark.parametrize("why", ["as many as may go on at once", "another one has just begun"])
def test_a_run_that_waits_for_its_turn_is_waited_for(
    family: Family, run: str, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    async def queued(dag_id: str, run_id: str) -> str:
        return "queued"

    work_item, child = family.work_item(run, "deliver")
    if why.startswith("another"):
        time.sleep(3)
        family.site.open(family.definitions["child"])
    else:
        monkeypatch.setattr(following, "AT_ONCE", 1)
        family.site.open(family.definitions["child"])
        time.sleep(3)
    waiting = following._Wait(family.site.services, work_item, child, queued, following.Pace(begins=3))
    family.site.do(waiting._may_still_end(begun=False))
    assert family.types(child.run) == []


@pytest.mark.parametrize(
    ("airflow", "opened", "said"),
    [
        ("success", True, "Airflow ended it as success, without an end in the log"),
        ("failed", False, "Airflow ended it as failed, before it began"),
        (None, True, "Airflow does not know it any more, without an end in the log"),
    ],
)
def test_a_run_that_airflow_has_lost_is_not_waited_for(
    family: Family, run: str, airflow: str | None, opened: bool, said: str
) -> None:
    child = family.ask(run, "deliver")
    if opened:
        family.begin(child)
    outcome = family.follow(run, "deliver", airflow=airflow)
    assert outcome.reason is not None
    assert outcome.reason.startswith(said)


def looks(family: Family, run: str, *said: tuple[float, str]) -> int:
    """Looks at the run, each at a second after it was asked for and with what Airflow says then; how many were made."""
    work_item, child = family.work_item(run, "deliver")
    now, made = [(0.0, "running")], 0

    async def airflow(dag_id: str, run_id: str) -> str:
        return now[0][1]

    object.__setattr__(family.site.services, "clock", lambda: child.asked_at + timedelta(seconds=now[0][0]))
    waiting = following._Wait(family.site.services, work_item, child, airflow, following.Pace())
    for look in said:
        now[0] = look
        try:
            family.site.do(waiting._may_still_end(begun=True))
        except PermanentError:
            break
        made += 1
    return made


def test_a_run_that_died_with_its_machine_is_waited_for_until_the_reconciler_had_its_chance(
    family: Family, run: str
) -> None:
    family.begin(family.ask(run, "deliver"))
    every_minute = [(float(at), "failed") for at in range(60, 3600, 60)]
    # For 25 minutes, and then it must be so at two looks.
    assert looks(family, run, *every_minute) == 26
    child = family.ask(run, "deliver").run
    assert family.site.state(child).cancelled_by == run


def test_a_run_that_died_and_goes_on_may_die_again(family: Family, run: str) -> None:
    child = family.begin(family.ask(run, "deliver"))
    said = [(60.0, "failed"), (1200.0, "failed"), (1260.0, "running"), (1320.0, "failed"), (2700.0, "failed")]
    assert looks(family, run, *said) == len(said)
    assert family.site.state(child).cancelled_by is None


def test_a_run_that_died_is_waited_for_no_longer_than_the_step_may_take(family: Family, run: str) -> None:
    family.begin(family.ask(run, "deliver"))
    assert looks(family, run, (3000.0, "failed"), (3500.0, "failed"), (3600.0, "failed")) == 2


def test_a_run_that_died_and_was_restarted_by_the_reconciler_ends_its_step(
    family: Family, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = family.begin(family.ask(run, "deliver"))
    look, looked = Queries.aend_of, iter(range(20))

    async def meanwhile(queries: Any, run: str) -> str | None:
        # The reconciler has it go on where it stopped, and it ends.
        return await look(queries, run) if next(looked, None) is None else None

    monkeypatch.setattr(Queries, "aend_of", meanwhile)
    family.play(child)
    assert family.follow(run, "deliver", airflow="failed").status == "succeeded"


def test_an_outage_while_waiting_fails_nothing(family: Family, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    child = family.ask(run, "deliver")
    family.play(family.begin(child))
    look, away = Queries.aend_of, iter([True, True, True])

    async def flaky(queries: Any, run: str) -> str | None:
        if next(away, False):
            raise TransientError("The database is away.")
        return await look(queries, run)

    monkeypatch.setattr(Queries, "aend_of", flaky)
    assert family.follow(run, "deliver").status == "succeeded"


def test_inputs_that_cannot_be_worked_out_fail_the_step(family: Family, run: str) -> None:
    definition = family.definitions["parent"]
    wrong = definition.step("deliver").model_copy(update={"arguments": {"name": "{{ steps.reserve.x.y }}"}})

    async def asked() -> None:
        work_item = await begin(family.site.services, WorkRef(run=run, step="deliver"))
        await ask_for(family.site.services, replace(work_item, step=wrong))  # type: ignore[type-var]

    with pytest.raises(PermanentError):
        family.site.do(asked())
    assert "child.requested" not in family.types(run)


def test_a_run_that_is_withdrawn_twice_is_withdrawn_once(family: Family, run: str) -> None:
    child = family.ask(run, "deliver")
    for _ in range(2):
        assert family.site.do(withdraw(family.site.services, child.run, by=run, reason="no more"))
    assert family.types(child.run) == ["run.cancel_requested"]
    family.begin(child)
    assert family.site.do(withdraw(family.site.services, child.run, by=run, reason="no more"))


def test_nothing_is_asked_for_after_the_end(family: Family, run: str) -> None:
    work_item = family.site.do(begin(family.site.services, WorkRef(run=run, step="deliver")))
    family.site.close(run)
    before = family.types(run)
    with pytest.raises(StepNotInScope) as refused:
        family.site.do(ask_for(family.site.services, work_item))
    # The task says so, and nothing is written of it.
    assert family.site.do(settle(family.site.services, work_item, refused.value)).status == "failed"
    assert family.types(run) == before


def test_a_run_that_a_dying_process_asked_for_as_its_own_ended_does_nothing(family: Family, run: str) -> None:
    child = family.ask(run, "deliver")
    family.site.close(run)
    state = family.play(family.begin(child))
    assert (state.status, state.cancelled_by, family.depot.done) == ("failed", run, [f"{run}/reserve"])


def test_a_run_that_was_asked_for_does_not_begin_once_its_own_is_cancelled(family: Family, run: str) -> None:
    child = family.ask(run, "deliver")
    request_cancel(family.site.services.log, run, by="ann")
    assert family.play(family.begin(child)).cancelled_by == run
    family.follow(run, "deliver")
    assert family.finish(run).status == "compensated"
    assert (family.depot.done, family.depot.undone) == ([f"{run}/reserve"], ["reserve"])


def test_what_is_not_asked_for_in_a_run_that_is_cancelled_is_left_out(family: Family, run: str) -> None:
    work_item = family.site.do(begin(family.site.services, WorkRef(run=run, step="deliver")))
    request_cancel(family.site.services.log, run, by="ann")
    with pytest.raises(Stopped) as refused:
        family.site.do(ask_for(family.site.services, work_item))
    outcome = family.site.do(settle(family.site.services, work_item, refused.value))
    assert (outcome.status, outcome.reason) == ("skipped", "cancelled")
    assert family.site.state(run).children == []


SHAPES = {"single": ("", [None]), "mapped": ("each: [a, b], ", [0, 1])}


@pytest.mark.parametrize("asked", ["waits in Airflow", "is asked for late"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_that_an_earlier_execution_has_asked_for_does_not_begin_in_a_later_one(
    tmp_path: Path, database: Database, shape: str, asked: str
) -> None:
    each, slots = SHAPES[shape]
    parent = "steps:\n" + step("reserve") + f"  - {{id: deliver, {each}run: child, timeout: 1h}}\n"
    family = Family(tmp_path, database, {"parent": parent, "child": "steps:\n" + step("pick")})
    site, run = family.site, family.open("parent")

    def laid_out(epoch: int) -> None:
        site.step(run, "reserve", epoch=epoch)
        if each:
            site.expand(run, "deliver", epoch=epoch)

    laid_out(0)
    old: list[Child] = []
    if asked == "waits in Airflow":
        # The parent is lost there, and the reconciler closes it.
        old += [family.ask(run, "deliver", slot) for slot in slots]
        found(site, FakeAirflow(None))
    else:
        # A task process stalls, is taken for dead, and the parent is undone.
        work_items = [site.do(begin(site.services, WorkRef(run=run, step="deliver", slot=slot))) for slot in slots]
        site.unwind(run, {"deliver": "failed"})
        site.close(run, {"deliver": "failed"})
    assert site.state(run).status in ("failed", "compensated")
    order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, "reserve", by="ann"))
    epoch = site.do(begun_again(site, run))
    laid_out(epoch)
    new = [family.ask(run, "deliver", slot, epoch=epoch) for slot in slots]
    if not old:
        before = family.types(run)
        for work_item in work_items:
            with pytest.raises(StepNotInScope):
                site.do(ask_for(site.services, work_item))
        assert family.types(run) == before
    for child in old:
        state = family.play(family.begin(child))
        assert (state.status, state.cancelled_by) == ("failed", run)
    for child, slot in zip(new, slots, strict=True):
        assert family.play(family.begin(child)).status == "succeeded"
        assert family.follow(run, "deliver", slot, epoch=epoch).status == "succeeded"
    assert family.finish(run, epoch=epoch).status == "succeeded"
    assert [key for key in family.depot.done if key.endswith("/pick")] == [f"{child.run}/pick" for child in new]


def test_a_run_that_was_asked_for_begins_when_its_own_has_died_and_goes_on(family: Family, run: str) -> None:
    child = family.ask(run, "deliver")
    found(family.site, FakeAirflow("failed"))
    assert family.site.do(begun_again(family.site, run)) == 0
    assert family.play(family.begin(child)).status == "succeeded"
    assert family.ask(run, "deliver").run == child.run
    assert family.follow(run, "deliver").status == "succeeded"


def test_a_run_that_was_asked_for_does_not_begin_when_its_own_is_only_undone(family: Family, run: str) -> None:
    """Where it had stopped before, a person has had it go on, and undoing has not come to this step."""
    child = family.ask(run, "deliver")
    family.depot.broken.add("undo reserve")
    services = family.site.services
    unwound = WorkRef(run=run, step="begin")
    family.site.do(unwinding.begin(services, unwound, {"deliver": "failed"}))
    family.site.do(unwinding.compensate(services, replace(unwound, step="reserve")))
    family.site.close(run)
    assert family.site.state(run).status == "stuck"
    resume(services.log, run, by="ann")
    family.site.do(begun_again(family.site, run))
    assert family.play(family.begin(child)).cancelled_by == run
    assert family.depot.done == [f"{run}/reserve"]


def test_a_run_that_a_person_has_done_again_needs_nobody_who_waits(family: Family, run: str) -> None:
    child = family.ask(run, "deliver")
    family.play(family.begin(child))
    family.follow(run, "deliver")
    family.site.close(run)
    family.begin(child)  # all of its tasks were cleared in Airflow
    assert family.site.state(child.run).cancelled_by is None
    assert family.play(child.run, epoch=1).status == "succeeded"
