"""Large values move out of events, and come back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events.canonical import canonical
from muster.events.log import EventLog
from muster.events.model import NewEvent
from muster.events.objects import INLINE_LIMIT, REFERENCE, attach, detach, references


def contents(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    text, moved = detach(data)
    return json.loads(text), {each.sha256: each.content for each in moved}


def test_what_fits_stays_and_one_character_more_moves() -> None:
    room = INLINE_LIMIT - len(canonical({"output": ""}))
    assert contents({"output": "x" * room})[1] == {}
    assert len(contents({"output": "x" * (room + 1)})[1]) == 1


def test_the_largest_values_move_first_and_only_as_many_as_needed() -> None:
    data = {"input": "i" * 40_000, "output": "o" * 50_000, "note": "n" * 1_000}
    stored, moved = contents(data)

    assert (stored["input"], stored["note"]) == (data["input"], data["note"])
    assert stored["output"]["size"] == 50_002
    assert list(moved.values()) == [canonical(data["output"]).encode()]
    assert attach(stored, moved) == data


def test_equal_values_share_one_object() -> None:
    stored, moved = contents({"a": "x" * 70_000, "b": "x" * 70_000})
    assert stored["a"] == stored["b"]
    assert len(moved) == 1


def test_many_small_values_stay_since_references_would_be_larger() -> None:
    data = {f"name{number}": "value" for number in range(10_000)}
    text, moved = detach(data)
    assert (text, moved) == (canonical(data), [])


def test_a_value_that_looks_like_a_reference_moves_out_however_small() -> None:
    data = {"output": {REFERENCE: "0" * 64}, "list": [{REFERENCE: 1}], REFERENCE: "name"}
    stored, moved = contents(data)

    assert references(stored) == set(moved)
    assert moved == {stored["output"][REFERENCE]: canonical(data["output"]).encode()}
    assert attach(stored, moved) == data


def test_a_missing_or_changed_object_is_an_error_and_never_other_content(log: EventLog, database: Database) -> None:
    log.append("s", [NewEvent(type="noted", data={"output": "x" * 70_000})])
    for change, said in (
        ("UPDATE objects SET content = '1'", "not what was stored"),
        ("DELETE FROM objects", "missing"),
    ):
        with database.connection() as connection:
            connection.execute(change)
        with pytest.raises(MusterError, match=said):
            list(log.read("s"))
