"""`muster watch`: what goes on now, on a terminal that stays up to date."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from muster.cli.connections import open_queries
from muster.cli.output import console, counted, emit, open_table
from muster.errors import MusterError, TransientError
from muster.events.definitions import DefinitionStore
from muster.events.experience import Experience, Experiences
from muster.events.model import EventType
from muster.events.payloads.people import ApprovalRequested
from muster.events.queries import Queries, RunRow, StepRow
from muster.language.definition import Definition
from muster.language.durations import format_duration

EVERY = 2.0
"""Seconds between two looks."""
MOST = 20
"""Open runs that are shown, the latest ones."""
AT_WORK = ("running", "retrying")
ENDED = ("succeeded", "failed", "skipped", "set_aside", "undone", "stopped")


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What an open run is at."""

    run: str
    automation: str | None
    opened_at: datetime | None
    ended: int
    """Steps that have ended."""
    steps: int | None
    """Steps that there are; None where nobody knows its version any more."""
    stage: Sequence[str]
    """The steps it is at; of a fan-out also how many of its items have ended."""
    agents: Mapping[str, int]
    """The agents at work in it, and at how many steps and items each is."""
    waits_for: Mapping[str, Sequence[str]]
    """Whom each open question waits for, by its step."""
    seconds_left: float | None
    """Until it ends, if it takes as long as half of the earlier runs did; None where none has succeeded."""


def watch(*, once: bool, as_json: bool) -> None:
    """Show the open runs until Ctrl-C, or once."""
    with ExitStack() as stack:
        queries, database = stack.enter_context(open_queries())
        watcher = _Watcher(queries, DefinitionStore(database), Experiences(database))
        out = console()
        if as_json:
            emit([asdict(each) for each in watcher.look()])
            return
        if once or not out.is_terminal:
            out.print(_shown(watcher.look()))
            return
        live = stack.enter_context(Live(console=out, screen=True, auto_refresh=False))
        while True:
            try:
                live.update(_shown(watcher.look()), refresh=True)
            except TransientError as error:
                # It is there again once the database is: what is shown meanwhile says so.
                live.update(Text(f"The database does not answer: {error.message}", style="yellow"), refresh=True)
            time.sleep(EVERY)


class _Watcher:
    def __init__(self, queries: Queries, definitions: DefinitionStore, experiences: Experiences) -> None:
        self._queries = queries
        self._definitions = definitions
        self._experiences = experiences
        self._steps: dict[str, int | None] = {}
        """How many steps each version has that was met."""
        self._known: dict[str, Experience | None] = {}
        """What earlier runs of each automation took that was met; it hardly changes while somebody watches."""

    def look(self) -> list[Watched]:
        return [self._watched(row) for row in self._queries.runs(limit=MOST, status="open")]

    def _watched(self, row: RunRow) -> Watched:
        steps = self._queries.steps(row.id)
        wholes = {step.step: step for step in steps if step.index < 0}
        ended = [name for name, step in wholes.items() if step.status in ENDED]
        busy = [step for step in steps if step.status in AT_WORK and step.actor and step.length is None]
        return Watched(
            run=row.id,
            automation=row.automation,
            opened_at=row.opened_at,
            ended=len(ended),
            steps=self._steps_of(row.definition or ""),
            stage=list(_stage(steps, ended)),
            agents={name: sum(step.actor == name for step in busy) for name in sorted({str(it.actor) for it in busy})},
            waits_for=self._waits_for(row.id, steps),
            seconds_left=self._seconds_left(row),
        )

    def _steps_of(self, definition: str) -> int | None:
        if definition not in self._steps:
            try:
                stored = Definition.model_validate_json(self._definitions.get(definition))
                self._steps[definition] = len(stored.steps)
            except MusterError:
                self._steps[definition] = None
        return self._steps[definition]

    def _waits_for(self, run: str, steps: Sequence[StepRow]) -> dict[str, Sequence[str]]:
        names = {step.step for step in steps if step.status == "waiting"}
        asked = self._queries.events(run, types=[EventType.APPROVAL_REQUESTED], limit=1_000) if names else []
        said = map(ApprovalRequested.of, asked)
        return {one.step: one.assignees for one in said if one.step in names}

    def _seconds_left(self, row: RunRow) -> float | None:
        if row.automation is None or row.opened_at is None:
            return None
        if row.automation not in self._known:
            self._known[row.automation] = self._experiences.of_runs(row.automation)
        known = self._known[row.automation]
        passed = (datetime.now(UTC) - row.opened_at).total_seconds()
        return None if known is None else max(known.seconds.likely - passed, 0.0)


def _stage(steps: Sequence[StepRow], ended: Sequence[str]) -> Sequence[str]:
    said = []
    for name in dict.fromkeys(step.step for step in steps if step.step not in ended):
        items = [step for step in steps if step.step == name and step.index >= 0]
        length = max((step.length for step in steps if step.step == name and step.length), default=len(items))
        done = sum(item.status in ENDED for item in items)
        said.append(f"{name} {done}/{length}" if items else name)
    return said


def _shown(runs: Sequence[Watched]) -> RenderableType:
    if not runs:
        return Text("No run is open.")
    table = open_table("run", "for", "steps", "stage", "agents", "waits for", "about", padding=1)
    for each in runs:
        passed = "" if each.opened_at is None else (datetime.now(UTC) - each.opened_at).total_seconds()
        table.add_row(
            escape(each.run),
            "" if passed == "" else format_duration(round(float(passed))),
            f"{each.ended}/{'?' if each.steps is None else each.steps}",
            escape(", ".join(each.stage)),
            escape(", ".join(f"{name} ({count})" if count > 1 else name for name, count in each.agents.items())),
            escape("; ".join(f"{', '.join(people)} ({step})" for step, people in each.waits_for.items())),
            "" if each.seconds_left is None else f"{format_duration(round(each.seconds_left))} left",
        )
    busy = sum(sum(each.agents.values()) for each in runs)
    waiting = sum(bool(each.waits_for) for each in runs)
    total = f"{counted(len(runs), 'open run')}, {counted(busy, 'agent')} at work, {waiting} waiting for people"
    return Group(table, Text(f"\n{total}", style="dim"))
