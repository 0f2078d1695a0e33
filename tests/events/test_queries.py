"""What the command line asks."""

from __future__ import annotations

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.queries import Queries
from support.run_events import closed, opened, whole_run


@pytest.fixture
def queries(database: Database) -> Queries:
    return Queries(database)


def test_runs_are_listed_newest_first_and_filtered(log: EventLog, queries: Queries) -> None:
    log.append("a/1", [opened(automation="a"), closed("failed")])
    log.append("b/1", [opened(automation="b")])
    log.append("a/2", [opened(automation="a")])

    assert [row.id for row in queries.runs()] == ["a/2", "b/1", "a/1"]
    assert [row.id for row in queries.runs(limit=1)] == ["a/2"]
    assert [row.id for row in queries.runs(automation="a", status="open")] == ["a/2"]


def test_a_run_is_found_by_the_whole_of_its_id_or_an_unambiguous_part(log: EventLog, queries: Queries) -> None:
    for id in ("a/manual_1", "a/manual_12", "a/manual%3"):
        log.append(id, [opened()])

    assert queries.run("a/manual_1").id == "a/manual_1"
    assert queries.run("_12").id == "a/manual_12"
    assert queries.run("l%3").id == "a/manual%3"
    with pytest.raises(MusterError, match=r"several runs: .*a/manual_12"):
        queries.run("manual")
    for unknown in ("nothing", "", "a%manual_1"):
        with pytest.raises(MusterError, match="no run"):
            queries.run(unknown)


def test_a_mistyped_id_is_answered_with_the_run_that_was_meant(log: EventLog, queries: Queries) -> None:
    for id in ("order/1", "letters/manual__2026-01-01"):
        log.append(id, [opened()])

    for mistyped, meant in [("ordr/1", "order/1"), ("leters/manual__2026-01-01", "letters/manual__2026-01-01")]:
        with pytest.raises(MusterError, match="no run") as refused:
            queries.run(mistyped)
        assert refused.value.remedy == f"Did you mean `{meant}`? `muster runs` lists them."
    with pytest.raises(MusterError, match="no run") as refused:
        queries.run("something else")
    assert refused.value.remedy == "`muster runs` lists them."


def test_steps_come_in_the_order_they_began_each_with_its_items(log: EventLog, queries: Queries) -> None:
    for event in whole_run():
        log.append("a/1", [event])

    assert [(row.step, row.index) for row in queries.steps("a/1")] == [
        ("read", -1),
        ("read", 0),
        ("read", 2),
        ("read", 3),
        ("code", -1),
        ("approve", -1),
        ("tell", -1),
    ]
    assert [event.type for event in queries.timeline("a/1")] == [event.type for event in whole_run()]


def test_a_skipped_step_stands_where_it_was_skipped(log: EventLog, queries: Queries) -> None:
    for type_, step in (
        (EventType.STEP_STARTED, "price"),
        (EventType.STEP_SKIPPED, "approve"),
        (EventType.STEP_STARTED, "order"),
    ):
        log.append("a/1", [NewEvent(type=type_, data={"step": step, "index": None})])
    assert [row.step for row in queries.steps("a/1")] == ["price", "approve", "order"]


async def test_the_items_of_a_fan_out_are_counted_by_how_they_ended_once_all_have(database: Database) -> None:
    log = EventLog(database)
    await log.aappend("a/1", whole_run())
    counted = await Queries(database).aended_items("a/1", "read", [0, 2, 3])
    early = await Queries(database).aended_items("a/1", "read", [0, 1, 2, 3, 4])
    others = await Queries(database).aended_items("a/1", "read", [0, 1, 2])
    some = await Queries(database).aended_items("a/1", "read", [3])
    none = await Queries(database).aended_items("a/2", "read", [0])
    await database.aclose()

    assert counted == {"succeeded": 2, "failed": 0, "skipped": 0, "set_aside": 1}
    assert some == {"succeeded": 0, "failed": 0, "skipped": 0, "set_aside": 1}
    assert (early, others, none) == ({}, {}, {})


def test_events_of_items_are_found_in_pages_whatever_their_data_holds(log: EventLog, queries: Queries) -> None:
    for number in range(12):
        data = {"step": "a", "index": number % 3, "input": {"index": 1, "text": "\0\ud800"}}
        log.append("a/1", [NewEvent(type="noted", data=data)])

    assert [event.version for event in queries.events("a/1", indices=[1])] == [2, 5, 8, 11]
    assert [event.version for event in queries.events("a/1", indices=[0, 2], limit=3)] == [1, 3, 4]
    assert [event.version for event in queries.events("a/1", indices=[2], after_version=3, limit=2)] == [6, 9]
    assert queries.events("a/1", step="b") == []
