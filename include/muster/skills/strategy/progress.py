"""How far goals have got, and when they will be reached if things go on as they have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import combinations
from statistics import median, quantiles
from typing import Literal

from pydantic import BaseModel, Field

from muster.skills.registry import SkillContext, skill
from muster.skills.strategy.goals import Kpi, WeighedGoal

Status = Literal["reached", "on_track", "late", "standing_still", "not_measured"]
FURTHEST = 36_500
"""Days ahead that are forecast at most; what takes longer stands still."""
MOST = 400
"""Measurements of one goal that are looked at, the latest ones: all pairs of them are compared."""


class Measurement(BaseModel):
    """Where a measure stood on a day."""

    measure: str = Field(min_length=1, max_length=200)
    at: date
    value: float = Field(allow_inf_nan=False)


class Progress(BaseModel):
    """How far a goal has got."""

    id: str
    title: str
    weight: float
    attained: float
    """From 0, at the baseline, to 1, at the target or beyond; of a goal with parts their weighted sum."""
    planned: float | None
    """What it would be today on the straight line from the first measurement to the day it is due; None where there is
    no measurement."""
    status: Status
    latest: Measurement | None
    reached_on: date | None
    """When it will be reached as things go; None where it will not, or nobody knows."""
    earliest: date | None
    latest_on: date | None
    """The same for the upper and lower quartile of how fast it went."""
    parts: list[Progress]


class Cascade(BaseModel):
    """How far a strategy has got."""

    attained: float
    goals: list[Progress]


@skill("strategy.measure_progress")
def measure_progress(goals: list[WeighedGoal], measurements: list[Measurement], context: SkillContext) -> Cascade:
    """How far each goal has got, and when it will be reached.

    For a measure with baseline b, target t and latest value v, a = min(max((v - b) / (t - b), 0), 1); for a goal with
    parts a = sum of w_i * a_i, the weights beside one another adding up to 1. The forecast is the straight line with
    the median slope of all pairs of measurements, through the median of what is left (Theil-Sen: P. K. Sen, Estimates
    of the regression coefficient based on Kendall's tau, 1968), which single odd measurements hardly move.
    """
    today = context.now.date()
    told = [_progress(goal, measurements, today) for goal in goals]
    return Cascade(attained=sum(each.attained * each.weight for each in told), goals=told)


def _progress(goal: WeighedGoal, measurements: Sequence[Measurement], today: date) -> Progress:
    parts = [_progress(part, measurements, today) for part in goal.parts]
    if parts:
        return Progress(
            id=goal.id,
            title=goal.title,
            weight=float(goal.weight),
            attained=sum(part.attained * part.weight for part in parts),
            planned=_sum([(part.planned, part.weight) for part in parts]),
            status=_worst([part.status for part in parts]),
            latest=None,
            reached_on=_last([part.reached_on for part in parts]),
            earliest=_last([part.earliest for part in parts]),
            latest_on=_last([part.latest_on for part in parts]),
            parts=parts,
        )
    own = [] if goal.kpi is None else _of(goal.kpi, measurements, today)
    return _leaf(goal, own, today)


def _of(kpi: Kpi, measurements: Sequence[Measurement], today: date) -> list[Measurement]:
    """The measurements of a measure up to today, one a day, the latest ones."""
    by_day = {it.at: it for it in measurements if it.measure.casefold() == kpi.measure.casefold() and it.at <= today}
    return [by_day[day] for day in sorted(by_day)][-MOST:]


def _leaf(goal: WeighedGoal, own: Sequence[Measurement], today: date) -> Progress:
    base = {"id": goal.id, "title": goal.title, "weight": float(goal.weight), "parts": []}
    nothing = {"reached_on": None, "earliest": None, "latest_on": None}
    if not own or goal.kpi is None:
        return Progress(**base, **nothing, attained=0, planned=None, status="not_measured", latest=None)
    baseline, target, last = float(goal.kpi.baseline), float(goal.kpi.target), own[-1]
    attained = min(max((last.value - baseline) / (target - baseline), 0.0), 1.0)
    whole = (goal.kpi.due - own[0].at).days
    planned = min(max((today - own[0].at).days / whole, 0.0), 1.0) if whole > 0 else 1.0
    known = {**base, "attained": attained, "planned": planned, "latest": last}
    if attained >= 1:
        return Progress(**known, status="reached", reached_on=last.at, earliest=last.at, latest_on=last.at)
    likely, early, late = _forecast(own, target)
    if likely is None:
        return Progress(**known, **nothing, status="standing_still")
    status: Status = "on_track" if likely <= goal.kpi.due else "late"
    return Progress(**known, status=status, reached_on=likely, earliest=early, latest_on=late)


def _forecast(own: Sequence[Measurement], target: float) -> tuple[date | None, date | None, date | None]:
    """When a target will be reached: by the median slope, and by its quartiles."""
    first = own[0].at
    points = [((it.at - first).days, it.value) for it in own]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2)]
    if not slopes:
        return None, None, None
    low, middle, high = quantiles(slopes, n=4, method="inclusive") if len(slopes) > 1 else slopes * 3

    def day(slope: float) -> date | None:
        """Where a line of this slope meets the target; None when it never does, or in more than a hundred years."""
        now, value = points[-1]
        if slope * (target - value) <= 0:
            return None
        # Through the median of what is left, not through the last point: that may be the odd one.
        level = median(y - slope * x for x, y in points)
        days = max((target - level) / slope, now)
        return first + timedelta(days=round(days)) if days <= FURTHEST else None

    early, _, late = sorted((day(low), day(middle), day(high)), key=lambda it: it or date.max)
    return day(middle), early, late


def _sum(parts: Sequence[tuple[float | None, float]]) -> float | None:
    known = [(value, weight) for value, weight in parts if value is not None]
    return sum(value * weight for value, weight in known) if len(known) == len(parts) else None


def _worst(statuses: Sequence[Status]) -> Status:
    order: tuple[Status, ...] = ("not_measured", "standing_still", "late", "on_track", "reached")
    return min(statuses, key=order.index)


def _last(days: Sequence[date | None]) -> date | None:
    known = [day for day in days if day is not None]
    return max(known) if len(known) == len(days) else None
