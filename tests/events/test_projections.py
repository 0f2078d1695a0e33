"""The tables that screens read, beside the log and after a rebuild."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.events.projections import fan_out_status
from muster.events.rebuild import rebuild
from muster.events.state import fold
from support.run_events import DEFINITION, closed, opened, step, whole_run

Tables = dict[str, list[str]]


def contents(dsn: str) -> Tables:
    """Both projections, row by row, as PostgreSQL prints them."""
    with psycopg.connect(dsn) as connection:
        return {
            table: [row[0] for row in connection.execute(f"SELECT t::text FROM {table} t ORDER BY t::text")]
            for table in ("runs", "steps")
        }


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def test_a_run_shows_in_runs_steps_and_workflow_executions(log: EventLog, dsn: str) -> None:
    log.append("invoices/r1", whole_run())

    assert rows(
        dsn,
        "SELECT id, automation, definition, status, requested_by, succeeded, set_aside, calls, cost_usd::text"
        " FROM runs",
    ) == [("invoices/r1", "invoices", DEFINITION, "succeeded", "ada", 2, 1, 2, "0.0012")]
    found = rows(dsn, "SELECT step, index, status, attempt, error, produced_by FROM steps ORDER BY step, index")
    assert found == [
        ("approve", -1, "succeeded", 1, None, "person"),
        ("code", -1, "succeeded", 1, None, "fast"),
        ("read", -1, "succeeded", None, None, None),
        ("read", 0, "succeeded", 1, None, "finance.read"),
        ("read", 2, "succeeded", 2, None, "finance.read"),
        ("read", 3, "set_aside", 1, "no", None),
        ("tell", -1, "skipped", None, None, None),
    ]
    [execution] = rows(dsn, "SELECT * FROM workflow_executions")
    assert execution[:5] == ("invoices/r1", "invoices", "manual", ["clerk"], "succeeded")
    assert execution[5]["succeeded"] == 2
    assert execution[6] is not None


def test_a_projection_is_written_with_its_event_or_not_at_all(log: EventLog, dsn: str) -> None:
    log.append("r", [opened()])
    log.append("r", [step(T.STEP_SUCCEEDED, "a", produced_by="first")])
    log.append("r", [step(T.STEP_SUCCEEDED, "a", produced_by="second")])

    assert rows(dsn, "SELECT produced_by FROM steps") == [("first",)]


def test_what_has_ended_is_not_reopened_by_a_late_start(log: EventLog, dsn: str) -> None:
    log.append("r", [step(T.STEP_STARTED, "a", attempt=1)])
    log.append("r", [step(T.STEP_SUCCEEDED, "a", produced_by="x")])
    log.append("r", [step(T.STEP_STARTED, "a", attempt=1)])

    assert rows(dsn, "SELECT status, produced_by, ended_at IS NULL FROM steps") == [("succeeded", "x", False)]


def test_a_rebuild_repairs_what_was_changed_by_hand_and_names_strangers(
    log: EventLog, dsn: str, database: Database
) -> None:
    log.append("invoices/r1", whole_run())
    log.append("other", [NewEvent(type="noted", data={})])
    before = contents(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE runs SET status = 'failed', cost_usd = 9")
        connection.execute("DELETE FROM steps WHERE step = 'read'")
        connection.execute("INSERT INTO runs (id, calls, cost_usd) VALUES ('stranger', 0, 0)")
        connection.execute("INSERT INTO steps (run, step, index, calls, cost_usd) VALUES ('stranger', 'a', 0, 0, 0)")
    assert contents(dsn) != before

    [fault] = rebuild(database).faults

    # Whether the rows were put in or the events taken out, nobody knows: no trace of it is removed.
    assert (fault.stream, fault.kind) == ("stranger", "removed")
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM runs WHERE id = 'stranger'")
        connection.execute("DELETE FROM steps WHERE run = 'stranger'")
    assert contents(dsn) == before


def test_a_rebuild_while_others_append_loses_nothing(log: EventLog, dsn: str, database: Database) -> None:
    for number in range(20):
        log.append(f"r{number}", whole_run()[:12])
    stop = threading.Event()

    def append() -> None:
        number = 0
        while not stop.is_set():
            log.append(f"r{number % 20}", [step(T.MODEL_CALLED, "code", cost="0.01")])
            number += 1

    writer = threading.Thread(target=append)
    writer.start()
    try:
        for _ in range(4):
            rebuild(database)
    finally:
        stop.set()
        writer.join()
    live = contents(dsn)
    rebuild(database)

    assert contents(dsn) == live
    assert rows(dsn, "SELECT sum(calls) FROM runs") == rows(
        dsn, "SELECT count(*) FROM events WHERE type = 'model.called'"
    )


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**40),
    st.text(max_size=6),
    st.sampled_from(["0.0012", "1e3", "NaN", "Infinity", "x\0y", "\ud800", "12345678.90"]),
)
NAMES = [
    "status",
    "kind",
    "lane",
    "attempt",
    "length",
    "produced_by",
    "fallback",
    "reason",
    "cost",
    "agent",
    "counts",
    "error",
]


@st.composite
def events(draw: st.DrawFn) -> NewEvent:
    """Any event of a run, with data as odd as JSON allows."""
    data: dict[str, Any] = draw(st.dictionaries(st.sampled_from(NAMES), SCALARS, max_size=5))
    if draw(st.booleans()):
        data["error"] = {"class": draw(SCALARS), "message": draw(SCALARS)}
    if draw(st.booleans()):
        data["counts"] = {name: draw(st.integers(0, 2)) for name in ("succeeded", "set_aside", "skipped")}
    data["step"], data["index"] = draw(st.sampled_from(["a", "b"])), draw(st.sampled_from([None, 0, 1]))
    type = draw(st.sampled_from(list(T)))
    return NewEvent(type=type, data=data, actor=draw(st.sampled_from(["muster", "clerk"])))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(events(), min_size=1, max_size=6), min_size=1, max_size=5), number=st.uuids())
def test_however_events_were_batched_a_rebuild_gives_equal_bytes(
    batches: list[list[NewEvent]], number: Any, log: EventLog, dsn: str, database: Database
) -> None:
    for batch in batches:
        log.append(f"together/{number}", batch)
        for event in batch:
            log.append(f"alone/{number}", [event])
    live = contents(dsn)

    rebuild(database)

    assert contents(dsn) == live


def test_the_state_of_a_run_and_its_projection_agree_after_every_event(log: EventLog, dsn: str) -> None:
    sequence = [*whole_run()[:-1], step(T.STEP_FAILED, "z", error={"class": "X", "message": "m"}), closed("failed")]
    for event in sequence:
        log.append("r", [event])
        run = fold(log.read("r"))
        projected = {(row[0], row[1]): row[2] for row in rows(dsn, "SELECT step, index, status FROM steps")}
        assert rows(dsn, "SELECT status, cost_usd, calls FROM runs") == [(run.status, run.cost, run.calls)]
        for id, state in run.steps.items():
            works = {(id, index): item.status for index, item in state.items.items()}
            if not (state.is_fan_out and not state.whole.ended):
                works[id, -1] = state.status
            assert works.items() <= projected.items()


def test_a_fan_out_fails_only_when_nothing_succeeded_and_something_was_lost() -> None:
    assert fan_out_status({"succeeded": 1, "set_aside": 5}) == "succeeded"
    assert fan_out_status({"succeeded": 0, "set_aside": 1, "skipped": 3}) == "failed"
    assert fan_out_status({"skipped": 3}) == "skipped"
