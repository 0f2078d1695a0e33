"""A run is what its log says: at its end, and at every moment before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events import replay as replaying
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.replay import has_events, replay
from muster.events.state import fold
from support.run_events import closed, opened, step, whole_run


@pytest.fixture(autouse=True)
def run(log: EventLog) -> str:
    log.append("r", whole_run())
    log.append("other", [opened(), step(T.STEP_SUCCEEDED, "elsewhere"), closed()])
    return "r"


def test_every_version_of_a_run_comes_back_and_only_the_last_is_compared(log: EventLog, database: Database) -> None:
    events = list(log.read("r"))
    for version in range(1, len(events) + 1):
        found = replay(database, "r", until=version)
        assert found.state == fold(events[:version])
        assert (found.version, found.last, found.at) == (version, len(events), events[version - 1].at)
        assert found.differences == ([] if version == len(events) else None)


def test_pages_and_large_values_make_no_difference(
    log: EventLog, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("r", [step(T.STEP_SUCCEEDED, "large", output="x" * 70_000)])
    whole = replay(database, "r")
    monkeypatch.setattr(replaying, "_PAGE", 3)
    assert replay(database, "r") == whole
    assert whole.differences == []
    assert whole.state.steps["large"].output == "x" * 70_000


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("UPDATE runs SET status = 'failed' WHERE id = 'r'", ("runs", "r", "status", "failed", "succeeded")),
        ("UPDATE runs SET calls = 3 WHERE id = 'r'", ("runs", "r", "calls", 3, 2)),
        ("UPDATE steps SET attempt = 7 WHERE run = 'r' AND index = 2", ("steps", "read[2]", "attempt", 7, 2)),
        ("UPDATE steps SET produced_by = NULL WHERE step = 'code'", ("steps", "code", "produced_by", None, "fast")),
        ("DELETE FROM steps WHERE run = 'r' AND index = 0", ("steps", "read[0]", "*", None, "a row")),
        (
            "INSERT INTO steps (run, step, index, calls, cost_usd) VALUES ('r', 'ghost', -1, 0, 0)",
            ("steps", "ghost", "*", "a row", None),
        ),
        ("DELETE FROM runs WHERE id = 'r'", ("runs", "r", "*", None, "a row")),
    ],
)
def test_whatever_a_projection_says_otherwise_is_found_in_its_place(
    dsn: str, database: Database, statement: str, place: tuple[object, ...]
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(statement)
    found = replay(database, "r")
    assert found.differences is not None
    assert [(d.table, d.row, d.column, d.stored, d.derived) for d in found.differences] == [place]
    assert replay(database, "other").differences == []


def test_a_step_is_shown_as_it_was_after_its_last_event(log: EventLog, database: Database) -> None:
    found = replay(database, "r", step="read")
    assert (found.version, found.state.steps["read"].status) == (11, "succeeded")
    assert "code" not in found.state.steps
    earlier = replay(database, "r", step="read", until=7)
    assert earlier.state.steps["read"].items[2].status == "running"
    assert (earlier.version, earlier.differences) == (7, None)


def test_a_time_stops_before_the_first_event_after_it(log: EventLog, dsn: str, database: Database) -> None:
    begin = datetime(2026, 5, 4, 10, tzinfo=UTC)
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER append_only")
        connection.execute("UPDATE events SET at = %s + version * interval '1 second' WHERE stream = 'r'", (begin,))
        # The clock of another machine was behind when it wrote the fifth event.
        connection.execute("UPDATE events SET at = %s WHERE stream = 'r' AND version = 5", (begin,))
    assert replay(database, "r", until=begin + timedelta(seconds=3.5)).version == 3
    assert replay(database, "r", until=begin + timedelta(seconds=4)).version == 5
    assert replay(database, "r", until=begin + timedelta(days=1)).version == len(whole_run())
    with pytest.raises(MusterError, match=r"had not begun at 2026-05-04T10:00:00"):
        replay(database, "r", until=begin)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"run_id": "unknown"}, "There is no run 'unknown' in the log"),
        ({"run_id": "r", "until": 0}, r"no event 0\. Give a version from 1 to 21"),
        ({"run_id": "r", "until": 22}, "no event 22"),
        ({"run_id": "r", "step": "elsewhere"}, "step 'elsewhere' in the run r.*read, code, approve, tell"),
        ({"run_id": "r", "step": "tell", "until": 5}, "Nothing had happened to the step 'tell'"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    database: Database, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(MusterError, match=message):
        replay(database, **arguments)  # type: ignore[arg-type]


def test_a_run_that_is_undone_stuck_and_resumed_agrees_with_its_rows_after_every_event(
    log: EventLog, database: Database
) -> None:
    error = {"class": "PermanentError", "message": "no", "remedy": None}
    story = [
        opened(),
        step(T.STEP_STARTED, "pay", kind="skill", attempt=1),
        step(T.STEP_SUCCEEDED, "pay", output=1),
        step(T.STEP_FAILED, "tell", error=error),
        step(T.SAGA_UNWINDING, "pay", reason="tell failed", pieces={"pay": [None]}, epoch=0),
        step(T.COMPENSATION_STARTED, "pay", work_epoch=0, epoch=0),
        step(T.COMPENSATION_RETRIED, "pay", attempt=1, error=error, delay=1),
        step(T.COMPENSATION_FAILED, "pay", work_epoch=0, error=error),
        step(T.RUN_STUCK, "pay", error=error, epoch=0),
        closed("stuck"),
        step(T.RUN_RESUMED, "pay", note="mended", actor="ada"),
        step(T.COMPENSATION_SUCCEEDED, "pay", work_epoch=0, output=None, by_hand=True),
        closed("compensated"),
        step(T.RUN_RESTARTED, "pay", actor="ada", **{"from": "pay"}),
        step(T.STEP_STARTED, "pay", kind="skill", attempt=1, epoch=1),
        step(T.STEP_SUCCEEDED, "again", output=1, epoch=1),
        closed("succeeded"),
    ]
    for event in story:
        log.append("saga", [event])
        found = replay(database, "saga")
        assert found.differences == [], event.type
    assert found.state.status == "succeeded"


def test_a_hole_in_the_log_is_no_state(dsn: str, database: Database) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER append_only")
        connection.execute("DELETE FROM events WHERE stream = 'r' AND version = 4")
    with pytest.raises(MusterError, match="muster verify r"):
        replay(database, "r")
    assert replay(database, "r", until=3).version == 3


def test_a_stream_is_known_by_its_events(database: Database) -> None:
    assert has_events(database, "r")
    assert not has_events(database, "unknown")
