"""`muster runs` and `show`: the runs there are, and all that happened in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from muster.cli.connections import open_database, open_queries
from muster.cli.output import Exit, console, counted, emit, in_hours, messages, open_table
from muster.cli.outputs import Used, outputs_of, outputs_table, used_by, used_table
from muster.cli.run_chart import result, word
from muster.events.costs import by_run, cost_in_words
from muster.events.event_summary import event_summary
from muster.events.keys import work_key
from muster.events.log import EventLog
from muster.events.model import Event
from muster.events.queries import Queries, RunRow
from muster.events.state import fold
from muster.events.verification import Fault


def list_runs(*, automation: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first."""
    with closing(open_database()) as database:
        queries = Queries(database)
        rows = queries.runs(limit=limit, automation=automation, status=status)
        unpriced = by_run(queries.unpriced([row.id for row in rows]))
    if as_json:
        emit([{**asdict(row), "unpriced_calls": unpriced[row.id]} for row in rows])
        return
    out = console()
    if not rows:
        among = "of that kind" if automation or status else "yet"
        out.print(f"There are no runs {among}. Start one with `muster run NAME`.")
        return
    # The id is never cut, because other commands are given it.
    run = Column("run", overflow="fold")
    table = open_table(run, "status", "opened", "took", "✓", "✗", "–", "!", "cost", "asked for by", padding=1)
    for row in rows:
        counts = (row.succeeded, row.failed, row.skipped, row.set_aside)
        table.add_row(
            escape(row.id),
            word(row.status),
            _when(row.opened_at),
            _took(row),
            *("" if count is None else str(count) for count in counts),
            cost_in_words(row.cost_usd, row.calls, unpriced[row.id]) if row.calls else "",
            escape(row.requested_by or ""),
        )
    out.print(table)
    out.print("[dim]✓ succeeded  ✗ failed  – skipped  ! set aside[/]")


def show_run(id: str, *, as_json: bool) -> None:
    """Show what a run is and everything that happened in it."""
    with open_queries() as (queries, database):
        row = queries.run(id)
        fault = EventLog(database).verify(row.id)
        events = _readable(queries, row.id, fault)
        steps = queries.steps(row.id)
        unpriced = by_run(queries.unpriced([row.id]))[row.id]
    if fault is not None:
        said = f"The log of {row.id} is not as it was written, so do not believe what it says: {fault.message}"
        messages().print(said, style="bold red", markup=False)
    # An altered log is no evidence of what steps gave back.
    outputs = outputs_of(fold(events)) if fault is None else {}
    used = used_by(events) if fault is None else {}
    if as_json:
        about = {**asdict(row), "unpriced_calls": unpriced}
        told = {"run": about, "steps": steps, "outputs": outputs, "used": used}
        told["events"] = [asdict(event) for event in events]
        emit(told if fault is None else {**told, "fault": fault})
    else:
        _show(row, steps, events, unpriced, outputs, used)
    if fault is not None:
        raise typer.Exit(Exit.FAILED)


def _readable(queries: Queries, run: str, fault: Fault | None) -> list[Event]:
    """A run's events; none when the log was altered so that they cannot be read: `muster audit` shows what is left."""
    try:
        return queries.timeline(run)
    except Exception:
        if fault is None:
            raise
        return []


def _show(
    row: RunRow,
    steps: Sequence[Any],
    events: Sequence[Event],
    unpriced: int,
    outputs: Mapping[str, object],
    used: Mapping[str, Used],
) -> None:
    out = console()
    out.print(_facts(row, unpriced))
    out.print()
    if events:
        out.print(_timeline(events))
        out.print()
    if outputs:
        out.print(outputs_table(outputs))
        out.print(f"[dim]Whole: `muster output {escape(row.id)}`[/]\n")
    if used:
        out.print(used_table(used))
        out.print()
    out.print(result(steps, events))


def _facts(row: RunRow, unpriced: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("run", f"[bold]{escape(row.id)}[/]")
    table.add_row("status", word(row.status) + (f"  {escape(row.reason)}" if row.reason else ""))
    table.add_row("version", f"{(row.definition or '')[:12]}  bundle {row.bundle_version or 'none'}")
    table.add_row("started by", f"{row.trigger or ''} {escape(row.requested_by or '')}")
    table.add_row("opened", f"{_when(row.opened_at)}  took {_took(row)}")
    table.add_row("models", f"{counted(row.calls, 'call')}, {cost_in_words(row.cost_usd, row.calls, unpriced)}")
    return table


def _timeline(events: Sequence[Event]) -> Table:
    table = open_table("", "when", "what", "where", "who", folded=[""], padding=1)
    for event in events:
        where = "" if event.step is None else work_key(event.step, event.index)
        table.add_row(
            str(event.version),
            _when(event.at),
            event.type,
            where,
            escape(event.actor),
            f"[dim]{escape(event_summary(event, output=False))}[/]",
        )
    return table


def _when(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _took(row: RunRow) -> str:
    if row.opened_at is None:
        return ""
    end = row.closed_at or datetime.now(row.opened_at.tzinfo)
    return in_hours(int((end - row.opened_at).total_seconds()))
