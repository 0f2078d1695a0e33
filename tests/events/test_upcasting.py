"""Old events are read in today's shape, and what is stored stays as it was written."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.errors import MusterError, PermanentError
from muster.events import batch, facts, rows
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.events.projections import STEPS
from muster.events.rebuild import rebuild
from muster.events.state import fold
from muster.events.upcasting import MARK, UPCASTERS, Upcasters
from support.run_events import opened, step


@pytest.fixture
def upcasters() -> Upcasters:
    """`noted` has had three shapes: `txt`, then `text`, then `text` and `lines`."""
    made = Upcasters()
    made.add("noted", 1)(lambda data: {**{k: v for k, v in data.items() if k != "txt"}, "text": data["txt"]})
    made.add("noted", 2)(lambda data: {**data, "lines": [data["text"]]})
    return made


@pytest.fixture
def later(upcasters: Upcasters, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the release with these upcasters begin."""

    def begin() -> None:
        for module in (batch, rows, facts):
            monkeypatch.setattr(module, "UPCASTERS", upcasters)

    return begin


def stored(dsn: str) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT data::text FROM events ORDER BY position").fetchall()


def test_each_version_is_brought_through_all_that_follow_it(upcasters: Upcasters) -> None:
    today = {"text": "a", "lines": ["a"]}
    assert upcasters.upcast("noted", {"txt": "a"}) == today
    assert upcasters.upcast("noted", {"text": "a", MARK: 2}) == today
    assert upcasters.upcast("noted", {**today, MARK: 3}) == today
    assert upcasters.upcast("other", {"txt": "a"}) == {"txt": "a"}


def test_old_and_new_events_are_read_alike_wherever_they_are_read_and_old_ones_still_verify(
    log: EventLog, dsn: str, later: Any
) -> None:
    log.append("s", [NewEvent(type="noted", data={"txt": "a"}, key="first")])
    before = stored(dsn)
    later()
    new = log.append("s", [NewEvent(type="noted", data={"text": "b", "lines": ["b", "c"]}, key="second")])

    expected = [{"text": "a", "lines": ["a"]}, {"text": "b", "lines": ["b", "c"]}]
    assert [event.data for event in log.read("s")] == expected
    assert [event.data for event in log.follow().events] == expected
    assert [log.under_keys("s", ["first", "second"])[key].data for key in ("first", "second")] == expected
    assert new == list(log.read("s"))[1:]
    again = log.append("s", [NewEvent(type="noted", data={"text": "a", "lines": []}, key="first")])
    assert again[0].data == expected[0]
    assert stored(dsn)[:1] == before
    assert log.verify("s") is None


def test_a_value_too_large_for_an_event_is_moved_by_an_upcaster_like_any_other(log: EventLog, later: Any) -> None:
    log.append("s", [NewEvent(type="noted", data={"txt": "x" * 70_000})])
    later()
    [event] = log.read("s")
    assert event.data["text"] == "x" * 70_000
    assert log.verify("s") is None


def test_an_event_of_a_version_to_come_is_refused_with_what_to_do(upcasters: Upcasters) -> None:
    for data in ({MARK: 4}, {MARK: 0}, {MARK: "3"}):
        with pytest.raises(MusterError, match="Update Muster"):
            upcasters.upcast("noted", dict(data))
    with pytest.raises(MusterError, match=r"other is of version 2.*up to 1"):
        upcasters.upcast("other", {MARK: 2})


def test_upcasters_leave_no_gap_and_none_is_replaced(upcasters: Upcasters) -> None:
    for version in (1, 2, 4):
        with pytest.raises(ValueError, match="version 3"):
            upcasters.add("noted", version)


def test_the_key_of_the_version_cannot_be_taken_by_anything_else(log: EventLog) -> None:
    with pytest.raises(PermanentError, match="no key"):
        log.append("s", [NewEvent(type="noted", data={MARK: 1})])


def test_a_model_call_of_the_first_shape_has_failed_tiers_to_read_none(
    log: EventLog, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = step(T.MODEL_CALLED, "code", agent="clerk", cost="0.5", usage={"input_tokens": 3})
    monkeypatch.setattr(batch, "UPCASTERS", Upcasters())
    log.append("r", [opened(), called])
    monkeypatch.undo()
    log.append("r", [step(T.MODEL_CALLED, "code", agent="clerk", cost="0.5", failed=[{"tier": "fast"}])])

    assert ['"$schema":2' in row[0] for row in stored(dsn)] == [False, False, True]
    assert [event.data["failed"] for event in log.read("r", types=["model.called"])] == [[], [{"tier": "fast"}]]
    assert fold(log.read("r")).calls == 2
    with psycopg.connect(dsn) as connection:
        live = connection.execute(f"SELECT t::text FROM {STEPS.name} t").fetchall()
        rebuild(database)
        assert connection.execute(f"SELECT t::text FROM {STEPS.name} t").fetchall() == live
    assert UPCASTERS.current("model.called") == 2
