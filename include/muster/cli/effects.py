"""`muster effects`: what was done outside, and a person's decision about effects in doubt."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict

from rich.markup import escape

from muster.cli.connections import airflow, in_airflow, open_database
from muster.cli.output import console, counted, emit, open_table
from muster.recovery.ledger import Entry, Ledger
from muster.recovery.pruning import prune

STYLES = {"begun": "cyan", "done": "green", "failed": "red", "unknown": "yellow"}


def show(*, run: str | None, in_doubt: bool, limit: int, as_json: bool) -> None:
    """List effects, newest first."""
    with closing(open_database()) as database:
        entries = Ledger(database).entries(run=run, in_doubt=in_doubt, limit=limit)
    if as_json:
        emit(entries)
    elif entries:
        _print(entries)
    else:
        console().print("There are no such effects.")


def settle(key: str, *, happened: bool, result: object, as_json: bool) -> None:
    """Record whether an effect in doubt happened, as a person found out."""
    with closing(open_database()) as database:
        Ledger(database).decide(key, happened=happened, result=result)
    if as_json:
        emit({"key": key, "happened": happened})
    else:
        what = "It counts as done." if happened else "The next attempt performs it."
        console().print(f"{escape(key)} is settled. {what}")


def prune_old(age: float, *, dry_run: bool, user: str, as_json: bool) -> None:
    """Remove from the ledger what runs did that Airflow no longer knows, once they are `age` seconds old."""
    with closing(open_database()) as database, airflow(user) as client:
        done = prune(database, age, lambda run: client.run(*in_airflow(run)) is not None, dry_run=dry_run)
    if as_json:
        emit({**asdict(done), "done": not dry_run})
        return
    verb = "Would remove" if dry_run else "Removed"
    console().print(
        f"{verb} {counted(done.effects, 'effect')} of {counted(done.runs, 'run')};"
        f" those of {counted(done.kept, 'run')} as old stay: Airflow knows them."
    )


def _print(entries: list[Entry]) -> None:
    table = open_table("when", "state", "kind", "attempts", folded=["key", "error"])
    for entry in entries:
        when, state = f"{entry.begun_at.astimezone():%Y-%m-%d %H:%M}", f"[{STYLES[entry.status]}]{entry.status}[/]"
        table.add_row(when, state, escape(entry.kind), str(entry.attempt), escape(entry.key), escape(entry.error or ""))
    out = console()
    out.print(table)
    if doubts := sum(entry.status == "unknown" for entry in entries):
        out.print(f"\n{doubts} in doubt: whether they happened is unknown. `muster effects settle` says it.")
