"""A run's state, folded from its events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from muster.events.model import Event, NewEvent
from muster.events.model import EventType as T
from muster.events.state import RunState, fold
from support.run_events import DEFINITION, closed, opened, step, whole_run


def happened(*events: NewEvent) -> list[Event]:
    return [
        Event(
            type=new.type,
            data=new.data,
            actor=new.actor,
            key=new.key,
            position=version,
            stream="invoices/r1",
            version=version,
            id=UUID(int=version),
            at=datetime(2026, 1, 1, second=version % 60, tzinfo=UTC),
            correlation="invoices/r1",
            previous_hash="",
            hash="",
        )
        for version, new in enumerate(events, start=1)
    ]


def folded(*events: NewEvent) -> RunState:
    return fold(happened(*events))


def test_a_whole_run_is_read_from_its_events() -> None:
    run = folded(*whole_run())

    assert (run.id, run.status, run.automation, run.definition) == ("invoices/r1", "succeeded", "invoices", DEFINITION)
    assert (run.requested_by, run.inputs, run.version) == ("ada", {"folder": "inbox"}, 21)
    assert {id: state.status for id, state in run.steps.items()} == {
        "read": "succeeded",
        "code": "succeeded",
        "approve": "succeeded",
        "tell": "skipped",
    }
    assert (run.cost, run.calls, run.usage) == (Decimal("0.0012"), 2, {"input_tokens": 15})
    assert run.steps["code"].cost == Decimal("0.0012")
    [(place, approval)] = run.approvals.items()
    assert place == ("approve", None)
    assert (approval.approved, approval.by, approval.assignees) == (True, "lead", ["lead"])


def test_the_output_of_a_fan_out_keeps_positions_with_null_where_nothing_came_out() -> None:
    read = folded(*whole_run()).steps["read"]

    assert read.output == [{"n": 0}, None, {"n": 2}, None]
    assert read.counts == {"succeeded": 2, "failed": 0, "skipped": 0, "set_aside": 1}
    assert read.items[3].findings == [{"rule": "BR-01"}]
    assert (read.items[2].attempt, read.items[2].error) == (2, None)


def test_a_fan_out_runs_until_every_position_with_work_has_ended() -> None:
    run = folded(
        opened(), step(T.STEP_EXPANDED, "a", length=3, indices=[0, 2]), step(T.STEP_SUCCEEDED, "a", 0, output=1)
    )
    assert run.step("a").status == "running"
    run = fold(happened(step(T.STEP_SET_ASIDE, "a", 2)), run)
    assert run.step("a").status == "succeeded"


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([step(T.STEP_SET_ASIDE, "a", 0), step(T.STEP_SET_ASIDE, "a", 1)], "failed"),
        ([step(T.STEP_SKIPPED, "a", 0), step(T.STEP_SKIPPED, "a", 1)], "skipped"),
        ([step(T.STEP_SKIPPED, "a", 0), step(T.STEP_SET_ASIDE, "a", 1)], "failed"),
        ([step(T.STEP_SUCCEEDED, "a", 0, output=None), step(T.STEP_SET_ASIDE, "a", 1)], "succeeded"),
        ([step(T.STEP_SUCCEEDED, "a", 0), step(T.STEP_FAILED, "a", None)], "failed"),
    ],
)
def test_how_a_fan_out_ends_follows_from_its_items(events: Sequence[NewEvent], status: str) -> None:
    run = folded(opened(), step(T.STEP_EXPANDED, "a", length=2, indices=[0, 1]), *events)
    assert run.step("a").status == status


def test_an_empty_list_is_an_empty_output() -> None:
    run = folded(opened(), step(T.STEP_EXPANDED, "a", length=0, indices=[]))
    assert run.step("a").ended
    assert run.step("a").output == []


def test_a_second_execution_that_comes_late_changes_no_outcome() -> None:
    run = folded(
        opened(),
        step(T.STEP_STARTED, "a", attempt=1, kind="skill"),
        step(T.STEP_SUCCEEDED, "a", output=1),
        step(T.STEP_STARTED, "a", attempt=1, kind="skill"),
        step(T.STEP_RETRIED, "a", attempt=1, error={"class": "X", "message": "late"}),
    )
    assert (run.step("a").status, run.step("a").output, run.step("a").whole.error) == ("succeeded", 1, None)


def test_a_step_nobody_touched_is_pending_and_an_unopened_run_unknown() -> None:
    run = RunState()
    assert (run.status, run.step("a").status, run.outputs()) == ("unknown", "pending", {})


def test_a_failed_run_says_why() -> None:
    run = folded(opened(), closed("failed", reason="a failed"))
    assert (run.status, run.reason, run.counts["set_aside"]) == ("failed", "a failed", 1)


def test_folding_on_from_a_state_is_folding_from_the_start() -> None:
    events = happened(*whole_run())
    for cut in range(len(events)):
        assert fold(events[cut:], fold(events[:cut])) == fold(events)


def test_events_of_types_not_known_here_are_passed_over() -> None:
    run = folded(opened(), NewEvent(type="later.invention", data={"step": "a"}))
    assert (run.version, run.steps) == (2, {})
