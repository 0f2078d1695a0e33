"""Leases that their holder left behind."""

from __future__ import annotations

from collections.abc import Iterator

from muster.operations.reconciling.findings import Discrepancy, Scope
from muster.recovery.leases import Holder, Leases


def find_leases(scope: Scope) -> Iterator[Discrepancy]:
    """Release leases that ran out, and report those that are still renewed for a run that has ended."""
    leases = Leases(scope.database)
    for held in leases.held():
        if held.expires_in < 0:
            message = f"{held.owner} neither renewed nor released it: it died"
            mended = scope.mend and leases.let_go(held)
            yield Discrepancy("lease", held.name, message, "", mended=mended, run=_run(held), person=False)
        elif (run := _ended_run(scope, held)) is not None:
            message = f"still renewed by {held.owner}, though the run has ended"
            remedy = "Whatever renews it still works for the run: end that process, and it runs out within a minute."
            yield Discrepancy("lease", held.name, message, remedy, run=run, mark=str(held.token))


def _ended_run(scope: Scope, held: Holder) -> str | None:
    """The run that a lease is held for, if the run ended a while ago; None otherwise."""
    row = scope.queries.run_of(run) if (run := _run(held)) is not None else None
    if row is None or row.status == "open" or row.closed_at is None or not scope.has_rested(row.closed_at):
        return None
    # The row of a run that is begun again shows its earlier end until the next one. Only the last event in the log says
    # whether the run goes on, and its lease is held with right.
    begun_again = scope.log.read(row.id, after_version=max(0, scope.log.version(row.id) - 1))
    last = next(begun_again, None)
    return row.id if last is not None and scope.has_rested(last.at) else None


def _run(held: Holder) -> str | None:
    """The run in an owner's name, `<run>/<work item>`."""
    run, slash, _ = held.owner.rpartition("/")
    return run if slash and "/" in run else None
