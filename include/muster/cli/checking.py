"""`muster check`: what must hold, as automations declare it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import typer
from rich.text import Text

from muster.cli.connections import open_database
from muster.cli.output import console, emit
from muster.database import Database
from muster.execution.checking import broken_checks
from muster.language.definition import Definition
from muster.language.folder import load_folder
from muster.local.project import find_project
from muster.recovery.consistency import Violation


def check(*, as_json: bool) -> None:
    """Ask what the automations declare under `checks`; exit code 1 when something does not hold."""
    with closing(open_database()) as database:
        definitions = declaring()
        violations = [violation for definition in definitions for violation in _broken(definition, database)]
    if as_json:
        emit([vars(violation) for violation in violations])
    for violation in [] if as_json else violations:
        console().print(Text(f"{violation.check}: {violation.text}", style="red"))
    if violations:
        raise typer.Exit(1)
    if not as_json:
        number = sum(len(definition.checks) for definition in definitions)
        console().print(f"All checks hold: {number}." if number else "No automation declares checks.")


def declaring() -> list[Definition]:
    """The automations that declare checks."""
    definitions = load_folder(find_project().include).definitions.values()
    return [definition for definition in definitions if definition.checks]


def _broken(definition: Definition, database: Database) -> list[Violation]:
    project = find_project()
    return database.run(
        broken_checks(
            definition, database, artifacts=project.artifacts, site=project.site_skills, now=datetime.now(UTC)
        )
    )
