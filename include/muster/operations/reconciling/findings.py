"""What the reconciler finds, and what it is given to look with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, Protocol

from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.events.lifecycle import LIFECYCLE_EVENTS, RunLifecycle
from muster.events.log import EventLog
from muster.events.queries import Queries, RunRow
from muster.language.definition import Definition
from muster.notifications.model import Notice

Kind = Literal["run", "stuck", "task", "lease", "notice", "effect", "check", "checkpoint"]

LIMIT = 10_000
"""Of each kind, at most so many are looked at."""
QUIET = timedelta(minutes=10)
"""How long nothing may have happened to something before it counts as abandoned: Airflow needs a moment between the
end of a task and the events that follow from it."""

WINDOW = timedelta(days=30)
"""How long ago a run was closed at most that may have been begun again."""

SLOWEST = timedelta(minutes=5)
"""How long Airflow may take, whatever `quiet` says, to begin what is to be done, and to end what is done."""
SKEW = timedelta(minutes=1)
"""How far clocks may differ: what is said to happen later than that was told by one that is wrong."""
ACTIVE = frozenset(
    {
        "deferred",
        "awaiting_input",
        "running",
        "queued",
        "scheduled",
        "up_for_retry",
        "up_for_reschedule",
        "restarting",
    }
)
"""States of a task that Airflow means to do something about."""


class Airflow(Protocol):
    """What is asked of Airflow; every method raises a `MusterError` when it gives no answer."""

    def state(self, dag_id: str, run_id: str) -> str | None:
        """The state of a run; None when Airflow does not know it."""

    def running(self, dag_id: str, run_ids: Sequence[str]) -> Collection[str]:
        """Those of these runs that have not ended."""

    def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str | None]:
        """The state of each of its tasks, as `task` or `task_<map index>`."""

    def restart(self, dag_id: str, run_id: str, *, latest: bool = False) -> None:
        """Have all tasks of a run performed again, on the version the run belongs to, or on the latest one."""

    def clear(self, dag_id: str, run_id: str, tasks: Sequence[str]) -> bool:
        """Have only these tasks of a run performed again; False where that is not possible."""


@dataclass(frozen=True)
class Discrepancy:
    """One thing that is not as it should be."""

    kind: Kind
    subject: str
    """The run's id, or the key of the notice or effect, or the name of the lease or check."""
    message: str
    remedy: str
    mended: bool = False
    run: str | None = None
    """The run it belongs to, when it belongs to one."""
    person: bool = True
    """True when people have to know: only they can mend it, or something was given up."""
    mark: str = ""
    """What tells it from an earlier finding about the same subject."""
    told: bool = False
    """True when people were told by whoever it happened to."""

    @property
    def key(self) -> str:
        """The same each time the same thing is found: people are told once."""
        return f"reconciler/{self.kind}/{self.subject}" + (f"@{self.mark}" if self.mark else "")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where the reconciler looks, and with what."""

    database: Database
    airflow: Airflow
    now: datetime
    quiet: timedelta = QUIET
    mend: bool = True
    """False only looks."""
    send: Callable[[Notice], None] | None = None
    """Sends a notice, and raises when that fails; None where there are no channels."""

    @property
    def before(self) -> datetime:
        """What happened last before this moment has come to rest."""
        return self.now - self.quiet

    @property
    def beyond(self) -> datetime:
        """What is said to happen after this moment happened at some other one: a clock was wrong."""
        return self.now + SKEW

    def has_rested(self, at: datetime, least: timedelta = timedelta(0)) -> bool:
        """True when what happened at a moment has come to rest; `least` counts where `quiet` is shorter.

        Nobody knows how long ago it was when its clock was wrong: that must not keep a run from being looked after.
        """
        return at <= self.now - max(self.quiet, least) or at > self.beyond

    @cached_property
    def log(self) -> EventLog:
        """The log."""
        return EventLog(self.database)

    @cached_property
    def queries(self) -> Queries:
        """The projections."""
        return Queries(self.database, self.log)

    @cached_property
    def open_runs(self) -> list[RunRow]:
        """Runs that have not come to their end: the log may show for a while how they ended before."""
        again = self.queries.runs_gone_on(self.before - WINDOW, self.before, beyond=self.beyond, limit=LIMIT)
        return [*self.queries.runs(status="open", limit=LIMIT), *(row for row in again if self.begun_again(row.id))]

    @cached_property
    def stuck_runs(self) -> list[RunRow]:
        """Runs that are half undone, and wait for a person."""
        # The table shows a run as stuck until it has ended anew, also while a person has it go on.
        rows = self.queries.runs(status="stuck", limit=LIMIT)
        return [row for row in rows if not self.begun_again(row.id)]

    @cached_property
    def at_work(self) -> set[str]:
        """Those of all these runs, by id, that had not ended in Airflow when it was asked."""
        return self.going_on([*self.open_runs, *self.stuck_runs])

    def going_on(self, rows: Iterable[RunRow]) -> set[str]:
        """Those of these runs, by id, that have not ended in Airflow: asked for many at a time."""
        by_dag: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.dag_id is not None and row.dag_run_id is not None:
                by_dag.setdefault(row.dag_id, {})[row.dag_run_id] = row.id
        return {ids[run_id] for dag_id, ids in by_dag.items() for run_id in self.airflow.running(dag_id, list(ids))}

    def begun_again(self, run: str) -> bool:
        """True when the run was closed, begun again in Airflow, or ordered to be, and not closed since."""
        # A child that its parent undoes is begun again as well, but not in Airflow: seeing to it is the parent's.
        life = RunLifecycle.of(self.log.read(run, types=LIFECYCLE_EVENTS))
        return life.goes_on is not None and life.is_performed

    def definition(self, hash: str) -> Definition:
        """A definition by its hash."""
        return Definition.model_validate_json(DefinitionStore(self.database).get(hash))
