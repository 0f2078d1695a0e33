"""`muster outbox`: what people were told, and what still waits to be."""

from __future__ import annotations

from contextlib import closing

from rich.markup import escape

from muster.cli.connections import open_database
from muster.cli.output import console, emit, open_table
from muster.notifications.outbox import Outbox, OutboxEntry, Status

STYLES = {"sent": "green", "kept": "yellow", "failed": "red", "pending": "cyan"}


def list_notices(*, run: str | None, status: Status | None, limit: int, as_json: bool) -> None:
    """List notices, newest first."""
    with closing(open_database()) as database:
        entries = Outbox(database).entries(run=run, status=status, limit=limit)
    if as_json:
        emit(entries)
    elif entries:
        _show(entries)
    else:
        console().print("There are no such notices.")


def _show(entries: list[OutboxEntry]) -> None:
    # Folded, not cut: a text ends with the place of a report.
    table = open_table("when", "state", "to", folded=["text", "remark"])
    for entry in entries:
        state = f"[{STYLES[entry.status]}]{entry.status}[/]"
        when = f"{entry.created_at.astimezone():%Y-%m-%d %H:%M}"
        subject = f"[bold]{escape(entry.subject)}[/]\n" if entry.subject else ""
        table.add_row(when, state, escape(entry.target), subject + escape(entry.text), escape(_why(entry)))
    out = console()
    out.print(table)
    if kept := sum(entry.status == "kept" for entry in entries):
        out.print(f"\n{kept} kept here: nobody outside was told. docs/notifications.md says how to change that.")


def _why(entry: OutboxEntry) -> str:
    """Why a notice is kept here, or what went wrong with it."""
    return entry.note if entry.status == "kept" else entry.error or entry.note
