"""Everything JSON can say comes back from the log as it went in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from muster.database import Database
from muster.events.canonical import canonical
from muster.events.log import EventLog
from muster.events.model import NewEvent

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
ODD = ["\0", "\ud800", "\ud83e\udd80", "\\u0000", "\\ud800", "\\", '"', "\u2028", "1.10", "é", "e\u0301"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.sampled_from(ODD)
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    references = st.builds(lambda value: {"$object": value}, inner)
    return st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4) | references


JSON = st.recursive(SCALARS, nested, max_leaves=12)
SPLIT = {"\ud83e\udd80": 1, "\uffff": 2, "\ud800": "\ud800\udc00"}
"""Surrogates that read back as one character, which sorts elsewhere."""


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        yield opened


@given(JSON)
@example(SPLIT)
@example({"\ud83e\udd80": 1, "🦀": 2})
def test_canonical_text_has_a_utf_8_form_and_reads_back_to_itself(value: Any) -> None:
    text = canonical(value)
    text.encode()
    assert canonical(json.loads(text)) == text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(JSON, min_size=1, max_size=3))
@example([SPLIT, "\0", 1.0, 10**40, {"$object": "x"}])
def test_canonical_json_survives_the_database_byte_for_byte(
    database: Database, connection: psycopg.Connection, values: list[Any]
) -> None:
    log, stream = EventLog(database), str(uuid4())
    written = log.append(stream, [NewEvent(type="noted", data={"value": value}) for value in values])

    texts = [canonical({"value": value}) for value in values]
    assert [canonical(event.data) for event in written] == texts
    assert [event.data for event in log.read(stream)] == [json.loads(text) for text in texts]
    stored = connection.execute("SELECT data::text FROM events WHERE stream = %s ORDER BY version", (stream,))
    for (kept,), text in zip(stored.fetchall(), texts, strict=True):
        assert kept == text or '"$object":' in text, "only what looks like a reference is kept elsewhere"
    assert log.verify(stream) is None


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
@example(value=SPLIT)
def test_a_value_kept_as_an_object_survives_byte_for_byte(
    database: Database, connection: psycopg.Connection, value: Any
) -> None:
    log, stream = EventLog(database), str(uuid4())
    large = [value, "x" * 70_000]
    log.append(stream, [NewEvent(type="noted", data={"value": large})])

    [event] = log.read(stream)
    text = canonical(large)
    assert canonical(event.data["value"]) == text
    kept = connection.execute("SELECT content FROM objects WHERE sha256 = %s", (sha256(text.encode()).digest(),))
    assert kept.fetchone() == (text.encode(),)
