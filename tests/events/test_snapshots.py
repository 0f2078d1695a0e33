"""A snapshot saves work and changes no answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.database import Database
from muster.events import log as log_module
from muster.events import snapshots
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.events.snapshots import dump, restore
from muster.events.state import RunState, fold
from support.run_events import closed, step, whole_run

LARGE = step(T.STEP_SUCCEEDED, "large", output={"text": "ä" * 70_000, "number": 10**30, "half": 0.1})
HAPPENINGS = [replace(event, key=None) for event in [*whole_run(), LARGE, step(T.STEP_SKIPPED, "z", reason="\ud800")]]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third event is worth a snapshot, and a page holds two."""
    monkeypatch.setattr(snapshots, "EVERY", 3)
    monkeypatch.setattr(log_module, "READ_PAGE", 2)


def kept(dsn: str) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT stream, version, code FROM snapshots ORDER BY stream").fetchall()


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER append_only")
        for statement in statements:
            connection.execute(statement)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.sampled_from(HAPPENINGS), min_size=1, max_size=5), min_size=1, max_size=8))
def test_the_state_is_the_fold_of_all_events_whenever_it_was_asked_for(
    batches: list[list[NewEvent]], log: EventLog
) -> None:
    stream = f"r/{uuid4()}"
    for batch in batches:
        log.append(stream, batch)
        assert log.state(stream) == fold(log.read(stream))


def test_what_was_folded_once_is_not_read_again(log: EventLog, dsn: str) -> None:
    log.append("r", whole_run())
    whole = log.state("r")
    assert [row[:2] for row in kept(dsn)] == [("r", 21)]
    # Were they read again, the hole would show.
    execute(dsn, "DELETE FROM events WHERE stream = 'r' AND version BETWEEN 5 AND 9")
    assert log.state("r") == whole
    assert asyncio.run(_astate(log)) == whole


async def _astate(log: EventLog) -> RunState:
    try:
        return await log.astate("r")
    finally:
        await log._database.aclose()


def test_short_streams_have_none(log: EventLog, dsn: str) -> None:
    log.append("r", whole_run()[:2])
    assert log.state("r").status == "open"
    assert log.state("unknown") == RunState()
    assert kept(dsn) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE snapshots SET code = 'another release'",
        "UPDATE snapshots SET hash = sha256('another past')",
        "UPDATE snapshots SET version = 20",
        "UPDATE snapshots SET state = 'torn'",
        "UPDATE snapshots SET state = '{\"steps\": 3}'",
    ],
)
def test_a_snapshot_that_does_not_fit_is_passed_over_and_made_new(log: EventLog, dsn: str, change: str) -> None:
    log.append("r", whole_run())
    whole, before = log.state("r"), kept(dsn)
    # Whoever believed it would now see another run.
    execute(dsn, "UPDATE snapshots SET state = replace(state, 'invoices', 'forged')", change)
    assert log.state("r") == whole
    assert kept(dsn) == before


def test_a_state_comes_back_from_its_text_or_is_not_kept(database: Database, log: EventLog) -> None:
    log.append("r", [*whole_run(), LARGE])
    state = fold(log.read("r"))
    text = dump(state)
    assert text is not None
    assert restore(text) == state
    assert list(restore(text).steps) == ["read", "code", "approve", "tell", "large"]  # type: ignore[union-attr]
    log.append("odd", [closed("not a status")])
    assert dump(fold(log.read("odd"))) is None
