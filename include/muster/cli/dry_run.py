"""`muster run --dry-run`: what a run would do, and what it would come to, without starting anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from muster.cli.connections import open_database
from muster.cli.options import ensure_declared, pairs
from muster.cli.output import console, counted, emit, in_hours, open_table
from muster.coordination.assignment import Member
from muster.coordination.conflicts import PredictedConflict, TaskTouches, predict_conflicts
from muster.coordination.forecast import Forecast, forecast
from muster.coordination.formation import form
from muster.coordination.plans import Plan
from muster.errors import MusterError, PermanentError
from muster.events.experience import NOTHING, Experience, Experiences, Range
from muster.events.state import RunState
from muster.execution.laying_out import holds, items_of
from muster.execution.variables import variables_for
from muster.language import load_folder
from muster.language.definition import Definition
from muster.language.problems import did_you_mean
from muster.language.resolved_step import ResolvedStep
from muster.local.project import find_project
from muster.runs.opening import fitting_inputs

SHOWN = 10
"""Predicted conflicts that are printed; `--json` has all."""


@dataclass(frozen=True)
class _Site:
    """The part of the services that variables need."""

    site: Path | None


@dataclass(frozen=True)
class Team:
    """What a team would do."""

    step: str
    plan: Plan
    members: Sequence[Member]
    forecast: Forecast
    conflicts: Sequence[PredictedConflict]


def show_dry_run(name: str, entries: Sequence[str], *, agents: int | None, as_json: bool) -> None:
    """Show the steps, the plans of teams, who would do which task, conflicts to expect, and ranges of time and cost."""
    project = find_project()
    definition, inputs = _definition(name), pairs(entries, "--input")
    if agents is not None and "agents" in definition.inputs:
        inputs.setdefault("agents", agents)
    ensure_declared(name, inputs, list(definition.inputs))
    given, problems = fitting_inputs(definition, inputs)
    if problems:
        raise MusterError(f"The inputs do not fit {name}: {'; '.join(problems)}.", remedy="Give inputs that do.")
    try:
        with closing(open_database()) as database:
            known = Experiences(database)
            steps, whole = known.of_steps(name), known.of_runs(name)
            by_agent = known.of_agents(list(definition.agents))
    except MusterError:
        # Without a database there are no earlier runs; the plan is the same.
        steps, whole, by_agent = {}, None, {}
    teams, untold = [], dict[str, str]()
    for step in definition.steps:
        if not step.pulls:
            continue
        if step.references:
            untold[step.id] = f"what it does is known once {_listed(step.references)} has ended"
        elif (team := _team(definition, step, given, agents, by_agent, project.site_skills)) is None:
            untold[step.id] = "it is left out by its `when`"
        else:
            teams.append(team)
    if as_json:
        emit(_told(definition, given, steps, whole, teams, untold))
    else:
        _show(console(), definition, steps, whole, teams, untold)


def _definition(name: str) -> Definition:
    """The automation as its YAML is now.

    Raises:
        MusterError: there is none of that name, or it is not valid.
    """
    catalogue = load_folder(find_project().include, only=name)
    if (definition := catalogue.definitions.get(name)) is not None:
        return definition
    if problem := next(iter(catalogue.problems), None):
        raise PermanentError(f"{name} is not valid and cannot run: {problem}", remedy="`muster lint` shows all of it.")
    names = load_folder(find_project().include).definitions
    raise PermanentError(
        f"There is no automation {name}.", remedy=did_you_mean(name, sorted(names)) or "`muster list` lists them."
    )


def _team(
    definition: Definition,
    step: ResolvedStep,
    inputs: Mapping[str, object],
    size: int | None,
    experience: Mapping[str, Experience],
    site: Path,
) -> Team | None:
    """What a team would do; None where its `when` leaves it out.

    Raises:
        PermanentError: its plan is none, or cannot be carried out.
    """
    now = datetime.now(UTC)
    state = RunState(id=f"{definition.name}/dry-run", automation=definition.name, inputs=dict(inputs), opened_at=now)
    variables = variables_for(definition, (), state, _Site(site))
    if not holds(step, variables):
        return None
    try:
        plan = Plan.of(items_of(step, variables))
    except PermanentError as error:
        raise PermanentError(f"{step.id}: {error.message}", remedy=error.remedy) from error
    able = {agent: frozenset(definition.agents[agent].skills) for agent in step.agents}
    members = form(plan, able, size or step.places(variables))
    touches = [TaskTouches(task.id, task.waits_for, tuple(task.touches)) for task in plan.tasks]
    return Team(step.id, plan, members, forecast(plan, members, experience), predict_conflicts(touches))


def _told(
    definition: Definition,
    inputs: Mapping[str, object],
    steps: Mapping[str, Experience],
    whole: Experience | None,
    teams: Sequence[Team],
    untold: Mapping[str, str],
) -> dict[str, object]:
    return {
        "automation": definition.name,
        "definition": definition.hash,
        "inputs": dict(inputs),
        "steps": [
            {"id": step.id, "kind": step.kind, "lane": step.lane, "after": step.after, "earlier": steps.get(step.id)}
            for step in definition.steps
        ],
        "teams": [
            {
                "step": team.step,
                "members": [member.agent for member in team.members],
                "tasks": [
                    {**team.plan.tasks[turn.task].model_dump(by_alias=True), **_turn(team, turn.task)}
                    for turn in sorted(team.forecast.turns, key=lambda turn: turn.task)
                ],
                "seconds": team.forecast.seconds,
                "seconds_alone": team.forecast.alone,
                "usd": team.forecast.usd,
                "conflicts": [{**asdict(conflict), "why": conflict.why} for conflict in team.conflicts],
            }
            for team in teams
        ],
        "not_known_yet": dict(untold),
        "run": whole,
    }


def _turn(team: Team, task: int) -> dict[str, object]:
    [turn] = [turn for turn in team.forecast.turns if turn.task == task]
    return {"agent": team.members[turn.slot].agent, "member": turn.slot, "begins": turn.begins, "ends": turn.ends}


def _show(
    out: Console,
    definition: Definition,
    steps: Mapping[str, Experience],
    whole: Experience | None,
    teams: Sequence[Team],
    untold: Mapping[str, str],
) -> None:
    out.print(f"[bold]{escape(definition.name)}[/], dry run: nothing is started.\n")
    table = open_table("step", "kind", "lane", "after", "earlier runs took", "and cost")
    for step in definition.steps:
        known = steps.get(step.id)
        table.add_row(step.id, step.kind, step.lane, ", ".join(step.after), *_earlier(known))
    out.print(table)
    for team in teams:
        _show_team(out, team)
    for step_id, why in untold.items():
        out.print(f"\n{step_id}: {why}.", markup=False)
    if whole is not None:
        took, cost = _earlier(whole)
        out.print(f"\nWhole runs took {took} and cost {cost} ({counted(whole.count, 'run')}).", markup=False)


def _show_team(out: Console, team: Team) -> None:
    told = team.forecast
    members = ", ".join(member.agent for member in team.members)
    out.print(f"\n[bold]{escape(team.step)}[/]: {counted(len(team.plan.tasks), 'task')} for {escape(members)}\n")
    table = open_table("task", "agent", "begins", "ends", "after", "touches")
    for turn in told.turns:
        task, member = team.plan.tasks[turn.task], team.members[turn.slot]
        who = f"{member.agent} ({turn.slot + 1})"
        when = (_seconds(turn.begins), _seconds(turn.ends))
        table.add_row(task.id, who, *when, ", ".join(task.waits_for), escape(", ".join(task.touches)))
    out.print(table)
    cost = "nobody knows what it costs yet" if told.usd is None else f"it costs {_usd(told.usd)}"
    out.print(
        f"\nIt takes {_range(told.seconds)}, where one agent would take {_seconds(told.alone)}; {cost}.", markup=False
    )
    for conflict in team.conflicts[:SHOWN]:
        out.print(
            f"{conflict.first} and {conflict.second} may conflict ({conflict.probability:.0%}), {conflict.suggestion}: "
            f"{conflict.why}",
            markup=False,
        )
    if len(team.conflicts) > SHOWN:
        out.print(f"{len(team.conflicts) - SHOWN} more; `--json` has all.", markup=False)


def _earlier(known: Experience | None) -> tuple[str, str]:
    if known is None:
        return "", ""
    return _range(known.seconds), "unknown" if known.usd is None else _usd(known.usd)


def _range(seconds: Range) -> str:
    return f"{_seconds(seconds.likely)} ({_seconds(seconds.low)} to {_seconds(seconds.high)})"


def _usd(cost: Range) -> str:
    if cost == NOTHING:
        return "$0"
    return f"${cost.likely:.2g} (${cost.low:.2g} to ${cost.high:.2g})"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else in_hours(round(seconds))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
