"""The reconciler: finds where the log, Airflow and the outside disagree, mends what can be, and reports the rest."""

from __future__ import annotations

from muster.operations.reconciling.checks import ask_checks, has_recovered
from muster.operations.reconciling.effects import find_effects
from muster.operations.reconciling.findings import QUIET, Airflow, Discrepancy, Kind, Scope
from muster.operations.reconciling.finished_runs import find_stale
from muster.operations.reconciling.leases import find_leases
from muster.operations.reconciling.missed_notices import find_stuck, find_untold
from muster.operations.reconciling.notices import find_notices
from muster.operations.reconciling.orphaned_tasks import find_lost
from muster.operations.reconciling.runs import find_runs
from muster.operations.reconciling.telling import tell_people

__all__ = ["QUIET", "Airflow", "Discrepancy", "Kind", "Scope", "ask_checks", "has_recovered", "reconcile"]


def reconcile(scope: Scope) -> list[Discrepancy]:
    """What disagrees, mended where that is safe; people are told of the rest. Doing it again mends nothing twice.

    Raises:
        MusterError: Airflow or the database gives no answer; what was found before stays mended.
    """
    found = []
    for find in FINDERS:
        for each in find(scope):
            found.append(each)
            if scope.mend:
                # At once: what comes after it may find nobody to ask.
                tell_people(scope, [each])
    return found


FINDERS = (find_untold, find_stuck, find_runs, find_stale, find_lost, find_leases, find_notices, find_effects)
"""In this order: what one mends or closes the next finds no more, nor is it listed twice."""
