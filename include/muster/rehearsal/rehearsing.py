"""Rehearses the automations of a folder as the `*.test.yaml` files beside them say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from muster.errors import MusterError
from muster.language.definition import Definition
from muster.language.folder import REHEARSAL, load_folder
from muster.language.problems import LanguageError, did_you_mean
from muster.language.runs import runs
from muster.rehearsal.scenarios import Rehearsal, Scenario
from muster.rehearsal.script import Script, read_script
from muster.rehearsal.stage import Stage
from muster.rehearsal.workers import Judged, cores, judged


def scripts(include: Path, name: str | None = None) -> Iterator[tuple[Path, Script]]:
    """The scripts of a folder with their files; with `name` only those of that automation.

    Raises:
        LanguageError: a script is not valid.
        MusterError: there is no script.
    """
    by_path = {path: read_script(path) for path in sorted((include / "automations").rglob(f"*{REHEARSAL}"))}
    fitting = {path: script for path, script in by_path.items() if name in (None, script.automation)}
    if not fitting:
        named = f"for {name}" if name else f"in {include / 'automations'}"
        hint = did_you_mean(name, [script.automation for script in by_path.values()]) if name else None
        raise MusterError(
            f"There is no file that ends in {REHEARSAL} {named}.", remedy=hint or "docs/rehearsals.md shows one."
        )
    yield from fitting.items()


def rehearsed(
    include: Path,
    script: Script,
    server: str,
    folder: Path,
    *,
    quick: bool = False,
    workers: int | None = None,
    heard: Callable[[str, list[str]], None] | None = None,
) -> Judged:
    """Play all scenarios of one script, and return each with its problems.

    Args:
        server: DSN of a server on which databases can be made.
        folder: For the files of runs.
        quick: Leave out the crashes.
        workers: How many processes play scenarios side by side; None for one on each core.
        heard: Called for each scenario with its name and problems, in their order.

    Raises:
        LanguageError: the automation is not valid.
        MusterError: there is no such automation.
    """
    catalogue = load_folder(include, only=script.automation)
    if catalogue.problems:
        raise LanguageError(catalogue.problems)
    definition = catalogue.definitions.get(script.automation)
    if definition is None:
        raise MusterError(f"There is no automation {script.automation}.", remedy="`muster list` shows them all.")
    others = load_folder(include).definitions if any(runs(definition)) else {}
    stage = Stage(server, folder, include / "skills", others)
    try:
        scenarios = _chosen(asyncio.run(_scenarios(definition, script, stage)), quick)
        return judged(scenarios, workers or cores(), heard)
    finally:
        stage.close()


async def _scenarios(definition: Definition, script: Script, stage: Stage) -> list[Scenario]:
    try:
        await stage.prepare(script, definition.settings)
        return await Rehearsal(definition, script, stage).scenarios()
    finally:
        # Before processes are forked, which could share no connection.
        await stage.leave()


def _chosen(scenarios: list[Scenario], quick: bool) -> list[Scenario]:
    """All of them, or without the crashes, which are most of them."""
    return [scenario for scenario in scenarios if not (quick and scenario.name.startswith("a crash "))]
