"""Attempts at a work item: the token that tells the writes of one attempt from those of a later one.

Two numbers fence a work item: its *execution*, which is the version of the event in the run's log that it began
with, and the *attempt* within that. A row of the table `attempts` keeps the highest that has written anything, or has
revoked an earlier one. Every transaction of a skill locks that row, and those of its leases, before it commits. So a
revocation comes before the commit, which is refused then, or after it, and sees what was written. An attempt that
writes nothing has no row, and costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar

from muster.database import Database
from muster.errors import Final, RowLocked, TransientError
from muster.events.driver import HotQuery, Query, Rows, Work, arun
from muster.recovery.holding import leases_held
from muster.recovery.leases import Lease

LINGER = 60.0
"""Seconds that the next attempt waits for the thread of a blocking skill that was given up."""
LOOK = 0.05
"""Seconds between looks at that thread."""

LONGEST_WAIT = 10.0
"""Seconds that a statement waits for the rows: whoever locked them is committing, unless its process hangs."""

# Until the transaction ends, which is at once: what is set here comes before a commit.
_PATIENT = "set_config('lock_timeout', %(patience)s::text, true) <> ''"

# An equal number is let through: an attempt presents its own with each of its transactions.
_ADVANCE = """
INSERT INTO attempts AS known (work, run, execution, attempt)
SELECT %(work)s::text, %(run)s::text, %(execution)s::bigint, %(attempt)s::integer {source}
ON CONFLICT (work) DO UPDATE SET execution = EXCLUDED.execution, attempt = EXCLUDED.attempt
WHERE (known.execution, known.attempt) <= (EXCLUDED.execution, EXCLUDED.attempt)
RETURNING 1
"""

ADVANCE = _ADVANCE.format(source=f"WHERE {_PATIENT}")

_HELD = """
SELECT held.name FROM {source}, leases held
  JOIN json_to_recordset(%(leases)s::text::json) AS mine (name text, token bigint)
    ON mine.name = held.name AND mine.token = held.token
 WHERE held.expires_at > clock_timestamp() ORDER BY held.name COLLATE "C" FOR SHARE OF held
