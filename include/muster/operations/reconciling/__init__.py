"""The reconciler: finds where the log, Airflow and the outside disagree, mends what can be, and reports the rest."""

from __future__ import annotations

from muster.coordination.messages import Post
from muster.operations.reconciling.checks import ask_checks, has_recovered
from muster.operations.reconciling.effects import find_effects
from muster.operations.reconciling.findings import QUIET, Airflow, Discrepancy, Kind, Scope
from muster.operations.reconciling.finished_runs import find_finished_runs
from muster.operations.reconciling.leases import find_leases
from muster.operations.reconciling.missed_notices import find_missed_notices, find_stuck
from muster.operations.reconciling.notices import find_notices
from muster.operations.reconciling.orphaned_tasks import find_orphaned_tasks
from muster.operations.reconciling.runs import find_runs
from muster.operations.reconciling.telling import tell_people
from muster.operations.reconciling.unopened_runs import find_unopened_runs

__all__ = ["QUIET", "Airflow", "Discrepancy", "Kind", "Scope", "ask_checks", "has_recovered", "reconcile"]


def reconcile(scope: Scope) -> list[Discrepancy]:
    """Find discrepancies, mend those that are safe to mend, and tell people of the rest.

    A repeated call mends nothing twice.

    Returns:
        All discrepancies, each with `mended`. With `scope.mend` off nothing is mended and nobody is told.

    Raises:
        MusterError: Airflow or the database gives no answer. Mended discrepancies stay mended; call it again.
    """
    if scope.mend:
        # Of mailboxes that nobody looks at any more: what is handed out, its receiver marks itself.
        Post(scope.database).expire()
    discrepancies = []
    for find in FINDERS:
        for discrepancy in find(scope):
            discrepancies.append(discrepancy)
            if scope.mend:
                # Tell people at once, not at the end: the next finder may find Airflow away and raise, and nobody
                # would be told of this discrepancy.
                tell_people(scope, [discrepancy])
    return discrepancies


FINDERS = (
    find_missed_notices,
    find_stuck,
    find_runs,
    find_finished_runs,
    find_orphaned_tasks,
    find_unopened_runs,
    find_leases,
    find_notices,
    find_effects,
)
"""The order matters: a finder does not list again what an earlier one has mended or closed."""
