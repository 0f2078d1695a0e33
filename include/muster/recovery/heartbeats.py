"""Signs of life of work under way: an execution that was overtaken leaves the work to the later one while that lives.

The row of the table `attempts` is written anew, with the time, as long as the execution that it names goes on. The
execution that waits compares no clocks: it sees that the row has changed. The reconciler, which comes every few
minutes, compares the time with the server's clock. Work that has ended before its first sign costs nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from muster.database import Database
from muster.events.driver import Query, Rows, Work, arun
from muster.recovery.lifeline import Teller, say

log = logging.getLogger(__name__)

BEAT = 60.0
"""Seconds between signs of life."""
LIMIT = 10.0
"""Seconds that one may take."""
NEXT_SIGN = BEAT + LIMIT
"""Seconds after which whatever goes on has given another sign, once the database is there."""
UNHEARD = 5 * BEAT
"""Seconds without a sign after which work that a process was at counts as left: four of them were missed."""

# A locked row is passed over, because waiting for it would hold up the signs of all others. Whoever has locked it is
# writing it, which is a sign of life as well.
# A first attempt that has written nothing has no row: it gets one that revokes what came before it, which is nothing.
_BEAT = """
WITH mine (work, run, execution) AS MATERIALIZED (
  SELECT * FROM unnest(%(works)s::text[], %(runs)s::text[], %(executions)s::bigint[])
), beating AS (
  SELECT known.work FROM attempts known JOIN mine ON known.work = mine.work AND known.execution = mine.execution
     FOR UPDATE OF known SKIP LOCKED
), begun AS (
  INSERT INTO attempts (work, run, execution, attempt) SELECT work, run, execution, 0 FROM mine
   WHERE NOT EXISTS (SELECT FROM attempts known WHERE known.work = mine.work) ON CONFLICT (work) DO NOTHING
)
UPDATE attempts SET beaten_at = clock_timestamp() FROM beating WHERE attempts.work = beating.work RETURNING 1
"""

_LIVING = """
SELECT work FROM attempts
 WHERE run = %(run)s AND beaten_at > clock_timestamp() - make_interval(secs => %(unheard)s::float8)
"""

# `xmin` is the transaction that wrote the row last.
_LOOK = """
SELECT known.work, known.execution, known.xmin::text FROM attempts known
  JOIN unnest(%(works)s::text[], %(after)s::bigint[]) AS mine (work, after)
    ON known.work = mine.work AND known.execution > mine.after
"""


@dataclass(eq=False)
class _Execution:
    dsn: str
    run: str
    work: str
    number: int
    """Version of the event in the run's log that it began with."""
    every: float
    """Seconds between its signs of life."""
    due: float
    """On the monotonic clock."""


@contextmanager
def beating(database: Database, run: str, work: str, execution: int, *, every: float | None = None) -> Iterator[None]:
    """The body is an execution of the work that gives signs of life, `every` so many seconds; None: as all others."""
    often = BEAT if every is None else every
    mine = _Execution(database.dsn, run, work, execution, often, time.monotonic() + often)
    _heart.add(mine)
    try:
        yield
    finally:
        _heart.remove(mine)


async def last_heartbeats(database: Database, after: Mapping[str, int]) -> dict[str, tuple[int, str]]:
    """By work: what changes with each sign of life of an execution of it later than `after`; nothing without any."""
    rows = await arun(database, _look(after))
    return {work: (execution, sign) for work, execution, sign in rows}


def living(database: Database, run: str) -> frozenset[str]:
    """The work of a run that processes are at, as their signs of life tell: what began a moment ago gives none yet."""
    with database.connection() as connection:
        rows = connection.execute(_LIVING, {"run": run, "unheard": UNHEARD}).fetchall()
    return frozenset(work for (work,) in rows)


def _look(after: Mapping[str, int]) -> Work[Rows]:
    return (yield [Query(_LOOK, {"works": list(after), "after": list(after.values())})])[0]


def _beat(dsn: str, executions: list[_Execution]) -> None:
    now = time.monotonic()
    for execution in executions:
        execution.due = now + execution.every
    values = {
        "works": [execution.work for execution in executions],
        "runs": [execution.run for execution in executions],
        "executions": [execution.number for execution in executions],
    }
    try:
        say(dsn, _BEAT, values, LIMIT)
    # Whatever the error is: it would end the thread, and no work of the process would give a sign again.
    except Exception as error:
        log.warning("%d work items could not give a sign of life: %s", len(executions), error)


_heart = Teller("muster-heartbeats", _beat)
