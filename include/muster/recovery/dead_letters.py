"""Dead letters: what could not be processed, kept whole with its cause until a person decides.

They are derived, not copied: items and steps that failed for good in runs that have ended, runs that failed
without a word of any step, and notices that could not be delivered. What a person decided about one is an
event in the run's own stream; about a notice, it is in the outbox.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from psycopg.rows import class_row

from muster.database import Database
from muster.errors import PermanentError
from muster.events.failures import database_failures
from muster.events.log import EventLog
from muster.events.model import Event, EventType
from muster.events.payloads.runs import DeadLetterDiscarded
from muster.events.state import fold
from muster.events.tampering import TamperedLog

Kind = Literal["item", "step", "run", "notice"]
DECISIONS = (EventType.DEAD_LETTER_REDRIVEN, EventType.DEAD_LETTER_DISCARDED)

# Of a run that was undone nothing waits any more, and a stuck run waits for `muster resume`. A run that a person
# cancelled before anything failed waits for nobody, but one that the reconciler gave up waits for a person. A run that
# was begun again is no dead letter until it has ended again. A notice that is kept with its error was discarded.
FIND = """
SELECT * FROM (
    SELECT s.run || '#' || s.step || CASE WHEN s.index < 0 THEN '' ELSE '[' || s.index || ']' END AS id,
           CASE WHEN s.index < 0 THEN 'step' ELSE 'item' END AS kind, s.run, r.automation, s.step,
           nullif(s.index, -1) AS index, s.status, s.error_class, s.error AS cause, s.ended_at AS at,
           NULL AS decision
    FROM steps s JOIN runs r ON r.id = s.run
    WHERE s.status IN ('failed', 'set_aside') AND s.error IS NOT NULL AND r.status IN ('failed', 'succeeded')
    UNION ALL
    SELECT r.id, 'run', r.id, r.automation, NULL, NULL, 'failed', NULL, r.reason, r.closed_at, NULL
    FROM runs r
    WHERE r.status = 'failed' AND 'run.closed' = (
        SELECT e.type FROM events e WHERE e.stream = r.id AND e.type IN ('run.begun', 'run.closed')
        ORDER BY e.version DESC LIMIT 1)
      AND NOT EXISTS (
        SELECT FROM steps s WHERE s.run = r.id AND s.status IN ('failed', 'set_aside') AND s.error IS NOT NULL)
      AND NOT EXISTS (
        SELECT FROM events c WHERE c.stream = r.id AND c.type = 'run.cancel_requested' AND c.actor <> 'reconciler'
           AND NOT EXISTS (
              SELECT FROM events b WHERE b.stream = r.id AND b.version > c.version
                 AND b.type IN ('run.restarted', 'dead_letter.redriven') AND b.actor <> 'reconciler'))
    UNION ALL
    SELECT 'notice/' || o.id, 'notice', o.run, r.automation, NULL, NULL, 'failed', NULL, o.error,
           coalesce(o.settled_at, o.created_at), CASE o.status WHEN 'kept' THEN 'discarded' END
    FROM outbox o LEFT JOIN runs r ON r.id = o.run
    WHERE o.status = 'failed' OR (o.status = 'kept' AND o.error IS NOT NULL)
) AS letters
WHERE (%(id)s::text IS NULL OR id = %(id)s)
  AND (%(set_aside)s OR status = 'failed')
  AND (%(run)s::text IS NULL OR run = %(run)s)
  AND (%(automation)s::text IS NULL OR automation = %(automation)s)
  AND (%(step)s::text IS NULL OR step = %(step)s)
  AND (%(error_class)s::text IS NULL OR error_class = %(error_class)s)
  AND (%(older_than)s::interval IS NULL OR at < clock_timestamp() - %(older_than)s::interval)
