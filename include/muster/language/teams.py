"""What a person writes of a team: who is in it, what it does and how it works, and what is wrong with that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from muster.coordination.modes import ModeName, Rules
from muster.coordination.plans import MOST_TASKS, Task
from muster.language.fields import Words
from muster.yaml_model import YamlModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.language.problems import Problem
    from muster.language.spot import Spot

MOST_PLACES = 100


ROUNDS = {"hierarchical": 3, "autonomous": 10}
"""What `rounds` is where a mode has some and the step does not say it."""
MOST_ADDED = 50
"""What `max_tasks` is where a mode adds tasks and the step does not say it."""


class PlannedBy(YamlModel):
    """An agent that makes the plan as the first task of the team."""

    by: str = Field(min_length=1)
    """Its id."""


class Team(YamlModel):
    """Who carries out a plan, and which."""

    plan: Annotated[str, Field(min_length=1, max_length=50_000)] | PlannedBy | None = None
    """An expression that gives the plan, which is a list of tasks: what an agent, a skill or a person has planned. Or
    `{by: <agent>}`: the agent splits `goal` into tasks as the first task."""
    tasks: list[Task] | None = Field(default=None, min_length=1)
    """In place of `plan`: the tasks themselves."""
    mode: ModeName | None = None
    """How they work together. `sequential`: each task after the one before it, whose result it is given as `previous`.
    `parallel`: side by side, then `join`. `hierarchical`: the agent `lead` plans where there is no plan, looks at the
    results, sends back what is not good, and merges. `autonomous`: `lead` says turn by turn what others do next.
    Default: as `after` and `uses` of the tasks say."""
    goal: str | None = Field(default=None, min_length=1, max_length=50_000)
    """What it is all for, given to the agents that plan and lead; expressions are evaluated."""
    lead: str | None = Field(default=None, min_length=1)
    """The agent that leads; in `parallel` the one that joins."""
    join: str | None = Field(default=None, min_length=1, max_length=50_000)
    """In `parallel`: what is asked with all results once everything has ended."""
    rounds: int | None = Field(default=None, ge=0, le=100)
    """In `hierarchical` how often work may be sent back (default: 3), in `autonomous` how many turns `lead` has
    (default: 10)."""
    max_tasks: int | None = Field(default=None, ge=1, le=MOST_TASKS)
    """The tasks that the plan may come to have (default where `lead` or `plan.by` adds some: 50). Where it is said, a
    task of any other mode may add some, too: it gives a mapping with a list `more_tasks`."""
    repeats: int = Field(default=2, ge=1, le=100)
    """How often the very same may be asked for while it runs."""
    members: Words | None = None
    """Ids of the agents that may be members, those preferred first; default: every agent there is."""
    size: Annotated[int, Field(ge=1, le=MOST_PLACES)] | Annotated[str, Field(max_length=1_000)] = 3
    """How many tasks are done side by side, or an expression that gives it. The smallest set of agents that can do all
    tasks is chosen, and further places go where there is most work; an agent may have several."""


def planner_of(team: Team) -> str | None:
    """The agent that makes the plan as the first task: in a hierarchy without a plan the lead."""
    if isinstance(team.plan, PlannedBy):
        return team.plan.by
    return team.lead if team.mode == "hierarchical" and team.plan is None and not team.tasks else None


def rules_of(team: Team) -> Rules:
    """How a team is to work."""
    planner = planner_of(team)
    adds = planner is not None or team.mode in ROUNDS
    return Rules(
        mode=team.mode,
        lead=team.lead,
        planner=planner,
        rounds=team.rounds if team.rounds is not None else ROUNDS.get(team.mode or "", 0),
        most=team.max_tasks or (MOST_ADDED if adds else 0),
        repeats=team.repeats,
    )


def check_mode(team: Team, spot: Spot) -> Iterator[Problem]:
    """What is wrong with how the team is to work."""
    mode = team.mode
    needs_plan = planner_of(team) is None and mode != "autonomous"
    if team.plan is not None and team.tasks is not None:
        suggestion = "Write the tasks, or an expression that gives them."
        yield spot.problem("`plan` and `tasks` exclude each other", "team", key=True, suggestion=suggestion)
    elif needs_plan and team.plan is None and team.tasks is None:
        suggestion = "Write the tasks, or an expression that gives them."
        yield spot.problem("`plan` is missing, or `tasks`", "team", key=True, suggestion=suggestion)
    leads = mode in ROUNDS
    if leads and team.lead is None:
        said = "plans, looks at the results and merges" if mode == "hierarchical" else "decides what is done next"
        yield spot.problem(
            f"`mode: {mode}` needs `lead`", "team", "mode", suggestion=f"Name the agent that {said}: `lead: <agent>`."
        )
    for key, allowed in (("rounds", leads), ("lead", leads or mode == "parallel"), ("join", mode == "parallel")):
        if getattr(team, key) is not None and not allowed:
            modes = {"rounds": ROUNDS, "lead": (*ROUNDS, "parallel"), "join": ("parallel",)}[key]
            said = " or ".join(f"`mode: {name}`" for name in modes)
            yield spot.problem(f"`{key}` says nothing without {said}", "team", key, key=True)
    if (leads or not needs_plan) and team.goal is None:
        suggestion = "Say what it is all for: `goal: Answer {{ inputs.letter }}`."
        yield spot.problem(
            "`goal` is missing: the agent that leads or plans is given it", "team", suggestion=suggestion
        )
    if team.max_tasks is not None and team.tasks is not None and team.max_tasks < len(team.tasks):
        yield spot.problem(f"`max_tasks` is less than the {len(team.tasks)} tasks there are", "team", "max_tasks")
    if team.lead is not None:
        yield from spot.agent(team.lead, "team", "lead")
    if isinstance(team.plan, PlannedBy):
        yield from spot.agent(team.plan.by, "team", "plan", "by")
