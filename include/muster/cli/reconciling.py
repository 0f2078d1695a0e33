"""`muster reconcile` and `muster check`: where the log and the world disagree, and what must hold."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import typer
from rich.table import Table
from rich.text import Text

from muster.cli.connections import airflow, open_database
from muster.cli.output import console, emit
from muster.database import Database
from muster.execution.checking import broken_checks
from muster.language.definition import Definition
from muster.language.folder import load_folder
from muster.local.airflow_runs import RestAirflow
from muster.local.project import find_project
from muster.operations.reconciling import Scope, ask_checks, reconcile
from muster.recovery.consistency import Violation

LONGEST_QUIET = timedelta(days=30)
"""The longest time for which `--quiet` may leave alone what has happened."""


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


def run(*, dry_run: bool, quiet_minutes: float, user: str, as_json: bool) -> None:
    """Look for disagreements, mend what can be mended, and list them all; messages are left to the reconciler's Dag."""
    # Written this way round so that `nan`, which compares false with everything, is refused too.
    if not 0 <= quiet_minutes <= LONGEST_QUIET / timedelta(minutes=1):
        raise typer.BadParameter(
            f"{quiet_minutes:g} is no number of minutes from 0 to {LONGEST_QUIET / timedelta(minutes=1):g}"
            f" ({LONGEST_QUIET.days} days).",
            param_hint="--quiet",
        )
    with closing(open_database()) as database, airflow(user) as client:
        scope = Scope(
            database=database,
            airflow=RestAirflow(client),
            now=datetime.now(UTC),
            quiet=timedelta(minutes=quiet_minutes),
            mend=not dry_run,
        )
        project = find_project()
        discrepancies = reconcile(scope)
        discrepancies += ask_checks(scope, declaring(), artifacts=project.artifacts, site=project.site_skills)
    if as_json:
        emit([vars(discrepancy) for discrepancy in discrepancies])
        return
    if not discrepancies:
        console().print("The log and Airflow agree; nothing is left over.")
        return
    table = Table("what", "which", "how", "what to do")
    for discrepancy in discrepancies:
        cells = (
            discrepancy.kind,
            discrepancy.subject,
            ("mended: " if discrepancy.mended else "") + discrepancy.message,
            discrepancy.remedy,
        )
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table)
