"""`Discrepancy`, which the reconciler finds, and `Scope`, which it is given to look with."""

from __future__ import annotations

import time
from collections import defaultdict
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
from muster.language.runs import AT_ONCE
from muster.notifications.model import Notice
from muster.recovery.heartbeats import NEXT_SIGN, living

Kind = Literal["run", "stuck", "task", "lease", "notice", "effect", "check", "checkpoint"]

LIMIT = 10_000
"""The most rows of each kind that one pass looks at."""
QUIET = timedelta(minutes=10)
"""Time without an event after which something counts as abandoned. Airflow needs a moment between the end of a task and
the events that follow from it: within it a run that goes on looks like one that died."""

WINDOW = timedelta(days=30)
"""A run that was closed within this time is looked at, because it may have been begun again."""

SLOWEST = timedelta(minutes=5)
"""The longest time that Airflow takes to begin or end a task. It counts also where `quiet` is shorter."""
SKEW = timedelta(minutes=1)
"""The most by which clocks may differ. An event with a later time was written by a machine with a wrong clock."""
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
WAITING = frozenset({"scheduled", "up_for_retry", "up_for_reschedule"})
"""Those of them in which it waits to be begun, which no task is of a Dag that is paused or that no file has."""


class Airflow(Protocol):
    """The questions and orders to Airflow. Every method raises a `MusterError` if Airflow gives no answer."""

    def state(self, dag_id: str, run_id: str) -> str | None:
        """The state of a run; None when Airflow does not know it."""

    def paused(self, dag_id: str) -> bool:
        """True for a Dag of which Airflow begins no task: it is paused, or no file has it."""

    def running(self, dag_id: str, run_ids: Sequence[str]) -> Collection[str]:
        """Those of these runs that have not ended."""

    def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str | None]:
        """The state of each of its tasks, as `task` or `task_<map index>`."""

    def unopened(self) -> Mapping[tuple[str, str], datetime]:
        """The Dag runs of automations whose first task waits for its next try, each with when the last one ended.

        Empty for who may not ask which runs there are.
        """

    def restart(self, dag_id: str, run_id: str, *, latest: bool = False) -> None:
        """Have all tasks of a run performed again, on the version the run belongs to, or on the latest one."""

    def clear(self, dag_id: str, run_id: str, tasks: Sequence[str]) -> bool:
        """Have only these tasks of a run performed again; False where that is not possible."""


@dataclass(frozen=True)
class Discrepancy:
    """One difference between the log, Airflow and the outside."""

    kind: Kind
    subject: str
    """The run's id, or the key of the notice or effect, or the name of the lease or check."""
    message: str
    remedy: str
    mended: bool = False
    run: str | None = None
    """The run it belongs to, when it belongs to one."""
    person: bool = True
    """True when people have to know: only a person can mend it, or work was given up."""
    mark: str = ""
    """Tells it from an earlier discrepancy about the same subject; part of `key`."""
    told: bool = False
    """True when the process that it happened to has told people."""

    @property
    def key(self) -> str:
        """The same each time the discrepancy is found: people are told once for each key."""
        return f"reconciler/{self.kind}/{self.subject}" + (f"@{self.mark}" if self.mark else "")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What one pass of the reconciler looks at, and with what."""

    database: Database
    airflow: Airflow
    now: datetime
    quiet: timedelta = QUIET
    mend: bool = True
    """False only looks."""
    send: Callable[[Notice], None] | None = None
    """Sends a notice, and raises when that fails; None where there are no channels."""
    patience: float = NEXT_SIGN
    """Seconds that are waited once before work counts as left, so that whoever is at it can give a sign of life."""

    @property
    def before(self) -> datetime:
        """Events before this moment have come to rest."""
        return self.now - self.quiet

    @property
    def beyond(self) -> datetime:
        """Events with a time after this moment were written by a wrong clock."""
        return self.now + SKEW

    def has_rested(self, at: datetime, least: timedelta = timedelta(0)) -> bool:
        """True when an event at this moment has come to rest; `least` counts where `quiet` is shorter."""
        # A machine whose clock was ahead has written times in the future. Taken at its word, its run would look as if
        # something had just happened, and nobody would look after it until then.
        return at <= self.now - max(self.quiet, least) or at > self.beyond

    def living(self, run: str, *, awaited: bool = False) -> frozenset[str]:
        """The work of a run that processes are at; asked once for each run, because a long list has many tasks.

        Args:
            awaited: Only after another sign of all that goes on would have come; this is waited for once in a pass.
        """
        if awaited and not self._living[True]:
            time.sleep(self.patience)
        by_run = self._living[awaited]
        if run not in by_run:
            by_run[run] = living(self.database, run)
        return by_run[run]

    @cached_property
    def _living(self) -> dict[bool, dict[str, frozenset[str]]]:
        """By whether a sign was awaited before, what `living` has found of each run."""
        return {False: {}, True: {}}

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
        """Runs that have not ended, also those that were begun again: their rows show the earlier end for a while."""
        again = self.queries.runs_gone_on(self.before - WINDOW, self.before, beyond=self.beyond, limit=LIMIT)
        return [*self.queries.runs(status="open", limit=LIMIT), *(row for row in again if self.begun_again(row.id))]

    @cached_property
    def stuck_runs(self) -> list[RunRow]:
        """Runs that are half undone and wait for a person."""
        # The table shows a run as stuck until it ends anew, also after a person has resumed it.
        rows = self.queries.runs(status="stuck", limit=LIMIT)
        return [row for row in rows if not self.begun_again(row.id)]

    @cached_property
    def at_work(self) -> set[str]:
        """The ids of open and stuck runs that had not ended in Airflow when it was asked, once for each pass."""
        return self.going_on([*self.open_runs, *self.stuck_runs])

    @cached_property
    def full_dags(self) -> frozenset[str]:
        """The Dags of which as many runs go on as go on at once: others stay queued until one of these has ended."""
        runs = defaultdict[str, list[str]](list)
        for row in (*self.open_runs, *self.stuck_runs):
            if row.id in self.at_work:
                runs[row.dag_id or ""].append(row.dag_run_id or "")
        return frozenset(
            dag_id
            for dag_id, run_ids in runs.items()
            # Those that are queued do not count: of a Dag that is paused all may be.
            if len(run_ids) > AT_ONCE
            and sum(self.airflow.state(dag_id, run_id) == "running" for run_id in run_ids) >= AT_ONCE
        )

    def going_on(self, rows: Iterable[RunRow]) -> set[str]:
        """The ids of those runs that have not ended in Airflow; one question for all runs of a Dag."""
        by_dag: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.dag_id is not None and row.dag_run_id is not None:
                by_dag.setdefault(row.dag_id, {})[row.dag_run_id] = row.id
        return {ids[run_id] for dag_id, ids in by_dag.items() for run_id in self.airflow.running(dag_id, list(ids))}

    def begun_again(self, run: str) -> bool:
        """True when the run was closed, begun again in Airflow, or ordered to be, and not closed since."""
        # A child that its parent undoes has begun an execution as well, but none in Airflow: the parent sees to it, and
        # the reconciler leaves it alone.
        life = RunLifecycle.of(self.log.read(run, types=LIFECYCLE_EVENTS))
        return life.goes_on is not None and life.is_performed

    def definition(self, hash: str) -> Definition:
        """A definition by its hash."""
        return Definition.model_validate_json(DefinitionStore(self.database).get(hash))
