"""What screens and the command line ask of the projections and the log."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from psycopg.rows import class_row
from psycopg.sql import SQL

from muster.database import Database
from muster.errors import MusterError
from muster.events.failures import database_failures
from muster.events.log import EventLog
from muster.events.model import Event, EventType
from muster.events.payloads.people import ApprovalAnswered
from muster.events.rows import to_event
from muster.events.statements import COLUMNS

Row = TypeVar("Row")
LOOKED_THROUGH = 1_000
"""How many runs, the latest ones, are looked through for the one that was meant by a mistyped id."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One row of `runs`."""

    id: str
    automation: str | None
    definition: str | None
    bundle_version: str | None
    status: str | None
    """`open`, `succeeded`, `failed`, `compensated` or `stuck`."""
    reason: str | None
    trigger: str | None
    requested_by: str | None
    dag_id: str | None
    dag_run_id: str | None
    opened_at: datetime | None
    closed_at: datetime | None
    succeeded: int | None
    failed: int | None
    skipped: int | None
    set_aside: int | None
    calls: int
    """Model calls."""
    cost_usd: Decimal


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One row of `steps`."""

    run: str
    step: str
    index: int
    """Position of the item, -1 for the step itself."""
    kind: str | None
    lane: str | None
    status: str | None
    attempt: int | None
    length: int | None
    started_at: datetime | None
    ended_at: datetime | None
    actor: str | None
    produced_by: str | None
    fallback: bool | None
    reason: str | None
    error_class: str | None
    error: str | None
    calls: int
    cost_usd: Decimal
    epoch: int
    """The execution of the run that its state is of, counted from 0."""


@dataclass(frozen=True, kw_only=True)
class VersionRow:
    """One definition of an automation."""

    hash: str
    automation: str
    first_seen: datetime


class Queries:
    """Answers about runs and their steps."""

    def __init__(self, database: Database, log: EventLog | None = None) -> None:
        self._database = database
        self._log = EventLog(database) if log is None else log

    def runs(self, *, limit: int = 50, automation: str | None = None, status: str | None = None) -> list[RunRow]:
        """The newest runs first."""
        return self._fetch(
            RunRow,
            "SELECT * FROM runs WHERE (%(automation)s::text IS NULL OR automation = %(automation)s)"
            " AND (%(status)s::text IS NULL OR status = %(status)s)"
            " ORDER BY opened_at DESC NULLS LAST, id LIMIT %(limit)s",
            {"automation": automation, "status": status, "limit": limit},
        )

    def is_from_before_server_epochs(self, id: str) -> bool:
        """True for a run that was opened before the migration that told servers' epochs apart."""
        statement = (
            "SELECT opened_at < (SELECT min(began_at) FROM server_epochs WHERE epoch = 1) FROM runs WHERE id = %(id)s"
        )
        with database_failures(), self._database.connection() as connection:
            row = connection.execute(SQL(statement), {"id": id}).fetchone()
        return row is not None and row[0] is True

    def settled_runs(self, after: datetime, before: datetime, *, beyond: datetime, limit: int = 50) -> list[RunRow]:
        """Runs closed after one moment and up to another, or later than `beyond`, by a wrong clock; newest first."""
        return self._fetch(
            RunRow,
            "SELECT * FROM runs WHERE status <> 'open' AND closed_at > %(after)s"
            " AND (closed_at <= %(before)s OR closed_at > %(beyond)s) ORDER BY closed_at DESC, id LIMIT %(limit)s",
            {"after": after, "before": before, "beyond": beyond, "limit": limit},
        )

    def reconciled(self, types: Sequence[str], after: datetime, *, limit: int = 50) -> list[RunRow]:
        """Runs closed after a moment to which the reconciler has written an event of these types; the newest first."""
        return self._fetch(
            RunRow,
            "SELECT * FROM runs WHERE closed_at > %(after)s AND EXISTS (SELECT FROM events WHERE stream = runs.id"
            " AND actor = 'reconciler' AND type = ANY(%(types)s)) ORDER BY closed_at DESC, id LIMIT %(limit)s",
            {"types": list(types), "after": after, "limit": limit},
        )

    def runs_gone_on(self, after: datetime, before: datetime, *, beyond: datetime, limit: int = 50) -> list[RunRow]:
        """Runs that were closed after one moment, to whose streams something was added since, up to another or `beyond`
        what a right clock says by now.
        """
        return self._fetch(
            RunRow,
            "SELECT runs.* FROM runs, LATERAL (SELECT at FROM events WHERE stream = runs.id"
            " ORDER BY version DESC LIMIT 1) AS latest"
            " WHERE runs.status <> 'open' AND runs.closed_at > %(after)s"
            " AND latest.at > runs.closed_at AND (latest.at <= %(before)s OR latest.at > %(beyond)s)"
            " ORDER BY runs.closed_at DESC, runs.id LIMIT %(limit)s",
            {"after": after, "before": before, "beyond": beyond, "limit": limit},
        )

    def run(self, id: str) -> RunRow:
        """The run with this id, or the one run whose id, or Airflow run id, contains it.

        Raises:
            MusterError: no run or several match; the message names some.
        """
        # `position`, not LIKE: ids hold underscores and percent signs of their own.
        matches = self._fetch(
            RunRow,
            "SELECT * FROM runs WHERE id = %(id)s OR position(%(id)s in id) > 0"
            " ORDER BY (id = %(id)s) DESC, opened_at DESC NULLS LAST LIMIT 6",
            {"id": id},
        )
        if not id or not matches:
            raise MusterError(f"There is no run {id!r}.", remedy=f"{self._meant(id)}`muster runs` lists them.")
        if len(matches) > 1 and matches[0].id != id:
            some = ", ".join(row.id for row in matches[:5])
            raise MusterError(
                f"{id!r} may mean several runs: {some}{', …' if len(matches) > 5 else ''}.",
                remedy="Give more of the id.",
            )
        return matches[0]

    def _meant(self, id: str) -> str:
        """A question for the run whose id is nearest, of those that were opened last; empty when none is near."""
        latest = "SELECT * FROM runs ORDER BY opened_at DESC NULLS LAST LIMIT %(limit)s"
        runs = [row.id for row in self._fetch(RunRow, latest, {"limit": LOOKED_THROUGH})]
        near = difflib.get_close_matches(id, runs, n=1, cutoff=0.7)
        return f"Did you mean `{near[0]}`? " if near else ""

    def steps(self, run: str) -> list[StepRow]:
        """The run's steps in the order they began or were skipped, each followed by its items."""
        return self._fetch(
            StepRow,
            "SELECT * FROM steps WHERE run = %(run)s"
            " ORDER BY min(coalesce(started_at, ended_at)) OVER (PARTITION BY step) NULLS LAST,"
            " min(ended_at) OVER (PARTITION BY step), step, index",
            {"run": run},
        )

    def unpriced(self, runs: Collection[str], *, until: int | None = None) -> Counter[tuple[str, str, int]]:
        """How many model calls of these runs, up to a version, have no known price: by run, step and item.

        What belongs to no item has the index -1.
        """
        # As text: PostgreSQL cannot look into JSON that holds a null character.
        statement = (
            """SELECT stream, step, coalesce(substring(data::text from '"index":([0-9]{1,9})')::int, -1), count(*)"""
            " FROM events WHERE stream = ANY(%(runs)s) AND type = 'model.called'"
            " AND (%(until)s::int IS NULL OR version <= %(until)s)"
            """ AND data::text ~ '^[{]("[^"]*":("[^"]*"|[0-9]+),)*"cost":null[,}]' GROUP BY 1, 2, 3"""
        )
        with database_failures(), self._database.connection() as connection:
            rows = connection.execute(SQL(statement), {"runs": list(runs), "until": until}).fetchall()
        return Counter({(run, step, index): count for run, step, index, count in rows})

    async def aended_items(self, run: str, step: str, indices: Sequence[int]) -> dict[str, int]:
        """How many of these items of a fan-out ended in each way; none of them where some have not ended."""
        ended = "FROM steps WHERE run = %s AND step = %s AND status IN ('succeeded', 'failed', 'skipped', 'set_aside')"
        with database_failures():
            async with self._database.aconnection() as connection:
                # Every item asks as it ends. A count answers all but the last ones cheaply: the list of positions,
                # which may be long, is sent by those only.
                many = await (await connection.execute(f"SELECT count(*) {ended}", (run, step))).fetchone()
                if many is None or many[0] < len(indices):
                    return {}
                rows = await connection.execute(
                    f"SELECT status, count(*) {ended} AND index = ANY(%s) GROUP BY status", (run, step, list(indices))
                )
                counts = dict.fromkeys(("succeeded", "failed", "skipped", "set_aside"), 0) | dict(await rows.fetchall())
        return counts if sum(counts.values()) >= len(indices) else {}

    async def aend_of(self, run: str) -> str | None:
        """The status the run was closed with, None before that; `unknown` for a run that was never opened."""
        with database_failures():
            async with self._database.aconnection() as connection:
                rows = await connection.execute("SELECT status, closed_at FROM runs WHERE id = %s", (run,))
                row = await rows.fetchone()
        if row is None:
            return "unknown"
        return str(row[0]) if row[1] is not None else None

    async def abegun(self, automation: str) -> tuple[int, datetime | None]:
        """How many runs of an automation are open, and when the last one of all began."""
        statement = "SELECT count(*) FILTER (WHERE status = 'open'), max(opened_at) FROM runs WHERE automation = %s"
        with database_failures():
            async with self._database.aconnection() as connection:
                row = await (await connection.execute(statement, (automation,))).fetchone()
        return (int(row[0]), row[1]) if row else (0, None)

    async def acount_keys(self, run: str, keys: Sequence[str]) -> int:
        """How many of these keys are in the run's stream."""
        statement = "SELECT count(*) FROM events WHERE stream = %s AND key = ANY(%s)"
        with database_failures():
            async with self._database.aconnection() as connection:
                row = await (await connection.execute(statement, (run, list(keys)))).fetchone()
        return int(row[0]) if row else 0

    def timeline(self, run: str) -> list[Event]:
        """Everything that happened to the run, in order."""
        return list(self._log.read(run))

    def run_of(self, id: str) -> RunRow | None:
        """The run with exactly this id: for callers who may see this run and no other."""
        rows = self._fetch(RunRow, "SELECT * FROM runs WHERE id = %(id)s", {"id": id})
        return rows[0] if rows else None

    def latest_runs(self, automations: Collection[str]) -> dict[str, RunRow]:
        """The newest run of each of these automations that has run, by its name."""
        newest = self._fetch(
            RunRow,
            "SELECT newest.* FROM unnest(%(names)s::text[]) AS name, LATERAL (SELECT * FROM runs"
            " WHERE automation = name ORDER BY opened_at DESC NULLS LAST, id LIMIT 1) AS newest",
            {"names": list(automations)},
        )
        return {row.automation: row for row in newest if row.automation is not None}

    def versions(self, automations: Collection[str]) -> list[VersionRow]:
        """Every definition that runs of these automations were opened with, the oldest first."""
        return self._fetch(
            VersionRow,
            "SELECT hash, automation, first_seen FROM definitions WHERE automation = ANY(%(names)s::text[])"
            " ORDER BY automation, first_seen, hash",
            {"names": list(automations)},
        )

    def events(
        self,
        run: str,
        *,
        step: str | None = None,
        indices: Collection[int] | None = None,
        types: Collection[str] | None = None,
        after_version: int = 0,
        limit: int = 100,
    ) -> list[Event]:
        """One page of what happened to the run, in order, of one step or some of its items when asked.

        Large values are left as references; `EventLog.resolve` fetches them.
        """
        events: list[Event] = []
        while True:
            # The search by text may give other events as well: they are left out, and the next page fills the gap.
            page = self._events(run, step, indices, types, after_version, limit)
            events += [event for event in page if indices is None or event.data.get("index") in indices]
            if len(events) >= limit or len(page) < limit:
                return events[:limit]
            after_version = page[-1].version

    def _events(
        self,
        run: str,
        step: str | None,
        indices: Collection[int] | None,
        types: Collection[str] | None,
        after_version: int,
        limit: int,
    ) -> list[Event]:
        """Events among which are all those asked for; about the items there may be others, nested ones say."""
        # PostgreSQL cannot look into JSON that holds a null character, so the items are found by their canonical text.
        needles = None if indices is None else [f'%"index":{index}{end}%' for index in indices for end in ",}"]
        statement = (
            f"SELECT {COLUMNS} FROM events WHERE stream = %(run)s AND version > %(after)s"
            " AND (%(step)s::text IS NULL OR step = %(step)s)"
            " AND (%(needles)s::text[] IS NULL OR data::text LIKE ANY(%(needles)s))"
            " AND (%(types)s::text[] IS NULL OR type = ANY(%(types)s))"
            " ORDER BY version LIMIT %(limit)s"
        )
        parameters = {
            "run": run,
            "step": step,
            "needles": needles,
            "types": None if types is None else [str(type) for type in types],
            "after": after_version,
            "limit": limit,
        }
        with database_failures(), self._database.connection() as connection:
            return [to_event(row) for row in connection.execute(SQL(statement), parameters)]

    def _fetch(self, kind: type[Row], statement: str, parameters: Mapping[str, object]) -> list[Row]:
        with database_failures(), self._database.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(kind))
            return cursor.execute(SQL(statement), parameters).fetchall()


def answered(steps: Sequence[StepRow], events: Iterable[Event]) -> list[StepRow]:
    """The steps, with `approved` or `rejected` in place of `succeeded` where people answered."""
    answers = {
        (event.step, -1 if event.index is None else event.index): ApprovalAnswered.of(event)
        for event in events
        if event.type == EventType.APPROVAL_ANSWERED
    }
    return [
        replace(row, status="approved" if answers[row.step, row.index].approved else "rejected")
        if row.status == "succeeded" and (row.step, row.index) in answers
        else row
        for row in steps
    ]
