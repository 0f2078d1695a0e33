"""`muster history`, and `muster agents --load`: how runs went, and what agents are at and have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta

import typer
from rich.markup import escape
from rich.table import Table

from muster.cli.connections import open_database
from muster.cli.output import console, emit, open_table
from muster.events.looking_back import AgentLoad, AutomationRecord, LookingBack, StepRecord
from muster.language.durations import format_duration, parse_duration
from muster.language.site_catalog import SiteCatalog
from muster.local.project import find_project
from muster.operations.suggesting import suggestions
from muster.recovery.breakers import Breakers


def show_history(since: str, *, as_json: bool) -> None:
    """Show how the runs of a period went, and what to look at first."""
    with closing(open_database()) as database:
        back = LookingBack(database, _period(since))
        automations, steps = back.automations(), back.steps()
    said = list(suggestions(automations, steps))
    if as_json:
        told = [
            {
                **asdict(record),
                "success_rate": _share(record.succeeded, record.ended),
                "intervention_rate": _share(record.asked + record.helped, record.ended + record.open),
                "steps": [
                    {**asdict(step), "speed_up": step.speed_up}
                    for step in steps
                    if step.automation == record.automation
                ],
            }
            for record in automations
        ]
        emit({"since": since, "automations": told, "suggestions": said})
    elif automations:
        _show(automations, steps, said)
    else:
        console().print(f"There were no runs in the last {since}.", markup=False)


def show_load(since: str, *, as_json: bool) -> None:
    """Show what the agents of the project are at, and what they have done in a period."""
    agents = list(SiteCatalog.of(find_project().include).agents.by_id)
    with closing(open_database()) as database:
        loads = LookingBack(database, _period(since)).agents(agents)
        breakers = {breaker.name.removeprefix("agent:"): breaker.state for breaker in Breakers(database).all()}
    if as_json:
        emit([{**asdict(load), "breaker": breakers.get(load.agent, "closed")} for load in loads])
    elif loads:
        console().print(_loads(loads, breakers, since))
    else:
        console().print("There are no agents yet: they live in include/agents/<department>.yaml.")


def _period(since: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(since))
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write it as in `7d` or `12h`", param_hint="--since") from error


def _show(automations: Sequence[AutomationRecord], steps: Sequence[StepRecord], said: Sequence[str]) -> None:
    out = console()
    names = ("automation", "runs", "✓", "✗", "↶", "stuck", "open", "success", "median", "with people", "speed-up")
    table = open_table(*names, padding=1)
    for record in automations:
        fanned = [step for step in steps if step.automation == record.automation and step.speed_up is not None]
        work, took = sum(step.work for step in fanned), sum(step.seconds for step in fanned)
        table.add_row(
            escape(record.automation),
            str(record.ended + record.open),
            *(str(count) for count in (record.succeeded, record.failed, record.compensated, record.stuck, record.open)),
            _percent(record.succeeded, record.ended),
            "" if record.seconds is None else format_duration(round(record.seconds)),
            _percent(record.asked + record.helped, record.ended + record.open),
            f"{work / took:.1f}x" if took else "",
        )
    out.print(table)
    out.print(
        "[dim]✓ succeeded  ✗ failed  ↶ compensated  with people: a person answered or did something about it  "
        "speed-up: of lists and teams, against one after the other[/]"
    )
    for sentence in said:
        out.print(f"\n{sentence}", markup=False)


def _loads(loads: Sequence[AgentLoad], breakers: Mapping[str, str], since: str) -> Table:
    table = open_table("agent", "at work", f"done in {since}", "failed", "median", "cost", "breaker")
    for load in loads:
        table.add_row(
            escape(load.agent),
            str(load.at_work),
            str(load.succeeded),
            str(load.failed),
            "" if load.seconds is None else format_duration(round(load.seconds, 1)),
            f"${load.usd:.4g}",
            breakers.get(load.agent, "closed").replace("_", " "),
        )
    return table


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""
