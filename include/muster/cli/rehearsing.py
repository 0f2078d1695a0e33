"""`muster test`: rehearses automations, whole, broken, repeated and crashed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from muster.cli.output import console, emit
from muster.errors import MusterError
from muster.language.folder import REHEARSAL, load_folder
from muster.language.problems import LanguageError, did_you_mean
from muster.local.project import find_project
from muster.rehearsal.scenarios import Rehearsal, Scenario
from muster.rehearsal.script import Script, read_script
from muster.rehearsal.stage import Stage, own_server

Judged = list[tuple[str, list[str]]]
"""Each scenario's name, and what is wrong with it."""


def rehearse(name: str | None, *, quick: bool, as_json: bool) -> None:
    """Play what the files beside the automations say; exit code 1 when something does not hold."""
    include = find_project().include
    found = dict(scripts(include, name))
    results: dict[str, Judged] = {}
    with own_server() as (server, folder):
        for path, script in found.items():
            results[script.automation] = asyncio.run(
                rehearsed(include, script, server, folder, quick=quick, silent=as_json)
            )
            if not as_json:
                _show(path, results[script.automation])
    if as_json:
        emit({name: [{"scenario": it, "problems": said} for it, said in judged] for name, judged in results.items()})
    if any(said for judged in results.values() for _, said in judged):
        raise typer.Exit(1)


def scripts(include: Path, name: str | None = None) -> Iterator[tuple[Path, Script]]:
    """The scripts of a folder by file, or the one of an automation.

    Raises:
        LanguageError: a script is not right.
        MusterError: there is none.
    """
    found = {path: read_script(path) for path in sorted((include / "automations").rglob(f"*{REHEARSAL}"))}
    fitting = {path: script for path, script in found.items() if name in (None, script.automation)}
    if not fitting:
        named = f"for {name}" if name else f"in {include / 'automations'}"
        hint = did_you_mean(name, [script.automation for script in found.values()]) if name else None
        raise MusterError(
            f"There is no file that ends in {REHEARSAL} {named}.", remedy=hint or "docs/rehearsals.md shows one."
        )
    yield from fitting.items()


async def rehearsed(
    include: Path, script: Script, server: str, folder: Path, *, quick: bool = False, silent: bool = True
) -> Judged:
    """Play everything one script asks for.

    Raises:
        LanguageError: the automation is not right.
        MusterError: there is no such automation.
    """
    catalogue = load_folder(include, only=script.automation)
    if catalogue.problems:
        raise LanguageError(catalogue.problems)
    definition = catalogue.definitions.get(script.automation)
    if definition is None:
        raise MusterError(f"There is no automation {script.automation}.", remedy="`muster list` shows them all.")
    stage = Stage(server, folder, include / "skills")
    try:
        await stage.prepare(script, definition.settings)
        rehearsal = Rehearsal(definition, script, stage)
        scenarios = await rehearsal.scenarios()
        return [(it.name, await _judged(it, silent)) for it in _chosen(scenarios, quick)]
    finally:
        stage.close()


async def _judged(scenario: Scenario, silent: bool) -> list[str]:
    problems = await scenario.judge()
    if not silent:
        console().print(Text("." if not problems else "F", style="green" if not problems else "red"), end="")
    return problems


def _chosen(scenarios: list[Scenario], quick: bool) -> list[Scenario]:
    """All of them, or without the crashes, which are most of them."""
    return [it for it in scenarios if not (quick and it.name.startswith("a crash "))]


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
