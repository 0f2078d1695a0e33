"""Tampering shows."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from muster.events.canonical import event_hash, instant
from muster.events.log import EventLog
from muster.events.model import NewEvent

Tamper = Callable[[str], None]


@pytest.fixture
def tamper(dsn: str) -> Tamper:
    """Changes the tables as only their owner can: with the trigger off."""

    def change(statement: str) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute("ALTER TABLE events DISABLE TRIGGER append_only")
            assert connection.execute(statement).rowcount
            connection.execute("ALTER TABLE events ENABLE TRIGGER append_only")

    return change


@pytest.fixture(autouse=True)
def stream(log: EventLog) -> None:
    log.append("s", [NewEvent(type="noted", data={"step": "a", "n": n, "amount": 1.10}, key=f"{n}") for n in range(6)])
    log.append("t", [NewEvent(type="noted", data={"n": n}) for n in range(3)])


def test_an_untouched_log_verifies(log: EventLog) -> None:
    assert log.verify("s") is None
    assert log.verify("unknown") is None
    assert list(log.verify_all()) == []


@pytest.mark.parametrize(
    "assignment",
    [
        """data = '{"amount":1.10,"n":3,"step":"a"}'""",
        """data = '{"amount":1.1,"n":2,"step":"a","more":0}'""",
        """data = '{"amount":1.1,"n":2, "step":"a"}'""",
        """data = '[]'""",
        "actor = 'eve'",
        "type = 'noticed'",
        "at = at + interval '1 microsecond'",
        "key = 'other'",
        "key = NULL",
        "correlation = 'other'",
        "causation = id",
        "id = gen_random_uuid()",
        "step = 'b'",
        "hash = sha256('x')",
    ],
)
def test_any_altered_column_is_found_at_its_event(log: EventLog, tamper: Tamper, assignment: str) -> None:
    tamper(f"UPDATE events SET {assignment} WHERE stream = 's' AND version = 3")

    [fault] = log.verify_all()
    assert (fault.stream, fault.version, fault.kind) == ("s", 3, "altered")


def test_a_removed_event_is_found(log: EventLog, tamper: Tamper) -> None:
    tamper("DELETE FROM events WHERE stream = 's' AND version = 3")
    fault = log.verify("s")
    assert fault is not None
    assert (fault.version, fault.kind) == (3, "removed")


def test_a_removed_event_whose_gap_was_closed_is_found(log: EventLog, tamper: Tamper) -> None:
    tamper("DELETE FROM events WHERE stream = 's' AND version = 3")
    tamper("UPDATE events SET version = version - 1 WHERE stream = 's' AND version > 3")
    fault = log.verify("s")
    assert fault is not None
    assert (fault.version, fault.kind) == (3, "altered")


def test_reordered_events_are_found(log: EventLog, tamper: Tamper) -> None:
    tamper("UPDATE events SET version = 100 WHERE stream = 's' AND version = 3")
    tamper("UPDATE events SET version = 3 WHERE stream = 's' AND version = 4")
    tamper("UPDATE events SET version = 4 WHERE stream = 's' AND version = 100")
    fault = log.verify("s")
    assert fault is not None
    assert fault.version in (3, 4)


def test_an_event_replaced_by_another_well_formed_one_is_found(log: EventLog, tamper: Tamper) -> None:
    # The forger writes a stream of their own and moves its third event over, hash and all.
    tamper("DELETE FROM events WHERE stream = 's' AND version = 3")
    tamper("UPDATE events SET stream = 's' WHERE stream = 't' AND version = 3")
    fault = log.verify("s")
    assert fault is not None
    assert fault.version == 3


def test_an_object_that_was_changed_or_removed_is_found(log: EventLog, tamper: Tamper) -> None:
    log.append("large", [NewEvent(type="noted", data={"output": "x" * 70_000})])
    assert log.verify("large") is None

    tamper("UPDATE objects SET content = '\\x22'")
    changed = log.verify("large")
    tamper("DELETE FROM objects")
    removed = log.verify("large")

    assert changed is not None
    assert removed is not None
    assert [changed.kind, removed.kind] == ["altered", "removed"]


def test_a_stream_of_several_pages_is_checked_to_its_end(log: EventLog, tamper: Tamper) -> None:
    log.append("long", [NewEvent(type="noted", data={"n": n}) for n in range(2_500)])
    assert log.verify("long") is None
    tamper("UPDATE events SET actor = 'eve' WHERE stream = 'long' AND version = 2500")
    fault = log.verify("long")
    assert fault is not None
    assert fault.version == 2500


def test_a_forged_event_with_a_hash_of_its_own_breaks_the_chain_at_the_next(log: EventLog, tamper: Tamper) -> None:
    third = list(log.read("s"))[2]
    data = '{"amount":9.9,"n":2,"step":"a"}'
    forged = event_hash(
        previous=third.previous_hash,
        stream="s",
        version=3,
        id=third.id,
        at=instant(third.at),
        type=third.type,
        key=third.key,
        actor=third.actor,
        correlation=third.correlation,
        causation=third.causation,
        data=data,
    )
    tamper(f"UPDATE events SET data = '{data}', hash = '\\x{forged}' WHERE stream = 's' AND version = 3")
    fault = log.verify("s")
    assert fault is not None
    assert (fault.version, fault.kind) == (4, "replaced")
