"""`muster reconcile`: where the log and the world disagree."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import typer
from rich.table import Table
from rich.text import Text

from muster.cli.checking import declaring
from muster.cli.connections import airflow, open_database
from muster.cli.output import console, emit
from muster.local.airflow_runs import RestAirflow
from muster.local.project import find_project
from muster.operations.reconciling import Scope, ask_checks, reconcile

LONGEST_QUIET = timedelta(days=30)
"""The longest time for which `--quiet` may leave alone what has happened."""


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
