"""The parts of the fault campaign by themselves: what is doubled, lost or half undone must be found."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from uuid import uuid4

import httpx
import psycopg
import pytest

from campaigns.chaos.faults import Strike, compiled_clock, set_clock
from campaigns.chaos.follower import Follower, Seen
from campaigns.chaos.judging import (
    Report,
    begun_though_cancelled,
    doubled,
    ends,
    lost,
    of_parent,
    refused_though_approved,
    reported,
    statuses_of,
    unwritten,
)
from campaigns.chaos.line import line
from campaigns.chaos.plan import CHILDREN, EFFECTS, OPTIONAL, Planned, deck, plan
from campaigns.chaos.settling import Found, Settled
from campaigns.chaos.table import table
from campaigns.chaos.witness import Deed, Witness, serving
from campaigns.chaos.world import AUTOMATIONS, SITE
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import Event, NewEvent
from muster.language import load_folder
from muster.language.kinds.run import ResolvedRun
from muster.recovery import ledger
from support.runs import Site

RUN = Planned("chaos_payment", "one", fails=False, stuck=False)


def deed(order: str = "k", run: str = RUN.id, step: str = "pay", **more: object) -> Deed:
    return Deed(1, order, run, step, None, at=0.0, answered=True, **more)  # type: ignore[arg-type]


def event(version: int, kind: str, run: str = RUN.id, **data: object) -> Event:
    return Event(
        type=kind,
        data=data,
        position=version,
        stream=run,
        version=version,
        id=uuid4(),
        at=datetime.now(UTC),
        correlation=run,
        previous_hash="",
        hash=f"hash {version}",
    )


def seen(of: Event) -> Seen:
    return Seen(of.stream, of.version, of.hash, of.type, of.position)


def ask(witness: Witness, path: str, **body: object) -> httpx.Response:
    return httpx.post(f"{witness.url}/{path}", json=body, trust_env=False)


def order(key: str, step: str = "pay") -> dict[str, object]:
    return {"order": key, "run": RUN.id, "step": step, "index": None}


def test_the_other_side_repeats_what_it_is_asked_for_again_and_can_tell_what_it_did() -> None:
    with serving(Witness(Random(1), lost=0.0, slowest=0.0)) as witness:
        receipts = [ask(witness, "do", **order("a")).json()["receipt"] for _ in range(2)]
        assert receipts == [1, 2]
        assert list(doubled(witness.deeds)) == [f"{RUN.id} pay happened 2 times"]
        assert ask(witness, "find", order="a").json()["receipt"] == 1
        assert ask(witness, "find", order="b").json()["receipt"] == 0


def test_an_answer_that_is_lost_leaves_the_deed_done() -> None:
    with serving(Witness(Random(1), lost=1.0, slowest=0.0)) as witness:
        with pytest.raises(httpx.TransportError):
            ask(witness, "do", **order("a"))
        assert [each.answered for each in witness.deeds] == [False]


def test_what_is_taken_back_stays_so_and_what_comes_later_is_noticed() -> None:
    with serving(Witness(Random(1), lost=0.0, slowest=0.0)) as witness:
        ask(witness, "do", **order("a"))
        assert ask(witness, "undo", **order("a"), stuck=True).status_code == 423
        assert witness.deeds[0].undone is None
        witness.mended = True
        assert ask(witness, "undo", **order("a"), stuck=True).status_code == 200
        assert witness.deeds[0].undone is not None
        ask(witness, "do", **order("a"))
        assert witness.late == ["a"]


@pytest.mark.parametrize("broken", [False, True])
def test_a_ledger_that_repeats_what_is_in_doubt_is_found(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    class Losing(Witness):
        """Loses the first answer, after the deed."""

        def draw(self) -> tuple[float, bool]:
            return 0.0, not self.deeds

    site = Site.of(SITE, database, tmp_path)
    run = site.open(load_folder(SITE).definitions["chaos_payment"])
    if broken:
        monkeypatch.setattr(ledger, "cannot_tell", ledger.repeatable)
    with serving(Losing(Random(1))) as witness:
        monkeypatch.setenv("CHAOS_WITNESS", witness.url)
        outcome = site.step(run, "pay")
    assert outcome.status == ("succeeded" if broken else "failed")
    assert list(doubled(witness.deeds)) == ([f"{run} pay happened 2 times"] if broken else [])
    assert bool(ledger.Ledger(database).entries(in_doubt=True)) is not broken


def test_an_event_that_was_read_and_is_gone_altered_or_was_skipped_is_found() -> None:
    events = [event(number, "step.started", step="pay") for number in (1, 2, 3)]
    assert list(lost(map(seen, events), {RUN.id: events})) == []
    assert list(lost(map(seen, events), {RUN.id: events[:2]})) == [
        f"{RUN.id}: version 3 (step.started) was read, and is not there any more"
    ]
    assert list(lost(map(seen, events[:2]), {RUN.id: events})) == [
        f"{RUN.id}: version 3 (step.started) was skipped for who follows the log"
    ]
    assert f"{RUN.id}: version 2 is missing" in list(lost([], {RUN.id: [events[0], events[2]]}))


def test_an_effect_without_its_events_is_found() -> None:
    began, ended = event(1, "step.started", step="pay", index=None), event(2, "step.succeeded", step="pay", index=None)
    assert list(unwritten([deed()], {RUN.id: [began, ended]})) == []
    assert list(unwritten([deed()], {RUN.id: [began]})) == [
        f"{RUN.id} pay was acknowledged, and the log does not say how it ended"
    ]
    assert list(unwritten([deed()], {RUN.id: []})) == [f"{RUN.id} pay happened, and the log does not say that it began"]


@pytest.mark.parametrize(
    ("status", "deeds", "found"),
    [
        ("succeeded", [deed()], []),
        ("succeeded", [], ["succeeded, and of its 1 effects 0 are there"]),
        ("succeeded", [deed(undone=1.0)], ["succeeded, and of its 1 effects 0 are there"]),
        ("compensated", [deed(undone=1.0)], []),
        ("compensated", [deed()], ["is compensated, and chaos_payment/one pay is still there"]),
        ("failed", [], []),
        ("failed", [deed()], []),
        ("never opened", [deed()], ["is never opened, and chaos_payment/one pay is still there"]),
        ("never opened", [], []),
        ("stuck", [], ["is stuck in the end"]),
        ("open", [], ["is open in the end"]),
    ],
)
def test_a_runs_end_must_fit_what_really_happened(status: str, deeds: list[Deed], found: list[str]) -> None:
    assert list(ends([RUN], {RUN.id: status}, deeds)) == [f"{RUN.id} {text}" for text in found]


def test_a_run_that_airflow_never_began_and_still_means_to_is_found() -> None:
    statuses = statuses_of([RUN], {}, ended=[])
    assert list(ends([RUN], statuses, [])) == [f"{RUN.id} is not yet opened in the end"]
    assert statuses_of([RUN], {}, ended=[RUN.id]) == {RUN.id: "never opened"}
    assert statuses_of([RUN], {RUN.id: "failed"}, ended=[]) == {RUN.id: "failed"}


def test_what_a_run_of_another_automation_did_belongs_to_the_run_that_asked_for_it() -> None:
    delivery = Planned("chaos_delivery", "one", fails=False, stuck=False)
    deeds = [deed(run=delivery.id, step="book"), deed(run="chaos_parcel/of-one", step="pack")]
    parents = {"chaos_parcel/of-one": delivery.id}
    statuses = {delivery.id: "succeeded"}
    assert list(ends([delivery], statuses, [of_parent(each, parents) for each in deeds])) == []
    statuses = {delivery.id: "compensated"}
    found = list(
        ends([delivery], statuses, [of_parent(replace(deeds[0], undone=1.0), parents), of_parent(deeds[1], parents)])
    )
    assert found == ["chaos_delivery/one is compensated, and chaos_delivery/one pack is still there"]


def test_a_run_that_is_meant_to_fail_may_not_succeed() -> None:
    meant = Planned("chaos_payment", "one", fails=True, stuck=False)
    assert list(ends([meant], {meant.id: "succeeded"}, [deed()])) == [f"{RUN.id} succeeded and was meant to fail"]


def test_of_a_run_that_failed_for_a_lost_notice_everything_or_nothing_is_left() -> None:
    order = Planned("chaos_order", "one", fails=False, stuck=False)
    assert list(ends([order], {order.id: "failed"}, [deed(run=order.id)])) == [
        "chaos_order/one is failed, and chaos_order/one pay is still there"
    ]


def test_an_agents_tool_that_was_never_called_is_no_effect_lost() -> None:
    order = Planned("chaos_order", "one", fails=False, stuck=False)
    deeds = [deed(run=order.id, step=step) for step in ("book", "pay", "advise")]
    assert list(ends([order], {order.id: "succeeded"}, deeds)) == []
    assert list(ends([order], {order.id: "succeeded"}, deeds[:2])) == []
    assert list(ends([order], {order.id: "compensated"}, deeds[2:])) == [
        "chaos_order/one is compensated, and chaos_order/one advise is still there"
    ]


def test_what_begins_in_a_run_that_was_cancelled_is_found() -> None:
    cancelled = event(2, "run.cancel_requested")
    before, after = (event(version, "step.started", step="pay", index=None) for version in (1, 3))
    assert list(begun_though_cancelled({RUN.id: [before, cancelled, after]}, [deed()])) == []
    assert list(begun_though_cancelled({RUN.id: [cancelled, after]}, [])) == [], "it was skipped at once"
    assert list(begun_though_cancelled({RUN.id: [cancelled, after]}, [deed()])) == [
        f"{RUN.id} pay began after the run was cancelled"
    ]


def test_an_approval_that_was_lost_is_found() -> None:
    answered = event(1, "approval.answered", step="allow", approved=True, how="person")
    assert list(refused_though_approved({RUN.id: [answered]})) == []
    answered = event(1, "approval.answered", step="allow", approved=False, how="timeout")
    assert list(refused_though_approved({RUN.id: [answered]})) == [
        f"{RUN.id} allow was approved, and counts as rejected (timeout)"
    ]


def test_what_the_reconciler_does_not_report_or_mend_is_found() -> None:
    assert list(reported(Settled(in_doubt=["notice/b"], found=[Found("notice", "b", "", mended=False)]))) == []
    assert list(reported(Settled(left=[Found("run", "a", "it is open", mended=False)]))) == [
        "the reconciler still says: a: it is open"
    ]
    assert list(reported(Settled(stuck=["a"], in_doubt=["b"]))) == [
        "a was stuck, and the reconciler did not say so",
        "b was in doubt, and the reconciler did not say so",
    ]


def test_a_follower_keeps_what_it_has_read(dsn: str, database: Database) -> None:
    follower = Follower(dsn)
    follower.start()
    log = EventLog(database)
    log.append("a", [NewEvent(type="step.succeeded", data={}), NewEvent(type="step.started", data={})])
    before, _ = log.read("a")
    follower.stop()
    assert [each.version for each in follower.seen] == [1, 2]
    assert follower.has_gone_on(before.position - 1)
    assert not follower.has_gone_on(before.position), "that work begins is no sign that it goes on"


def test_a_line_that_is_cut_ends_its_connections_and_refuses_new_ones(dsn: str) -> None:
    with line(dsn) as wire, psycopg.connect(wire.dsn) as connection:
        connection.execute("SELECT 1")
        assert wire.cut() == 1
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(wire.dsn)
        wire.mend()
        with psycopg.connect(wire.dsn) as again:
            again.execute("SELECT 1")


def test_a_clock_that_jumps_is_wrong_for_its_process_alone(tmp_path: Path) -> None:
    library = compiled_clock(tmp_path)
    if library is None:
        pytest.skip("no C compiler here")
    clock = tmp_path / "clock"
    set_clock(clock, -4000)
    told = subprocess.run(
        [sys.executable, "-c", "import time; a = time.monotonic(); time.sleep(0.1); print(time.time())"],
        env=os.environ | {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(clock)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert -4002 < float(told.stdout) - time.time() < -3999


def test_a_seed_stands_for_one_campaign() -> None:
    assert plan(50, Random("7")) == plan(50, Random("7"))
    assert plan(50, Random("7")) != plan(50, Random("8"))
    kinds = deck(["a", "b", "c"], Random("7"))
    assert sorted(next(kinds) for _ in range(3)) == ["a", "b", "c"]


def test_the_automations_are_right_and_do_what_the_plan_expects() -> None:
    catalogue = load_folder(SITE)
    assert [str(problem) for problem in catalogue.problems] == []
    assert set(catalogue.definitions) == {*EFFECTS, *CHILDREN} == set(AUTOMATIONS)

    def undone(name: str) -> set[str]:
        steps = catalogue.definitions[name].steps
        below = {undone_below for step in steps if isinstance(step, ResolvedRun) for undone_below in undone(step.run)}
        return below | {step.id for step in steps if step.compensate is not None}

    for name, effects in EFFECTS.items():
        assert {step for step, _ in effects} == undone(name) - {step for step, _ in OPTIONAL}


def test_the_table_names_what_was_found_and_what_could_not_be_tried() -> None:
    report = Report(
        doubled=["x happened 2 times"],
        strikes=[Strike("kill worker", "task", 0.0, recovered=4.0), Strike("kill worker", "task", 0.0)],
        impossible={"full disk": "not root"},
    )
    assert report.broken
    lines = table(report, 8, 1, 60.0).splitlines()
    assert "effects doubled" in "".join(lines)
    assert any(each.split() == ["kill", "worker", "2", "4.0", "4.0", "1"] for each in lines)
    assert "full disk             NOT POSSIBLE HERE: not root" in lines
    assert "doubled: x happened 2 times" in lines
    assert not Report().broken
