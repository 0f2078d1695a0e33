"""`muster breakers`: what failed so often that it is left alone, and closing one by hand."""

from __future__ import annotations

from contextlib import closing

from rich.markup import escape

from muster.cli.connections import open_database
from muster.cli.output import console, emit, open_table
from muster.recovery.breakers import Breaker, Breakers

STYLES = {"closed": "green", "half_open": "yellow", "open": "red"}


def show(*, as_json: bool) -> None:
    """List every breaker that ever counted a failure."""
    with closing(open_database()) as database:
        breakers = Breakers(database).all()
    if as_json:
        emit(breakers)
    elif breakers:
        _print(breakers)
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
    table = open_table("breaker", "state", "failures in a row", "probed in", folded=["last error"])
    for breaker in breakers:
        state = f"[{STYLES[breaker.state]}]{breaker.state.replace('_', ' ')}[/]"
        probed = f"{breaker.opens_for:.0f} s" if breaker.state == "open" else ""
        table.add_row(escape(breaker.name), state, str(breaker.failures), probed, escape(breaker.error or ""))
    console().print(table)
