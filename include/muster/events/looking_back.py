"""How runs went in a period, and what each agent has done in it and is at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from psycopg.rows import class_row
from psycopg.sql import SQL

from muster.database import Database
from muster.events.failures import database_failures
from muster.events.model import EventType as T

Row = TypeVar("Row")
UNASKED = tuple(
    map(
        str,
        (
            T.RUN_CANCEL_REQUESTED,
            T.RUN_RESUMED,
            T.RUN_RESTARTED,
            T.DEAD_LETTER_REDRIVEN,
            T.DEAD_LETTER_DISCARDED,
        ),
    )
)
"""Events in which a person has done something about a run that did not ask for it."""


@dataclass(frozen=True, kw_only=True)
class AutomationRecord:
    """How the runs of an automation went that were opened in a period."""

    automation: str
    succeeded: int
    failed: int
    compensated: int
    stuck: int
    open: int
    seconds: float | None
    """The median of what runs took that have succeeded; None where none has."""
    asked: int
    """Runs in which a person has answered a question."""
    helped: int
    """Runs that did not ask and about which a person has done something: resumed, restarted, cancelled, redriven."""

    @property
    def ended(self) -> int:
        """How many have ended."""
        return self.succeeded + self.failed + self.compensated + self.stuck


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """How a step went in the runs of a period."""

    automation: str
    step: str
    kind: str | None
    runs: int
    """Runs in which it, or an item of it, has ended."""
    failed: int
    """Runs in which it, or an item of it, has failed."""
    error: str | None
    """The class of error that is most frequent."""
    seconds: float
    """From its beginning to its end, in all runs together."""
    work: float
    """Seconds that its items took one by one, in all runs together; 0 for a step without items."""

    @property
    def speed_up(self) -> float | None:
        """How many times faster its items were done than one after the other; None for a step without items."""
        return self.work / self.seconds if self.work and self.seconds else None


@dataclass(frozen=True, kw_only=True)
class AgentLoad:
    """What an agent is at, and what it has done in a period."""

    agent: str
    at_work: int
    """Steps and items that it is at."""
    succeeded: int
    failed: int
    seconds: float | None
    """The median of what each took that has succeeded; None where none has."""
    usd: float


class LookingBack:
    """Answers about the runs that were opened in a period that ends now."""

    def __init__(self, database: Database, period: timedelta) -> None:
        self._database = database
        self._period = period

    def automations(self) -> list[AutomationRecord]:
        """Each automation that has runs, by its name."""
        return self._fetch(
            AutomationRecord,
            "SELECT automation, count(*) FILTER (WHERE status = 'succeeded') AS succeeded,"
            " count(*) FILTER (WHERE status = 'failed') AS failed,"
            " count(*) FILTER (WHERE status = 'compensated') AS compensated,"
            " count(*) FILTER (WHERE status = 'stuck') AS stuck, count(*) FILTER (WHERE status = 'open') AS open,"
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM closed_at - opened_at)::float8)"
            " FILTER (WHERE status = 'succeeded') AS seconds,"
            " count(*) FILTER (WHERE asked) AS asked, count(*) FILTER (WHERE helped AND NOT asked) AS helped"
            " FROM period, LATERAL (SELECT coalesce(bool_or(type = 'approval.answered'), false) AS asked,"
            " coalesce(bool_or(type = ANY(%(unasked)s) AND actor <> 'reconciler'), false) AS helped"
            " FROM events WHERE stream = period.id) AS people"
            " GROUP BY automation ORDER BY automation",
        )

    def steps(self) -> list[StepRecord]:
        """Each step that has ended in some run, by automation and name."""
        return self._fetch(
            StepRecord,
            "SELECT automation, step, max(kind) AS kind, count(*) AS runs,"
            " count(*) FILTER (WHERE failed) AS failed, mode() WITHIN GROUP (ORDER BY error_class) AS error,"
            " sum(seconds) AS seconds, sum(work) AS work FROM ("
            " SELECT automation, run, step, max(kind) AS kind, bool_or(steps.status = 'failed') AS failed,"
            " max(error_class) FILTER (WHERE steps.status = 'failed') AS error_class,"
            " coalesce(extract(epoch FROM max(ended_at) - min(started_at))::float8, 0) AS seconds,"
            " coalesce(sum(extract(epoch FROM ended_at - started_at)::float8) FILTER (WHERE index >= 0), 0) AS work"
            " FROM period JOIN steps ON run = period.id"
            " WHERE steps.status IN ('succeeded', 'failed', 'set_aside', 'undone') GROUP BY automation, run, step"
            ") AS each GROUP BY automation, step ORDER BY automation, step",
        )

    def agents(self, agents: Collection[str]) -> list[AgentLoad]:
        """These agents, in this order; those that have done nothing too."""
        return self._fetch(
            AgentLoad,
            "SELECT agent, count(*) FILTER (WHERE did.status IN ('running', 'retrying') AND is_open) AS at_work,"
            " count(*) FILTER (WHERE did.status IN ('succeeded', 'undone')) AS succeeded,"
            " count(*) FILTER (WHERE did.status = 'failed') AS failed,"
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - started_at)::float8)"
            " FILTER (WHERE did.status = 'succeeded') AS seconds,"
            " coalesce(sum(did.cost_usd), 0)::float8 AS usd"
            " FROM unnest(%(agents)s::text[]) WITH ORDINALITY AS named (agent, place) LEFT JOIN"
            " (SELECT steps.*, period.status = 'open' AS is_open FROM period JOIN steps ON run = period.id) AS did"
            " ON actor = agent AND length IS NULL GROUP BY agent, place ORDER BY place",
            agents=list(agents),
        )

    def _fetch(self, kind: type[Row], statement: str, **parameters: object) -> list[Row]:
        # What is still open counts however long ago it was opened.
        period = (
            "WITH period AS (SELECT * FROM runs WHERE automation IS NOT NULL"
            " AND (opened_at > now() - %(period)s OR status = 'open')) "
        )
        given = {"period": self._period, "unasked": list(UNASKED), **parameters}
        with database_failures(), self._database.connection() as connection:
            return connection.cursor(row_factory=class_row(kind)).execute(SQL(period + statement), given).fetchall()