ORDER BY at DESC, id LIMIT %(limit)s OFFSET %(offset)s
"""
PAGE = 500


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """Something that could not be processed."""

    id: str
    """`<run>#<step>[<index>]`, `<run>#<step>`, `<run>` or `notice/<number>`."""
    kind: Kind
    run: str | None
    automation: str | None
    step: str | None
    index: int | None
    status: Literal["failed", "set_aside"]
    error_class: str | None
    cause: str | None
    at: datetime
    """Since when it lies here."""
    decision: Literal["redriven", "discarded"] | None = None
    """None while it waits for a person; `redriven` until the work has ended anew."""

    @property
    def number(self) -> int:
        """The number of a notice in the outbox."""
        return int(self.id.removeprefix("notice/"))


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which dead letters; everything that is None lets all through."""

    run: str | None = None
    automation: str | None = None
    step: str | None = None
    error_class: str | None = None
    older_than: timedelta | None = None
    set_aside: bool = False
    """True to list items that were set aside as well: people were told of them, and they wait for nobody."""


def is_discarded(events: Iterable[Event]) -> bool:
    """True when a person has decided that a run as a whole, which failed without a word of any step, is left as it is.

    The events may be all of the run's or only those with which it ended and that decide about dead letters.
    """
    discarded = False
    for event in events:
        if event.type == EventType.RUN_CLOSED:
            discarded = False
        elif event.type == EventType.DEAD_LETTER_DISCARDED:
            discarded = discarded or DeadLetterDiscarded.of(event).whole
    return discarded


class DeadLetters:
    """Finds what waits for a person."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log = EventLog(database)

    def waiting(self, wanted: Filter, *, limit: int, discarded: bool = False) -> list[DeadLetter]:
        """The newest first: those nobody has decided about, or also those that were discarded."""
        letters: list[DeadLetter] = []
        offset = 0
        while len(letters) < limit:
            # In pages, because what a person decided stands in the log and not in the rows: it is known only after they
            # were read, so no limit in SQL would give as many as were asked for.
            page = self._find(wanted, limit=PAGE, offset=offset)
            letters += [letter for letter in self._decided(page) if discarded or letter.decision != "discarded"]
            offset += len(page)
            if len(page) < PAGE:
                break
        return letters[:limit]

    def get(self, id: str) -> DeadLetter:
        """One of them, set aside or not, whatever was decided.

        Raises:
            PermanentError: there is none of this id.
        """
        letters = self._decided(self._find(Filter(set_aside=True), id=id, limit=1))
        if not letters:
            raise PermanentError(f"There is no dead letter {id!r}.", remedy="`muster dead-letters list` shows them.")
        return letters[0]

    def _find(self, wanted: Filter, *, id: str | None = None, limit: int, offset: int = 0) -> list[DeadLetter]:
        values: dict[str, object] = {name: getattr(wanted, name) for name in Filter.__dataclass_fields__}
        values |= {"id": id, "limit": limit, "offset": offset}
        with (
            database_failures(),
            self._database.connection() as connection,
            connection.cursor(row_factory=class_row(DeadLetter)) as cursor,
        ):
            return cursor.execute(FIND, values).fetchall()

    def _decided(self, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
        """The same, with what the runs' streams say of them."""
        letters = list(letters)
        streams = {}
        for run in self._with_decisions(letters):
            # Nobody knows the decisions about a run whose log was tampered with. It is listed as if there were none,
            # because a person has to see it.
            with suppress(TamperedLog):
                streams[run] = list(self._log.read(run))
        states = {run: fold(events) for run, events in streams.items()}

        def decided(it: DeadLetter) -> DeadLetter:
            if it.kind == "notice" or it.run not in streams:
                return it
            if it.step is None:
                return replace(it, decision="discarded" if is_discarded(streams[it.run]) else None)
            return replace(it, decision=states[it.run].step(it.step).work(it.index).decision)

        return [decided(it) for it in letters]

    def _with_decisions(self, letters: Iterable[DeadLetter]) -> list[str]:
        runs = list(OrderedDict.fromkeys(letter.run for letter in letters if letter.run is not None))
        statement = "SELECT DISTINCT stream FROM events WHERE stream = ANY(%s) AND type = ANY(%s)"
        with database_failures(), self._database.connection() as connection:
            return [row[0] for row in connection.execute(statement, (runs, [*map(str, DECISIONS)])).fetchall()]