"""

# What only reads is let through: to lock a row it would have to wait for the disk. The rows are locked after it was
# looked whether anything was written, because locking them is writing.
FENCE = f"""
WITH wrote AS MATERIALIZED (SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS anything WHERE {_PATIENT}),
written AS MATERIALIZED (SELECT FROM wrote WHERE anything),
mine AS ({_ADVANCE.format(source="FROM written")}), held AS ({_HELD.format(source="written")})
SELECT anything::int, (SELECT count(*) FROM mine), (SELECT count(*) FROM held) FROM wrote
"""

# One statement that writes, and is a transaction of its own: it writes FROM fence, which has a row where it may.
FENCED = f"""
WITH patient AS MATERIALIZED (SELECT WHERE {_PATIENT}),
mine AS ({_ADVANCE.format(source="FROM patient")}), held AS ({_HELD.format(source="patient")}),
presented AS MATERIALIZED (SELECT (SELECT count(*) FROM mine) AS mine, (SELECT count(*) FROM held) AS held),
fence AS (SELECT FROM presented WHERE mine = 1 AND held = json_array_length(%(leases)s::text::json)),
done AS ({{statement}})
SELECT 1, mine, held, (TABLE done) FROM presented
"""


class AttemptRevoked(TransientError):
    """The attempt was given up, or another has begun: nothing that it still does is written."""


class Superseded(Final):
    """Another process has begun the same work since: only that process says how the work ended."""


class StillRunning(Final):
    """A skill that was given up still runs: nothing begins beside it, and what it does is in doubt."""


class Attempt:
    """One attempt at a work item; what its skill writes presents it as a token."""

    def __init__(self, *, run: str, work: str, execution: int, number: int, leases: tuple[Lease, ...] = ()) -> None:
        self.run, self.work = run, work
        self.execution, self.number = execution, number
        self.leases = leases
        """What the work is done under."""
        self.was_refused = False
        """True when a commit was refused because another attempt has taken its place."""
        self._lock = threading.Lock()
        self._ended = self._used = False

    def fence(self) -> Query:
        """The statement before a commit; `judge` reads its answer.

        Raises:
            AttemptRevoked: it has ended.
        """
        return Query(FENCE, self._presented())

    def around(self, sql: str, values: Mapping[str, object]) -> Query:
        """One statement as a transaction of its own that presents the attempt: one round trip in place of three.

        It writes what it selects `FROM fence`, and returns at most one row, of one whole number: the answer's last.

        Raises:
            AttemptRevoked: it has ended.
        """
        return Query(FENCED.format(statement=sql), {**values, **self._presented()})

    def _presented(self) -> dict[str, object]:
        # Noted before the statement is sent: whoever ends the attempt either comes first, and nothing is sent, or
        # learns here that something may have been, and revokes it in the database.
        with self._lock:
            if self._ended:
                raise self._revoked()
            self._used = True
        tokens = [{"name": name, "token": token} for lease in self.leases for name, token in lease.tokens.items()]
        return {**self._place(self.number), "leases": json.dumps(tokens)}

    def judge(self, rows: Rows) -> bool:
        """Whether anything was written; it may be committed.

        Raises:
            AttemptRevoked: another attempt has begun.
            LeaseLost: a lease that the work is done under is somebody else's, or ran out.
        """
        anything, mine, held, *_ = rows[0]
        if not anything:
            return False
        if not mine:
            # Remembered, because a skill may swallow the error: its work must not count as done all the same.
            self.was_refused = True
            raise self._revoked()
        if held != sum(len(lease.tokens) for lease in self.leases):
            raise next(iter(self.leases)).lost()
        return True

    def end(self) -> bool:
        """Let it begin nothing from now on; true when it may have written, so that the database must know."""
        with self._lock:
            self._ended = True
            return self._used

    def ensure_goes_on(self) -> None:
        """Do nothing while the attempt goes on.

        Raises:
            AttemptRevoked: it has ended.
        """
        with self._lock:
            if self._ended:
                raise self._revoked()

    def advance(self, attempt: int) -> Work[bool]:
        """Write that only this attempt, or a later one, may write; false when a later execution has begun already.

        Raises:
            RowLocked: the commit of an earlier attempt does not come to its end.
        """
        return bool((yield [HotQuery(ADVANCE, self._place(attempt))])[0])

    def _place(self, attempt: int) -> dict[str, object]:
        place = {"work": self.work, "run": self.run, "execution": self.execution, "attempt": attempt}
        return {**place, "patience": f"{LONGEST_WAIT * 1000:.0f}ms"}

    def _revoked(self) -> AttemptRevoked:
        return AttemptRevoked(f"The attempt at {self.work} has ended: what it does now is refused.")


_current: ContextVar[Attempt | None] = ContextVar("muster_attempt", default=None)
_given_up: dict[str, dict[threading.Thread, float]] = defaultdict(dict)
"""By work: the threads of this process that were given up, and until when the next attempt waits for each."""


def current_attempt() -> Attempt | None:
    """The attempt that this code belongs to."""
    return _current.get()


@asynccontextmanager
async def attempting(
    database: Database, *, run: str, work: str, execution: int, number: int, seizes: bool
) -> AsyncIterator[Attempt]:
    """The body is one attempt: it begins once nothing of an earlier one runs in this process.

    An attempt whose body raises ends revoked. With `seizes`, every later commit of an earlier execution of the work is
    refused from the beginning on.

    Raises:
        StillRunning: a skill that was given up, or what it is committing, does not come to its end.
        Superseded: a later execution has begun.
    """
    await quiet(work)
    attempt = Attempt(run=run, work=work, execution=execution, number=number, leases=leases_held())
    if seizes and not await _advance(database, attempt, number):
        raise _superseded(attempt)
    mark = _current.set(attempt)
    try:
        yield attempt
    except BaseException as error:
        # The database has to know before the next attempt begins: else a thread of this one, stalled before its commit,
        # could commit beside the next, or after that has done the same work.
        if attempt.end():
            try:
                await _advance(database, attempt, number + 1)
            except StillRunning:
                # A cancellation stays one: whoever cancelled must not be given `StillRunning` in its place.
                if isinstance(error, Exception):
                    raise
        if attempt.was_refused:
            raise _superseded(attempt) from error
        if isinstance(error, Exception):
            # Here, while the locks of the work are still held: let go of first, their next holder would work beside the
            # thread that still runs.
            await _at_rest(work)
        raise
    finally:
        # Also after a success: a thread that the skill has left behind presents an attempt that is over, and is
        # refused.
        attempt.end()
        _current.reset(mark)
    if attempt.was_refused:
        raise _superseded(attempt)


async def revoke(database: Database, *, run: str, work: str, execution: int) -> None:
    """Refuse whatever executions of the work before this one still write; a later one does as it likes.

    Raises:
        StillRunning: what it is committing does not come to its end.
    """
    await _advance(database, Attempt(run=run, work=work, execution=execution, number=0), 0)


def give_up(thread: threading.Thread) -> None:
    """Wait for this thread no more: the next attempt at the work begins when the thread has ended."""
    if (attempt := _current.get()) is not None and thread.is_alive():
        _given_up[attempt.work][thread] = time.monotonic() + LINGER


async def _advance(database: Database, attempt: Attempt, number: int) -> bool:
    """`Attempt.advance`, tried for `LINGER` seconds: a commit under way can neither be refused nor passed by."""
    end = time.monotonic() + LINGER
    while True:
        try:
            return await arun(database, attempt.advance(number))
        except RowLocked as error:
            if time.monotonic() >= end:
                raise StillRunning(
                    f"What was written of {attempt.work} is being committed, and that does not end: it is in doubt.",
                    remedy="End the process or the database session that holds it. Then go on with the run.",
                ) from error


async def quiet(work: str) -> None:
    """Wait until nothing of the work that was given up runs in this process any more.

    Raises:
        StillRunning: it does not come to its end.
    """
    if not await _at_rest(work):
        raise StillRunning(
            f"A skill of {work} that was given up still runs, {LINGER:g} s later: what it does is in doubt.",
            remedy="Give the skill a timeout of its own for what it waits for. When it has ended, go on with the run.",
        )


async def _at_rest(work: str) -> bool:
    """True once no thread of the work that was given up is left; false when one is left after its time."""
    while work in _given_up:
        threads = _given_up[work]
        for thread in [thread for thread in threads if not thread.is_alive()]:
            del threads[thread]
        if not threads:
            del _given_up[work]
        elif time.monotonic() >= max(threads.values()):
            return False
        else:
            await asyncio.sleep(LOOK)
    return True


def _superseded(attempt: Attempt) -> Superseded:
    return Superseded(f"Another process has begun {attempt.work} since.")
