"""What earlier runs took: seconds and US dollars of agents, of the steps of an automation, and of whole runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from psycopg.sql import SQL

from muster.database import Database
from muster.events.failures import database_failures

MEMORY = timedelta(days=90)
"""What is older says little about today."""


@dataclass(frozen=True)
class Range:
    """What is to be expected of a number: of ten earlier values one was below `low` and one above `high`."""

    low: float
    likely: float
    """The median."""
    high: float

    def __add__(self, other: Range) -> Range:
        """Both together; too wide rather than too narrow, since not all is low, or high, at once."""
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Experience:
    """What was succeeded at before."""

    count: int
    """How many times."""
    seconds: Range
    usd: Range | None
    """None where some model calls have no known price."""


class Experiences:
    """What a database knows of earlier runs, up to `MEMORY` ago."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_agents(self, agents: Collection[str]) -> dict[str, Experience]:
        """What work took that agents did, by the agent; agents who have done nothing are left out."""
        return self._read(
            "SELECT actor, steps.started_at, steps.ended_at, steps.calls, steps.cost_usd FROM steps"
            " JOIN runs ON runs.id = run AND runs.opened_at > %(since)s"
            " WHERE actor = ANY(%(names)s) AND steps.status = 'succeeded' AND length IS NULL",
            names=list(agents),
        )

    def of_steps(self, automation: str) -> dict[str, Experience]:
        """What the steps of an automation took, each as a whole, by its id; a fan-out costs what its items cost."""
        return self._read(
            "SELECT step, min(steps.started_at), max(steps.ended_at), sum(steps.calls), sum(steps.cost_usd) FROM steps"
            " JOIN runs ON runs.id = run AND runs.opened_at > %(since)s AND runs.automation = %(automation)s"
            " WHERE runs.status <> 'open' GROUP BY run, step HAVING bool_and(steps.status IN ('succeeded', 'skipped'))"
            " AND bool_or(steps.status = 'succeeded')",
            automation=automation,
        )

    def of_runs(self, automation: str) -> Experience | None:
        """What whole runs of an automation took; None when none has succeeded."""
        return self._read(
            "SELECT automation, opened_at, closed_at, calls, cost_usd FROM runs"
            " WHERE automation = %(automation)s AND opened_at > %(since)s AND status = 'succeeded'",
            automation=automation,
        ).get(automation)

    def _read(self, rows: str, **parameters: object) -> dict[str, Experience]:
        # Calls that cost nothing are calls without a known price.
        statement = (
            f"WITH took (name, began, ended, calls, usd) AS ({rows})"
            " SELECT name, count(*),"
            " percentile_cont(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY extract(epoch FROM ended - began)::float8),"
            " percentile_cont(ARRAY[0.1, 0.5, 0.9]) WITHIN GROUP (ORDER BY usd::float8), bool_and(calls = 0 OR usd > 0)"
            " FROM took WHERE ended >= began GROUP BY name"
        )
        with database_failures(), self._database.connection() as connection:
            since = connection.execute("SELECT now() - %s", (MEMORY,)).fetchone()
            found = connection.execute(SQL(statement), {**parameters, "since": since and since[0]}).fetchall()
        return {
            name: Experience(count, Range(*seconds), Range(*usd) if is_priced else None)
            for name, count, seconds, usd, is_priced in found
        }
