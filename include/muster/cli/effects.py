"""`muster effects`: what was done outside, and a person's word on what is in doubt."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from muster.cli.connections import airflow, open_database
from muster.cli.output import console, counted, emit
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
    """Note what a person found out."""
    with closing(open_database()) as database:
        Ledger(database).decide(key, happened=happened, result=result)
    if as_json:
        emit({"key": key, "happened": happened})
    else:
        what = "It counts as done." if happened else "The next attempt performs it."
        console().print(f"{escape(key)} is settled. {what}")


def prune_old(age: float, *, dry_run: bool, user: str, as_json: bool) -> None:
    """Ask Airflow which runs it has forgotten, and remove what they did from the ledger."""
    with closing(open_database()) as database, airflow(user) as client:

        def is_known(run: str) -> bool:
            dag_id, _, run_id = run.partition("/")
            return client.run(dag_id, run_id) is not None

        done = prune(database, age, is_known, dry_run=dry_run)
    if as_json:
        emit({**asdict(done), "done": not dry_run})
        return
    verb = "Would remove" if dry_run else "Removed"
    console().print(
        f"{verb} {counted(done.effects, 'effect')} of {counted(done.runs, 'run')};"
        f" those of {counted(done.kept, 'run')} as old stay: Airflow knows them."
    )


def _print(entries: list[Entry]) -> None:
    table = Table("when", "state", "kind", "attempts", box=None, header_style="bold", padding=(0, 2))
    for name in ("key", "error"):
        table.add_column(name, overflow="fold")
    for it in entries:
        when, state = f"{it.begun_at.astimezone():%Y-%m-%d %H:%M}", f"[{STYLES[it.status]}]{it.status}[/]"
        table.add_row(when, state, escape(it.kind), str(it.attempt), escape(it.key), escape(it.error or ""))
    out = console()
    out.print(table)
    if doubts := sum(it.status == "unknown" for it in entries):
        out.print(f"\n{doubts} in doubt: whether they happened is unknown. `muster effects settle` says it.")
