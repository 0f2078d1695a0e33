"""Finds where the log and the world disagree, mends what can be mended, and reports the rest.

What it looks for: runs that are open in the log and have ended in Airflow, or are gone there; notices that
nobody received; effects whose outcome nobody knows; runs that wait, stuck, for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.queries import Queries, RunRow
from muster.notifications.outbox import Outbox
from muster.recovery.consistency import Query, violations
from muster.recovery.ledger import Ledger

Kind = Literal["run", "stuck", "notice", "effect", "check"]
AirflowState = Callable[[str, str], str | None]
"""Airflow's state of a run, by Dag and run id; None when Airflow does not know it."""

ENDED = frozenset({"success", "failed"})
LIMIT = 10_000
"""Of each kind, at most so many are looked at."""


@dataclass(frozen=True)
class Disagreement:
    """One thing that is not as it should be."""

    kind: Kind
    subject: str
    """The run's id, or the key of the notice or effect."""
    message: str
    remedy: str
    mended: bool = False


def reconcile(
    database: Database,
    airflow_state: AirflowState,
    now: datetime,
    *,
    checks: Iterable[Query] = (),
    quiet: timedelta = timedelta(minutes=10),
    mend: bool = True,
) -> list[Disagreement]:
    """What disagrees, mended where that is safe. Doing it again mends nothing twice.

    Args:
        checks: What must hold in the database.
        quiet: How long nothing may have happened to a run before it counts as abandoned: Airflow needs a moment
            between the end of a task and the events that follow from it.
        mend: False only looks.
    """
    queries, log = Queries(database), EventLog(database)
    found = [
        each
        for row in queries.runs(status="open", limit=LIMIT)
        for each in _run(log, row, airflow_state, now - quiet, mend)
    ]
    found += [
        Disagreement("stuck", row.id, f"half undone: {row.reason}", f"Act, then `muster resume {row.id}`.")
        for row in queries.runs(status="stuck", limit=LIMIT)
    ]
    found += [
        Disagreement(
            "notice", entry.key, f"not delivered to {entry.target}: {entry.error}", "`muster outbox` shows it."
        )
        for entry in Outbox(database).entries(status="failed", limit=LIMIT)
    ]
    found += [
        Disagreement("effect", entry.key, "nobody knows whether it happened", "Find out, then `muster effects settle`.")
        for entry in Ledger(database).entries(in_doubt=True, limit=LIMIT)
    ]
    found += [
        Disagreement("check", each.check, each.message, "Look at what its query finds.")
        for each in violations(database, checks)
    ]
    return found


def _run(
    log: EventLog, row: RunRow, airflow_state: AirflowState, before: datetime, mend: bool
) -> Iterator[Disagreement]:
    if row.dag_id is None or row.dag_run_id is None:
        return
    state = airflow_state(row.dag_id, row.dag_run_id)
    if state is not None and state not in ENDED:
        return
    last = next(log.read(row.id, after_version=log.version(row.id) - 1))
    if last.at > before:
        return
    ended = "does not know it any more" if state is None else f"ended it as {state}"
    message = f"open in the log, and Airflow {ended}"
    if mend:
        _close(log, row.id, last.version, message)
    yield Disagreement("run", row.id, message, f"`muster restart {row.id} --from STEP` goes on with it.", mended=mend)


def _close(log: EventLog, run: str, version: int, message: str) -> None:
    """Close the run as failed. Of two that do so at once one writes."""
    data = {"status": "failed", "reason": f"the run was found {message}", "counts": {}, "reconciled": True}
    log.append(run, [NewEvent(type=EventType.RUN_CLOSED, data=data, key=f"closed/reconciled@{version}")])
