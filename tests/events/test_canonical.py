"""Canonical JSON and the events' hash."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import PermanentError
from muster.events.canonical import GENESIS, canonical, event_hash, instant

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON)
def test_canonical_text_reads_back_to_the_value_and_is_a_fixed_point(value: Any) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text
    text.encode()


def test_the_order_of_keys_does_not_matter() -> None:
    assert canonical({"b": 1, "a": "ä"}) == canonical({"a": "ä", "b": 1}) == '{"a":"ä","b":1}'


@pytest.mark.parametrize("value", [{1, 2}, float("inf"), b"x", {"a": datetime(2026, 1, 1, tzinfo=UTC)}, {(1,): 2}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(PermanentError, match="cannot be written"):
        canonical(value)


def test_the_hash_never_changes_for_stored_events() -> None:
    # Computed once: a different value here would make every stored log fail to verify.
    assert (
        event_hash(
            previous=GENESIS,
            stream="invoices/r1",
            version=1,
            id=UUID(int=1),
            at=instant(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
            type="run.opened",
            key=None,
            actor="ada",
            correlation="invoices/r1",
            causation=None,
            data='{"ä":1.10}',
        )
        == "d9eb9acc795849c94eb4ca5cd1c1aada5d4bb6243fa0bff052f27f5baff5bbf2"
    )
