"""`muster debug`: the decisions of a run made again, with nothing called outside."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.markup import escape

from muster.cli.connections import open_database, open_log
from muster.cli.log import stream_of
from muster.cli.output import Exit, console, emit
from muster.database import Database
from muster.errors import MusterError
from muster.events.definitions import DefinitionStore
from muster.events.lifecycle import RunLifecycle
from muster.events.model import Event, EventType
from muster.events.payloads.runs import RunOpened
from muster.language import load_folder
from muster.language.definition import Definition
from muster.local.project import Project, find_project
from muster.operations.debugging import Debugged, Difference, debug
from muster.redaction import learn_settings, redact_data


@dataclass(frozen=True)
class _Local:
    site: Path | None


def debug_run(id: str, *, own: bool, as_json: bool) -> None:
    """Compare a run's decisions with those of today's code and YAML, or of today's code and the run's own version."""
    project = find_project()
    with closing(open_database()) as database:
        stream, log = stream_of(database, id), open_log(database)
        log.ensure_untampered(stream)
        events = list(log.read(stream))
        started = _own(database, stream, events)
    learn_settings(started.settings)
    today, note = (started, "its own version") if own else _today(project, started)
    debugged = debug(events, today, started, _Local(project.site_skills))
    if as_json:
        told = redact_data(asdict(debugged))
        emit({**told, "with": note, "first": told["differences"][0] if debugged.differences else None})
    else:
        _show(debugged, note)
    if debugged.differences:
        raise typer.Exit(Exit.FAILED)


def _own(database: Database, stream: str, events: list[Event]) -> Definition:
    """The version that a run began with. Raises MusterError when there is none, or when it went on with another."""
    if not events or events[0].type != EventType.RUN_OPENED:
        raise MusterError(f"{stream} was never opened, so there are no decisions in it.", remedy="`muster runs`.")
    began_with = RunOpened.of(events[0]).definition
    if RunLifecycle.of(events).definition != began_with:
        raise MusterError(
            f"{stream} has gone on with another version of its automation: it has made decisions by two of them.",
            remedy=f"`muster show {stream}` tells what it did, and when.",
        )
    return Definition.model_validate_json(DefinitionStore(database).get(began_with))


def _today(project: Project, started: Definition) -> tuple[Definition, str]:
    """The automation as its YAML says now.

    Raises:
        MusterError: its YAML is broken.
    """
    catalogue = load_folder(project.include)
    current = catalogue.definitions.get(started.name)
    if current is not None:
        return current, "the same YAML" if current.hash == started.hash else "another YAML than it started with"
    if catalogue.problems:
        raise MusterError(
            f"The automation {started.name} cannot be read as it is now: {catalogue.problems[0]}",
            remedy="Mend it, or give --own for the version the run started with.",
        )
    return started, "its own version: its YAML is gone"


def _show(debugged: Debugged, note: str) -> None:
    out = console()
    out.print(f"run  {debugged.run}", markup=False)
    out.print(f"with {note} ({debugged.definition[:12]}), {debugged.decisions} decisions made again", markup=False)
    if not debugged.differences:
        out.print("[green]Every decision is as it was.[/]")
        return
    first = debugged.differences[0]
    out.print(f"\n[bold red]The first that differs[/], at event {first.version}: {escape(_where(first))}, {first.what}")
    out.print(f"  recorded  {_text(first.recorded)}", markup=False)
    out.print(f"  today     {_text(first.today)}", markup=False)
    if len(debugged.differences) > 1:
        out.print(f"{len(debugged.differences) - 1} more follow, some as its consequence; --json prints all.")


def _where(difference: Difference) -> str:
    return difference.step if difference.index is None else f"{difference.step}[{difference.index}]"


def _text(value: object) -> str:
    value = redact_data(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
