"""Rehearses the automations of a folder as the `*.test.yaml` files beside them say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from muster.errors import MusterError
from muster.language.folder import REHEARSAL, load_folder
from muster.language.problems import LanguageError, did_you_mean
from muster.language.runs import runs
from muster.rehearsal.scenarios import Rehearsal, Scenario
from muster.rehearsal.script import Script, read_script
from muster.rehearsal.stage import Stage

Judged = list[tuple[str, list[str]]]
"""The name of each scenario, with its problems; none when all is well."""


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


async def rehearsed(
    include: Path,
    script: Script,
    server: str,
    folder: Path,
    *,
    quick: bool = False,
    heard: Callable[[str, list[str]], None] | None = None,
) -> Judged:
    """Play all scenarios of one script, and return each with its problems.

    Args:
        server: DSN of a server on which databases can be made.
        folder: For the files of runs.
        quick: Leave out the crashes.
        heard: Called after each scenario with its name and problems.

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
        await stage.prepare(script, definition.settings)
        rehearsal = Rehearsal(definition, script, stage)
        scenarios = await rehearsal.scenarios()
        return [(scenario.name, await _judged(scenario, heard)) for scenario in _chosen(scenarios, quick)]
    finally:
        stage.close()


async def _judged(scenario: Scenario, heard: Callable[[str, list[str]], None] | None) -> list[str]:
    problems = await scenario.judge()
    if heard is not None:
        heard(scenario.name, problems)
    return problems


def _chosen(scenarios: list[Scenario], quick: bool) -> list[Scenario]:
    """All of them, or without the crashes, which are most of them."""
    return [scenario for scenario in scenarios if not (quick and scenario.name.startswith("a crash "))]
