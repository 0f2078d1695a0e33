"""What a plan would come to if it ran now."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from muster.coordination.assignment import Member
from muster.coordination.forecast import FEWEST, forecast
from muster.coordination.plans import Plan
from muster.events.experience import Experience, Range


def plan(*tasks: dict[str, Any]) -> Plan:
    return Plan.of([{"ask": "Do it.", **task} for task in tasks])


ALL = frozenset({"x", "y"})
TWO = [Member(0, "ada", ALL), Member(1, "bob", ALL)]
DIAMOND = plan(
    {"id": "a", "effort": 10},
    {"id": "b", "effort": 20, "after": ["a"]},
    {"id": "c", "effort": 30, "after": ["a"]},
    {"id": "d", "effort": 5, "after": ["b", "c"]},
)


def test_tasks_are_played_as_they_would_be_assigned() -> None:
    told = forecast(DIAMOND, TWO, {})
    assert [(turn.task, turn.begins, turn.ends) for turn in told.turns] == [
        (0, 0, 10),
        (1, 10, 30),
        (2, 10, 40),
        (3, 40, 45),
    ]
    assert told.seconds == Range(22.5, 45, 90)
    assert told.alone == 65
    assert told.usd is None, "nobody has worked before, so nobody knows what it costs"


def test_no_member_does_two_tasks_at_once_and_every_task_is_done_once() -> None:
    many = plan(*({"id": f"t{n}", "effort": n % 7 + 1, "after": [f"t{n - 5}"] if n > 9 else []} for n in range(60)))
    turns = forecast(many, TWO, {}).turns
    assert sorted(turn.task for turn in turns) == list(range(60))
    for slot in (0, 1):
        own = [turn for turn in turns if turn.slot == slot]
        assert all(before.ends <= after.begins for before, after in pairwise(own))


def test_what_agents_took_before_counts_for_more_than_the_estimate() -> None:
    known = Experience(FEWEST, Range(1, 2, 8), Range(0.01, 0.02, 0.04))
    told = forecast(DIAMOND, TWO, {"ada": known, "bob": known})
    assert told.seconds == Range(3, 6, 24)
    assert told.usd is not None
    assert (told.usd.low, told.usd.likely, told.usd.high) == pytest.approx((0.04, 0.08, 0.16))


def test_of_an_agent_that_has_worked_too_little_the_estimate_counts() -> None:
    known = Experience(FEWEST - 1, Range(1, 2, 8), None)
    told = forecast(DIAMOND, TWO, {"ada": known, "bob": known})
    assert told.seconds == Range(22.5, 45, 90)
    assert told.usd is None, "a price that is not known is not zero"


def test_a_plan_without_tasks_takes_no_time() -> None:
    told = forecast(Plan([]), [], {})
    assert (told.turns, told.seconds, told.alone) == ([], Range(0, 0, 0), 0)
