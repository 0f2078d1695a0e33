"""What an agent is shown is the most relevant that has room, and the same every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from muster.coordination.blackboard import Entry, most_relevant
from muster.coordination.blackboard.relevance import size

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def entry(key: str, value: object, hour: int = 0, *, there: bool = True, readable: bool = True) -> Entry:
    return Entry(
        key=key, version=1, value=value, kind="put", writer="clerk", run="r", base=0, causation=None,
        written_at=DAY + timedelta(hours=hour), is_there=there, is_readable=readable, rests_on_withdrawn=False,
        withdrawn_at=None, withdrawn_because=None,
    )  # fmt: skip


def test_the_least_relevant_are_left_out_first_and_of_those_the_oldest() -> None:
    found = [
        entry("prices", "steel costs three", 1),
        entry("weather", "it rains", 2),
        entry("people", "seven of them", 3),
    ]
    asked = "What does STEEL cost, and which prices rise?"
    room = size(found[0]) + size(found[2])
    shown = most_relevant(found, asked, room)
    assert [each.key for each in shown.entries] == ["prices", "people"]
    assert [(each.key, each.why) for each in shown.left_out] == [("weather", "no room")]
    assert shown.tokens <= room
    assert most_relevant(list(reversed(found)), asked, room) == shown
    assert [each.key for each in most_relevant(found, asked, 10_000).entries] == ["prices", "people", "weather"]


def test_one_that_is_alone_too_large_takes_no_room_from_others() -> None:
    found = [entry("prices", "steel " * 5_000), entry("weather", "it rains")]
    shown = most_relevant(found, "steel", 100)
    assert [each.key for each in shown.entries] == ["weather"]
    assert [(each.key, each.why) for each in shown.left_out] == [("prices", "too large")]


def test_what_nobody_can_look_at_is_not_shown_and_nothing_fits_in_nothing() -> None:
    assert most_relevant([entry("a", None, there=False), entry("b", None, readable=False)], "x", 100).left_out == []
    assert most_relevant([entry("a", "x")], "x", 0).entries == []
