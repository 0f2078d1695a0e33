"""`muster dead-letters list` and `show`: work that could not be done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from muster.cli.connections import open_database, open_log
from muster.cli.output import console, emit, open_table
from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.recovery.dead_letters import DeadLetter, DeadLetters, Filter

STYLES = {"redriven": "cyan", "discarded": "dim"}


def list_letters(wanted: Filter, *, limit: int, discarded: bool, as_json: bool) -> None:
    """List what could not be processed, newest first."""
    with closing(open_database()) as database:
        letters = DeadLetters(database).waiting(wanted, limit=limit, discarded=discarded)
    if as_json:
        emit(letters)
    elif letters:
        console().print(_table(letters))
    else:
        console().print("There are no dead letters.")


def show_letter(id: str, *, as_json: bool) -> None:
    """Show a dead letter whole: its cause, what it was to work on, and what was tried."""
    with closing(open_database()) as database:
        letter = DeadLetters(database).get(id)
        whole = asdict(letter) | _whole(database, letter)
    if as_json:
        emit(whole)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in whole.items():
        if name == "events":
            value = "\n".join(f"{event['at']:%Y-%m-%d %H:%M:%S} {event['type']} {event['actor']}" for event in value)
        if value is not None:
            table.add_row(name.replace("_", " "), escape(str(value)))
    console().print(table)


def _whole(database: Database, letter: DeadLetter) -> dict[str, object]:
    if letter.kind == "notice":
        from muster.notifications.outbox import Outbox

        entry = Outbox(database).entry(letter.number)
        return {"notice": None if entry is None else entry.model_dump(mode="json")}
    log = open_log(database)
    events = [
        {"version": event.version, "at": event.at, "type": event.type, "actor": event.actor, "data": event.data}
        for event in log.read(letter.run or "", steps=[letter.step] if letter.step else None)
        if event.index == letter.index or letter.step is None
    ]
    from muster.operations.redoing import content

    item = content(log, DefinitionStore(database), letter.run or "", letter.step, letter.index)
    return {**item, "events": events}


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = open_table("since", "dead letter", "kind", "error", folded=["cause"])
    for letter in letters:
        mark = f"[{STYLES[letter.decision]}]{letter.decision}[/] " if letter.decision else ""
        since = f"{letter.at.astimezone():%Y-%m-%d %H:%M}"
        table.add_row(
            since, escape(letter.id), mark + letter.kind, escape(letter.error_class or ""), escape(letter.cause or "")
        )
    return table
