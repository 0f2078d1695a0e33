"""`muster test`: rehearses automations: whole, broken, repeated and crashed."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from muster.cli.output import console, emit
from muster.errors import MusterError
from muster.local.project import find_project
from muster.rehearsal.rehearsing import rehearsed, scripts
from muster.rehearsal.stage import own_server
from muster.rehearsal.workers import Judged


def rehearse(name: str | None, *, quick: bool, workers: int | None, as_json: bool) -> None:
    """Play what the files beside the automations say; exit code 1 when something does not hold."""
    # As after Ctrl-C, the server and the files are cleared away on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    include = find_project().include
    wanted = dict(scripts(include, name))
    results: dict[str, Judged] = {}
    with own_server() as (server, folder):
        for path, script in wanted.items():
            heard = None if as_json else _mark
            try:
                judged = rehearsed(include, script, server, folder, quick=quick, workers=workers, heard=heard)
            except MusterError as error:
                if len(wanted) == 1:
                    raise
                judged = [("the rehearsal", [str(error)])]  # What is wrong with one automation hides no other.
            results[script.automation] = judged
            if not as_json:
                _show(path, judged)
    if as_json:
        emit(
            {
                name: [{"scenario": scenario, "problems": said} for scenario, said in judged]
                for name, judged in results.items()
            }
        )
    if any(said for judged in results.values() for _, said in judged):
        raise typer.Exit(1)


def _mark(scenario: str, problems: list[str]) -> None:
    console().print(Text("F", style="red") if problems else Text(".", style="green"), end="")


def _show(path: Path, judged: Judged) -> None:
    out = console()
    out.print()
    wrong = [(name, said) for name, said in judged if said]
    if wrong:
        table = Table("scenario", "what is wrong", title=path.name)
        for name, said in wrong:
            table.add_row(Text(name), Text("\n".join(said)))
        out.print(table)
    out.print(
        Text(
            f"{path.name}: {len(judged) - len(wrong)} of {len(judged)} scenarios hold",
            style="red" if wrong else "green",
        )
    )
