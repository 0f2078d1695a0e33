"""`muster breakers`: what failed so often that it is left alone, and closing one by hand."""

from __future__ import annotations

from contextlib import closing

from rich.markup import escape
from rich.table import Table

from muster.cli.connections import open_database
from muster.cli.output import console, emit
from muster.recovery.breakers import Breaker, Breakers

STYLES = {"closed": "green", "half_open": "yellow", "open": "red"}


def show(*, as_json: bool) -> None:
    """List every breaker that ever counted a failure."""
    with closing(open_database()) as database:
        found = Breakers(database).all()
    if as_json:
        emit(found)
    elif found:
        _print(found)
    else:
        console().print("No circuit breaker has counted a failure.")


def reset(name: str, *, as_json: bool) -> None:
    """Close a breaker."""
    with closing(open_database()) as database:
        Breakers(database).reset(name)
    if as_json:
        emit({"name": name, "state": "closed"})
    else:
        console().print(f"{escape(name)} is closed: what it guards is called again.")


def _print(breakers: list[Breaker]) -> None:
    table = Table("breaker", "state", "failures in a row", "probed in", box=None, header_style="bold", padding=(0, 2))
    table.add_column("last error", overflow="fold")
    for it in breakers:
        state = f"[{STYLES[it.state]}]{it.state.replace('_', ' ')}[/]"
        probed = f"{it.opens_for:.0f} s" if it.state == "open" else ""
        table.add_row(escape(it.name), state, str(it.failures), probed, escape(it.error or ""))
    console().print(table)
