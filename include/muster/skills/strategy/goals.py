"""Goals: what is to be reached by when, how it is measured, and what each part of it counts for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from muster.errors import PermanentError
from muster.skills.registry import skill

Share = Annotated[Decimal, Field(gt=0, le=1)]
"""A part of a whole, from 0 to 1."""


class Kpi(BaseModel):
    """A number that shows how far a goal has got."""

    measure: str = Field(min_length=1, max_length=200)
    """What is counted, as measurements call it."""
    baseline: Decimal
    """Where it stands when work begins."""
    target: Decimal
    unit: str | None = Field(default=None, max_length=40)
    due: date

    @model_validator(mode="after")
    def _moves(self) -> Kpi:
        if self.baseline == self.target:
            raise ValueError(f"the target of {self.measure!r} is where it stands already, {self.target}")
        return self

    @property
    def is_share(self) -> bool:
        """True for a ratio, which every part has to reach; any other number is the sum of its parts."""
        return self.unit in ("%", "percent", "points", "days", "hours")


class Goal(BaseModel):
    """Something to be reached, by its own measure or by its parts."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    title: str = Field(min_length=1, max_length=300)
    weight: Share | None = None
    """What it counts for among those beside it; without it they share what the others leave."""
    kpi: Kpi | None = None
    departments: list[str] = []
    """Who is to reach it; empty where nobody is named."""
    parts: list[Goal] = []


class Goals(BaseModel):
    """The goals of a strategy."""

    goals: list[Goal] = Field(min_length=1, max_length=50)


class WeighedGoal(BaseModel):
    """A goal whose weight is known; the weights beside one another add up to 1."""

    id: str
    title: str
    weight: Share
    kpi: Kpi | None
    departments: list[str]
    parts: list[WeighedGoal]

    def leaves(self, weight: Decimal = Decimal(1)) -> Iterator[tuple[WeighedGoal, Decimal]]:
        """The goals without parts below it, or itself, each with what it counts for in the whole."""
        if not self.parts:
            yield self, weight * self.weight
        for part in self.parts:
            yield from part.leaves(weight * self.weight)


@skill("strategy.weigh_goals")
def weigh_goals(goals: Goals) -> list[WeighedGoal]:
    """Give every goal its weight, so that those beside one another add up to 1.

    Raises:
        PermanentError: two goals have one id, a goal can not be measured, or weights leave nothing for the others.
    """
    wrong = list(_mistakes(goals.goals))
    if wrong:
        raise PermanentError(f"The goals can not be followed: {'; '.join(wrong)}.", remedy="Mend the strategy's text.")
    return _weighed(goals.goals)


def _mistakes(goals: Sequence[Goal]) -> Iterator[str]:
    everyone = list(_all(goals))
    for name, count in Counter(goal.id for goal in everyone).items():
        if count > 1:
            yield f"{count} goals are called `{name}`"
    for goal in everyone:
        if goal.kpi is None and not goal.parts:
            yield f"`{goal.id}` has neither a measure nor parts"
    for where, siblings in (("the strategy", goals), *((f"`{goal.id}`", goal.parts) for goal in everyone)):
        given = [goal.weight for goal in siblings if goal.weight is not None]
        if sum(given) >= 1 and len(given) < len(siblings):
            yield f"the weights below {where} are {sum(given):.0%} together and leave nothing for the others"


def _all(goals: Sequence[Goal]) -> Iterator[Goal]:
    for goal in goals:
        yield goal
        yield from _all(goal.parts)


def _weighed(goals: Sequence[Goal]) -> list[WeighedGoal]:
    given = sum((goal.weight for goal in goals if goal.weight is not None), Decimal(0))
    open_ones = sum(goal.weight is None for goal in goals)
    rest = (1 - given) / open_ones if open_ones else Decimal(0)
    total = given + rest * open_ones
    return [
        WeighedGoal(
            id=goal.id,
            title=goal.title,
            weight=(rest if goal.weight is None else goal.weight) / total,
            kpi=goal.kpi,
            departments=goal.departments,
            parts=_weighed(goal.parts),
        )
        for goal in goals
    ]
