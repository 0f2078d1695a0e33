"""`muster reconcile`: where the log and the world disagree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.table import Table
from rich.text import Text

from muster.cli.output import console, emit
from muster.cli.place import airflow, open_queries
from muster.execution.reconciling import reconcile


def run(*, dry_run: bool, quiet_minutes: float, user: str, as_json: bool) -> None:
    """Look for disagreements, mend what can be mended, and list them all."""
    _, database = open_queries()
    try:
        with airflow(user) as client:
            found = reconcile(
                database,
                lambda dag_id, run_id: (client.run(dag_id, run_id) or {}).get("state"),
                datetime.now(UTC),
                quiet=timedelta(minutes=quiet_minutes),
                mend=not dry_run,
            )
    finally:
        database.close()
    if as_json:
        emit([vars(each) for each in found])
        return
    if not found:
        console().print("The log and Airflow agree; nothing is left over.")
        return
    table = Table("what", "which", "how", "what to do")
    for each in found:
        cells = (each.kind, each.subject, ("mended: " if each.mended else "") + each.message, each.remedy)
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table)
