"""Goals handed down: from the whole to departments, from those to teams, from those to tasks with dates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from pydantic import BaseModel, Field

from muster.errors import PermanentError
from muster.skills.registry import SkillContext, skill
from muster.skills.strategy.goals import Kpi, WeighedGoal

MOST_MILESTONES = 4
SHORTEST = timedelta(days=7)
"""Between two milestones."""


class Team(BaseModel):
    """Some people of a department."""

    name: str = Field(min_length=1, max_length=100)
    people: int = Field(gt=0)


class Department(BaseModel):
    """A part of the organisation."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str = Field(min_length=1, max_length=100)
    teams: list[Team] = Field(min_length=1)

    @property
    def people(self) -> int:
        """How many work there."""
        return sum(team.people for team in self.teams)


class Milestone(BaseModel):
    """A task of a team: how far it should have got by a day."""

    title: str
    due: date
    target: Decimal


class TeamGoal(BaseModel):
    """What a team has to reach."""

    team: str
    kpi: Kpi
    tasks: list[Milestone]


class DepartmentGoal(BaseModel):
    """What a department has to reach."""

    department: str
    kpi: Kpi
    teams: list[TeamGoal]


class HandedDown(BaseModel):
    """A goal with who has to reach which part of it."""

    id: str
    title: str
    weight: Decimal
    """What it counts for in the whole strategy."""
    departments: list[DepartmentGoal]


@skill("strategy.leaves")
def leaves(goals: list[WeighedGoal]) -> list[WeighedGoal]:
    """The goals that have no parts, each with what it counts for in the whole strategy."""
    found = [pair for goal in goals for pair in goal.leaves()]
    return [goal.model_copy(update={"weight": weight}) for goal, weight in found]


@skill("strategy.hand_down")
def hand_down(goal: WeighedGoal, context: SkillContext) -> HandedDown:
    """Split a goal between departments, teams and dates: the rule that stands in for a model.

    A sum (customers, euros) is split in proportion to the people who are to reach it, so that the parts add up to the
    goal exactly; a ratio (percent, days) has to be reached by each part. Departments that the goal does not name have
    no part in it; a goal that names none is everybody's. Milestones lie on the straight line from the baseline to the
    target, at most four and at least a week apart.

    Raises:
        PermanentError: it names a department that settings do not have, it is due already, or `settings.strategy` has
            no departments.
    """
    if goal.kpi is None:
        raise PermanentError(f"The goal `{goal.id}` has no measure of its own.")
    today = context.now.date()
    if goal.kpi.due <= today:
        raise PermanentError(f"The goal `{goal.id}` is due on {goal.kpi.due} already.", remedy="Give it a later date.")
    departments = _departments(context.settings)
    unknown = [name for name in goal.departments if name not in departments]
    if unknown:
        known = ", ".join(departments)
        raise PermanentError(
            f"The goal `{goal.id}` is for `{unknown[0]}`, which is no department.", remedy=f"There are {known}."
        )
    chosen = [departments[name] for name in goal.departments] or list(departments.values())
    parts = _split(goal.kpi, [each.people for each in chosen])
    return HandedDown(
        id=goal.id,
        title=goal.title,
        weight=goal.weight,
        departments=[_department(each, kpi, today) for each, kpi in zip(chosen, parts, strict=True)],
    )


def _departments(settings: object) -> dict[str, Department]:
    said = settings.get("strategy") if isinstance(settings, dict) else None
    listed = said.get("departments") if isinstance(said, dict) else None
    departments = [Department.model_validate(each) for each in listed or ()]
    if not departments:
        raise PermanentError(
            "No department is known.", remedy="Write them into settings.yaml, below `strategy: departments:`."
        )
    return {each.id: each for each in departments}


def _department(department: Department, kpi: Kpi, today: date) -> DepartmentGoal:
    parts = _split(kpi, [team.people for team in department.teams])
    teams = [
        TeamGoal(team=team.name, kpi=part, tasks=_milestones(part, today))
        for team, part in zip(department.teams, parts, strict=True)
    ]
    return DepartmentGoal(department=department.id, kpi=kpi, teams=teams)


def _split(kpi: Kpi, people: Sequence[int]) -> list[Kpi]:
    """A measure's parts; of a sum they add up to it to the last digit."""
    if kpi.is_share:
        return [kpi] * len(people)
    parts = [_shared(number, people) for number in (kpi.baseline, kpi.target)]
    return [
        # Parts so small that they round to their baseline keep the whole difference visible at the last digit.
        kpi.model_copy(update={"baseline": baseline, "target": target})
        for baseline, target in zip(*parts, strict=True)
    ]


def _shared(number: Decimal, people: Sequence[int]) -> list[Decimal]:
    """A number in proportion, each part with two digits more than the number; the last one has what is left."""
    exponent = number.as_tuple().exponent
    digits = Decimal(1).scaleb(min(exponent if isinstance(exponent, int) else 0, 0) - 2)
    parts = [
        (number * Decimal(count) / Decimal(sum(people))).quantize(digits, ROUND_HALF_EVEN) for count in people[:-1]
    ]
    return [*parts, number - sum(parts, Decimal(0))]


def _milestones(kpi: Kpi, today: date) -> list[Milestone]:
    whole = (kpi.due - today).days
    count = max(1, min(MOST_MILESTONES, whole // SHORTEST.days))
    made = []
    for number in range(1, count + 1):
        part = Fraction(number, count)
        target = kpi.baseline + (kpi.target - kpi.baseline) * part.numerator / part.denominator
        due = today + timedelta(days=round(whole * part))
        shown = f"{target.normalize():f}" if number < count else f"{kpi.target.normalize():f}"
        unit = f" {kpi.unit}" if kpi.unit else ""
        made.append(Milestone(title=f"{kpi.measure}: {shown}{unit} by {due}", due=due, target=target))
    return made
