"""The report of a goal cascade: goals, who has to reach what, how far they are: for people (HTML), machines (JSON)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic import BaseModel

from muster.files import write_whole
from muster.skills.registry import SkillContext, skill
from muster.skills.strategy.arguing import Verdict
from muster.skills.strategy.cascading import HandedDown
from muster.skills.strategy.progress import Cascade, Progress

if TYPE_CHECKING:
    from jinja2 import Template

STATUSES = {
    "reached": "reached",
    "on_track": "on track",
    "late": "late",
    "standing_still": "standing still",
    "not_measured": "not measured",
}
"""Every state of a goal, in words."""


class Report(BaseModel):
    """Where the report is, and its figures."""

    html: str
    """Its path."""
    json_file: str
    """The same for machines."""
    goals: int
    """How many goals have no parts below them."""
    tasks: int
    """Tasks of all teams."""
    attained: float
    """Of the whole strategy, from 0 to 1."""
    late: list[str]
    """Titles of goals that will not be reached in time, or stand still."""


class Content(BaseModel):
    """What `report.json` holds."""

    run: str
    verdict: Verdict | None
    cascade: Cascade
    handed_down: list[HandedDown]


@skill("strategy.report")
def report(
    cascade: Cascade, handed_down: list[HandedDown], context: SkillContext, verdict: Verdict | None = None
) -> Report:
    """Write `report.html` and `report.json` into the run's workspace."""
    content = Content(run=context.run, verdict=verdict, cascade=cascade, handed_down=handed_down)
    html, json_file = context.workspace / "report.html", context.workspace / "report.json"
    write_whole(json_file, content.model_dump_json(indent=2))
    write_whole(html, render(content))
    ends = [leaf for goal in cascade.goals for leaf in _leaves(goal)]
    return Report(
        html=str(html),
        json_file=str(json_file),
        goals=len(ends),
        tasks=sum(len(team.tasks) for goal in handed_down for each in goal.departments for team in each.teams),
        attained=round(cascade.attained, 4),
        late=[leaf.title for leaf in ends if leaf.status in ("late", "standing_still")],
    )


def render(content: Content) -> str:
    """The report as one HTML page that loads nothing from anywhere; everything in it is escaped."""
    return _template().render(report=content, statuses=STATUSES)


def _leaves(goal: Progress) -> list[Progress]:
    return [leaf for part in goal.parts for leaf in _leaves(part)] or [goal]


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (files(__package__) / "report.html").read_text(encoding="utf-8")
    return environment.from_string(source)
