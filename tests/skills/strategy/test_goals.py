"""Goals: found in a text, weighed, handed down so that parts add up, and measured."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.database import Database
from muster.errors import PermanentError
from muster.skills.registry import SkillContext
from muster.skills.strategy.cascading import HandedDown, hand_down, leaves
from muster.skills.strategy.goals import Goal, Goals, Kpi, WeighedGoal, weigh_goals
from muster.skills.strategy.progress import Measurement, measure_progress
from muster.skills.strategy.reading import read_goals

TODAY = date(2026, 11, 25)
TEXT = """
# Strategy 2027
We want to grow without losing those we have.

## Grow [60%]
- Customers: active customers from 1,200 to 1,500.5 by 2027-12-31 [70%] @sales @Field-Service
- Loyalty: customers who leave from 12 % to 8 % by 2027-06-30
    - Hotline: minutes on hold from 9 minutes to 3 minutes by 2027-03-31
## Be faster
Days to deliver from 14 days to 7 days by 2027-06-30.
- deliver: days to deliver from 14 days to 7 days by 2027-06-30
## Thanks
- to all who have helped
"""


DEPARTMENTS = [
    {"id": "sales", "name": "Sales", "teams": [{"name": "A", "people": 3}, {"name": "B", "people": 4}]},
    {"id": "service", "name": "Service", "teams": [{"name": "C", "people": 5}]},
]
CONTEXT = SkillContext(
    run="try/1",
    step="hand_down",
    key="hand_down",
    now=datetime(TODAY.year, TODAY.month, TODAY.day, 9, tzinfo=UTC),
    database=Database("host=/nonexistent"),
    workspace=Path("/nonexistent"),
    settings={"strategy": {"departments": DEPARTMENTS}},
)
"""Of a run with a database that cannot be reached: these skills need none."""


@pytest.fixture
def context() -> SkillContext:
    return CONTEXT


def goal(kpi: Kpi | None = None, *, id: str = "g", weight: str = "1", **more: Any) -> WeighedGoal:
    return WeighedGoal(id=id, title=id, weight=Decimal(weight), kpi=kpi, **{"departments": [], "parts": [], **more})


def kpi(baseline: str, target: str, unit: str | None = None, due: date = date(2027, 12, 31)) -> Kpi:
    return Kpi(measure="m", baseline=Decimal(baseline), target=Decimal(target), unit=unit, due=due)


def test_goals_are_found_with_their_numbers_weights_departments_and_parts() -> None:
    grow, faster = read_goals(TEXT).goals
    assert (grow.title, grow.weight, grow.kpi) == ("Grow", Decimal("0.6"), None)
    customers, loyalty = grow.parts
    assert customers.kpi == Kpi(
        measure="active customers", baseline=Decimal(1200), target=Decimal("1500.5"), due=date(2027, 12, 31)
    )
    assert (customers.weight, customers.departments) == (Decimal("0.7"), ["sales", "field_service"])
    assert loyalty.kpi is not None
    assert (loyalty.kpi.measure, loyalty.kpi.unit) == ("customers who leave", "%")
    assert [part.title for part in loyalty.parts] == ["Hotline"]
    assert [(part.id, part.kpi and part.kpi.unit) for part in faster.parts] == [("deliver", "days")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no goal in the text"),
        ("- Win customers", "There is no goal in the text"),
        ("- a: b from 1 to 2 by 2027-02-30", "2027-02-30 is no date"),
        ("- a: b from 2 to 2 by 2027-02-20", "where it stands already"),
        ("- a: b from 1 to 2 by 2027-02-20 [0%]", "0 % is no weight"),
        ("- a: b from 1 to 2 by 2027-02-20 [101%]", "101 % is no weight"),
        ("x" * 100_001, "more than 100000"),
    ],
)
def test_what_is_no_goal_is_said_with_what_to_write(text: str, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        read_goals(text)


@given(st.text(max_size=2_000))
def test_any_text_gives_goals_or_is_refused_in_words(text: str) -> None:
    with suppress(PermanentError):
        assert weigh_goals(read_goals(text))


def test_a_long_line_takes_no_longer_than_its_length() -> None:
    with pytest.raises(PermanentError):
        read_goals("- " + "from 1 to " * 9_000)


def test_weights_beside_one_another_add_up_and_those_without_share_the_rest() -> None:
    [grow, faster] = weigh_goals(read_goals(TEXT))
    assert (grow.weight, faster.weight) == (Decimal("0.6"), Decimal("0.4"))
    assert [part.weight for part in grow.parts] == [Decimal("0.7"), Decimal("0.3")]
    whole = leaves([grow, faster])
    assert sum(leaf.weight for leaf in whole) == 1
    assert [leaf.id for leaf in whole] == ["customers", "hotline", "deliver"]


@pytest.mark.parametrize(
    ("goals", "said"),
    [
        ([Goal(id="a", title="a")], "neither a measure nor parts"),
        ([Goal(id="a", title="a", kpi=kpi("1", "2"))] * 2, "2 goals are called `a`"),
        (
            [
                Goal(id="a", title="a", weight=Decimal(1), kpi=kpi("1", "2")),
                Goal(id="b", title="b", kpi=kpi("1", "2")),
            ],
            "leave nothing for the others",
        ),
    ],
)
def test_goals_that_cannot_be_followed_are_refused_with_all_that_is_wrong(goals: list[Goal], said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        weigh_goals(Goals(goals=goals))


@given(st.decimals(-(10**6), 10**6, places=3), st.decimals(-(10**6), 10**6, places=3))
def test_the_parts_of_a_sum_add_up_to_it_to_the_last_digit(baseline: Decimal, target: Decimal) -> None:
    if baseline == target:
        return
    whole = kpi("1", "2").model_copy(update={"baseline": baseline, "target": target})
    told = hand_down(goal(whole), CONTEXT)
    for parts in (
        [each.kpi for each in told.departments],
        [team.kpi for each in told.departments for team in each.teams],
    ):
        assert sum(part.baseline for part in parts) == baseline
        assert sum(part.target for part in parts) == target


def test_a_sum_is_split_by_people_and_a_ratio_is_everybodys(context: SkillContext) -> None:
    told = hand_down(goal(kpi("120", "240")), context)
    assert teams(told) == [("A", 30, 60), ("B", 40, 80), ("C", 50, 100)]
    ratio = hand_down(goal(kpi("12", "8", "%"), departments=["service"]), context)
    assert teams(ratio) == [("C", 12, 8)]


def teams(told: HandedDown) -> list[tuple[str, Decimal, Decimal]]:
    return [(team.team, team.kpi.baseline, team.kpi.target) for each in told.departments for team in each.teams]


def test_milestones_lie_on_the_straight_line_and_end_with_the_goal(context: SkillContext) -> None:
    due = TODAY + timedelta(days=400)
    [tasks] = [
        team.tasks
        for each in hand_down(goal(kpi("0", "100", due=due), departments=["service"]), context).departments
        for team in each.teams
    ]
    assert [(task.target, (task.due - TODAY).days) for task in tasks] == [(25, 100), (50, 200), (75, 300), (100, 400)]
    assert tasks[-1].title == f"m: 100 by {due}"
    soon = hand_down(goal(kpi("0", "100", due=TODAY + timedelta(days=3)), departments=["service"]), context)
    assert len(soon.departments[0].teams[0].tasks) == 1


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (goal(kpi("0", "1"), departments=["salse"]), "which is no department"),
        (goal(kpi("0", "1", due=TODAY)), "is due on 2026-11-25 already"),
        (goal(), "has no measure of its own"),
    ],
)
def test_what_cannot_be_handed_down_is_said(context: SkillContext, of: WeighedGoal, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        hand_down(of, context)
    if not of.departments and of.kpi and of.kpi.due > TODAY:
        with pytest.raises(PermanentError, match="No department is known"):
            hand_down(of, replace(context, settings={}))


def measured(*points: tuple[int, float]) -> list[Measurement]:
    """Values so many days before today."""
    return [Measurement(measure="M", at=TODAY - timedelta(days=ago), value=value) for ago, value in points]


def test_attainment_is_the_part_of_the_way_and_a_weighted_sum_above(context: SkillContext) -> None:
    parts = [goal(kpi("0", "100"), id="a", weight="0.75"), goal(kpi("100", "0"), id="b", weight="0.25")]
    told = measure_progress([goal(parts=parts)], measured((10, 20), (0, 40)), context)
    [a, b] = told.goals[0].parts
    # One measure for both: 40 of the way up, and 60 of the way down.
    assert (a.attained, b.attained) == pytest.approx((0.4, 0.6))
    assert told.attained == pytest.approx(0.75 * 0.4 + 0.25 * 0.6)


def test_the_forecast_is_where_the_line_meets_the_target(context: SkillContext) -> None:
    points = measured(*((10 * n, 50 - 10 * n) for n in range(5)))
    [told] = measure_progress([goal(kpi("0", "100"))], points, context).goals
    assert told.reached_on == TODAY + timedelta(days=50)
    assert (told.status, told.earliest, told.latest_on) == ("on_track", told.reached_on, told.reached_on)
    assert told.planned == pytest.approx(40 / ((date(2027, 12, 31) - TODAY).days + 40))


def test_one_odd_measurement_hardly_moves_it(context: SkillContext) -> None:
    points = measured(*((10 * n, 50 - 10 * n) for n in range(5)), (5, 400.0))
    points[-1] = points[-1].model_copy(update={"value": 60.0})
    [told] = measure_progress([goal(kpi("0", "100"))], points, context).goals
    assert told.reached_on is not None
    assert abs((told.reached_on - (TODAY + timedelta(days=50))).days) <= 10


@pytest.mark.parametrize(
    ("points", "due", "status"),
    [
        ([], 100, "not_measured"),
        ([(0, 40.0)], 100, "standing_still"),
        ([(10, 40.0), (0, 40.0)], 100, "standing_still"),
        ([(10, 40.0), (0, 30.0)], 100, "standing_still"),
        ([(10, 40.0), (0, 50.0)], 100, "on_track"),
        ([(10, 40.0), (0, 50.0)], 20, "late"),
        ([(10, 40.0), (0, 140.0)], 100, "reached"),
        ([(36_000, 0.0), (0, 1e-9)], 100, "standing_still"),
    ],
)
def test_every_state_of_a_goal(context: SkillContext, points: list[tuple[int, float]], due: int, status: str) -> None:
    of = goal(kpi("0", "100", due=TODAY + timedelta(days=due)))
    [told] = measure_progress([of], measured(*points), context).goals
    assert told.status == status
    assert 0 <= told.attained <= 1


def test_what_is_measured_in_the_future_does_not_count(context: SkillContext) -> None:
    [told] = measure_progress([goal(kpi("0", "100"))], measured((5, 10), (-5, 100)), context).goals
    assert told.attained == pytest.approx(0.1)
