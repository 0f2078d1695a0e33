"""The table of every notice: written before sending, settled after, read by people when no channel is set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from psycopg.rows import class_row
from pydantic import BaseModel, ConfigDict

from muster.database import Database
from muster.errors import TransientError
from muster.events.failures import database_failures
from muster.events.sealing import ForgottenMeanwhile
from muster.notifications.model import Delivery, Notice
from muster.redaction import redact

Status = Literal["pending", "sent", "failed", "kept"]
NOBODY = "nobody"
"""`delivered_by` of a notice that was not sent, because the person it is about was forgotten before."""

COLUMNS = """id, key, run, channel, target, subject, text, status, delivered_by, reference, note, error,
    attempts, created_at, settled_at"""

# The row locks order this against `muster forget`. If the notice comes first, forgetting waits for the lock and finds
# the row; if forgetting comes first, there is no key and nothing is written. Without the lock, words about a person
# could be written right after their notices were removed.
_ASKED = """
WITH known AS MATERIALIZED (
    SELECT FROM subjects WHERE id = ANY(%(known)s) AND wrapped_key IS NOT NULL FOR SHARE
), asked AS MATERIALIZED (SELECT count(*) = cardinality(%(known)s::text[]) AS are_known FROM known
)"""
_NOTICE = "key, run, channel, target, subject, text"

# The claim has run out already, as if a sender had died: the row is free for whoever sends it first.
PLAN = f"""
{_ASKED}, planned AS (
INSERT INTO outbox ({_NOTICE}, status, attempts, claimed_until)
SELECT {_NOTICE}, 'pending', 0, clock_timestamp() FROM asked, json_to_recordset(%(notices)s::json)
    AS notice (key text, run text, channel text, target text, subject text, text text) WHERE are_known
ON CONFLICT (key) DO NOTHING
) SELECT are_known FROM asked
"""

# One statement decides who sends: of two senders at once, the second waits for the row, finds a claim that has not run
# out, and gets no attempt number. The text is replaced, because it may say how much time has passed.
CLAIM = f"""
{_ASKED}, claimed AS (
INSERT INTO outbox ({_NOTICE}, status, attempts, claimed_until)
SELECT %(key)s, %(run)s, %(channel)s, %(target)s, %(subject)s, %(text)s, 'pending', 1,
       clock_timestamp() + %(lease)s FROM asked WHERE are_known
ON CONFLICT (key) DO UPDATE SET
    channel = EXCLUDED.channel, target = EXCLUDED.target, subject = EXCLUDED.subject, text = EXCLUDED.text,
    status = 'pending', error = NULL, attempts = outbox.attempts + 1, claimed_until = EXCLUDED.claimed_until,
    delivered_by = NULL, reference = NULL
WHERE (outbox.status IN ('pending', 'failed') OR (outbox.delivered_by = 'nobody' AND %(anew)s))
  AND (outbox.claimed_until IS NULL OR outbox.claimed_until < clock_timestamp())
RETURNING attempts
) SELECT (SELECT attempts FROM claimed), are_known FROM asked
"""

ALIKE = """
SELECT key FROM outbox WHERE run = %(run)s AND channel = %(channel)s AND target = %(target)s
    AND subject = %(subject)s AND text = %(text)s ORDER BY id
"""

# No condition on the attempt: a slow sender that was overtaken by another claim has delivered the notice all the same.
SETTLE = """
UPDATE outbox SET status = %(status)s, delivered_by = %(delivered_by)s,
    reference = coalesce(%(reference)s, 'outbox/' || id),
    note = %(note)s, error = NULL, claimed_until = NULL, settled_at = clock_timestamp()
WHERE key = %(key)s RETURNING reference, settled_at
"""

# Only the attempt that holds the claim may call the notice failed. Otherwise a slow, older attempt that fails would
# overwrite the success of a newer one, and the notice would be sent again.
FAIL = """
UPDATE outbox SET status = 'failed', error = %(error)s, claimed_until = NULL, settled_at = clock_timestamp()
WHERE key = %(key)s AND attempts = %(attempt)s AND status = 'pending'
"""

# The claim runs out at once: the notice is free for the next attempt, as if its sender had died.
WAIT = """
UPDATE outbox SET error = %(error)s, claimed_until = clock_timestamp()
WHERE key = %(key)s AND attempts = %(attempt)s AND status = 'pending'
"""

# `created_at` starts anew, because the reconciler gives up on notices by their age. A forgotten notice has no text.
SEND_AGAIN = """
UPDATE outbox SET status = 'pending', error = NULL, note = %(note)s, settled_at = NULL,
    created_at = clock_timestamp(), claimed_until = clock_timestamp()
WHERE id = %(id)s AND status = 'failed' AND text <> '[forgotten]' RETURNING id
"""

# The error stays: it tells a discarded notice from one that was kept because no channel is set.
DISCARD = """
UPDATE outbox SET status = 'kept', delivered_by = 'outbox', reference = coalesce(reference, 'outbox/' || id),
    note = %(note)s, claimed_until = NULL, settled_at = clock_timestamp()
WHERE id = %(id)s AND status = 'failed' RETURNING id
"""

# A sender died while it sent, and a person has discarded the notice since. No attempt will ask what became of the
# effect, which would stay in doubt for good.
SETTLE_KEPT = """
UPDATE effects SET status = 'failed', claimed_until = NULL, settled_at = clock_timestamp() FROM outbox
WHERE effects.key = 'notice/' || outbox.key AND outbox.status = 'kept'
    AND (effects.status = 'unknown' OR (effects.status = 'begun' AND effects.claimed_until <= clock_timestamp()))
"""


class OutboxEntry(BaseModel):
    """One notice and its state."""

    model_config = ConfigDict(frozen=True)

    id: int
    key: str
    run: str | None
    channel: str
    target: str
    subject: str
    text: str
    status: Status
    """`pending`: being sent, its sender died, or its channel is left alone for now; `failed`: see `error`; `kept`: no
    channel is set, or, with an error, a person wants it sent no more."""
    delivered_by: str | None
    reference: str | None
    note: str
    error: str | None
    """Why the last attempt failed; it stays where a person has discarded the notice."""
    attempts: int
    """How many have been begun."""
    created_at: datetime
    settled_at: datetime | None
    """When the last of them came to an end; None while none has, or it is to be sent again."""

    @property
    def may_pass(self) -> bool:
        """True when sending it again can help: its sender died, or what went wrong was of a kind that passes."""
        return self.status == "pending" or (self.error or "").partition(":")[0] in _passing(TransientError)

    @property
    def may_be_replaced(self) -> bool:
        """True when its channel has refused it for good: its key is free for a corrected one."""
        return self.status == "failed" and not self.may_pass

    @property
    def delivery(self) -> Delivery | None:
        """What became of it, once it was sent or kept."""
        if self.status not in ("sent", "kept") or self.delivered_by is None or self.reference is None:
            return None
        return Delivery(
            delivered_by=self.delivered_by,
            target=self.target,
            reference=self.reference,
            note=self.note,
            at=self.settled_at,
            repeated=True,
        )


class Outbox:
    """Records, claims and lists notices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(self, *, run: str | None = None, status: Status | None = None, limit: int = 100) -> list[OutboxEntry]:
        """Entries, newest first, of one run or of all, in one status or in any; at most `limit`."""
        return self._fetch(
            "WHERE (%(run)s::text IS NULL OR run = %(run)s) AND (%(status)s::text IS NULL OR status = %(status)s)"
            " ORDER BY id DESC LIMIT %(limit)s",
            {"run": run, "status": status, "limit": limit},
        )

    def entry(self, id: int) -> OutboxEntry | None:
        """The entry with this id; None when there is none."""
        return next(iter(self._fetch("WHERE id = %(id)s", {"id": id})), None)

    def send_again(self, id: int, note: str) -> bool:
        """Mark a failed notice to be sent again under its own key; the next pass of the reconciler sends it.

        Return False when it has not failed, or no longer, or its text was forgotten. `note` says who wants it.
        """
        return self._decided(SEND_AGAIN, id, note)

    def discard(self, id: int, note: str) -> bool:
        """Keep a failed notice and send it no more; return False when it has not failed, or no longer.

        `note` says who decided that, and why.
        """
        return self._decided(DISCARD, id, note)

    def _decided(self, statement: str, id: int, note: str) -> bool:
        with database_failures(), self._database.connection() as connection:
            return connection.execute(statement, {"id": id, "note": note}).fetchone() is not None

    def settle_kept(self) -> None:
        """Settle effects in doubt of notices that were discarded after their sender had died."""
        with database_failures(), self._database.connection() as connection:
            connection.execute(SETTLE_KEPT)

    def undelivered(self, before: datetime, *, limit: int = 100) -> list[OutboxEntry]:
        """Entries that failed, or whose sender died before `before`; oldest first, at most `limit`."""
        return self._fetch(
            "WHERE status = 'failed' OR (status = 'pending' AND claimed_until < clock_timestamp()"
            " AND created_at <= %(before)s) ORDER BY id LIMIT %(limit)s",
            {"before": before, "limit": limit},
        )

    def told(self, run: str, key: str) -> bool:
        """True when everybody was told of a run under a key, or is to be.

        The places have the keys `<key>/<number>`, and all of them are in the outbox as soon as one is (`plan`). A
        notice that was withdrawn, because the person it is about was forgotten, tells nobody.
        """
        query = """
            SELECT bool_and(delivered_by IS DISTINCT FROM %s) FROM outbox WHERE run = %s AND starts_with(key, %s || '/')
        """
        with database_failures(), self._database.connection() as connection:
            (told,) = connection.execute(query, (NOBODY, run, key)).fetchone() or (None,)
        return bool(told)

    def _fetch(self, which: str, values: Mapping[str, object]) -> list[OutboxEntry]:
        with (
            database_failures(),
            self._database.connection() as connection,
            connection.cursor(row_factory=class_row(OutboxEntry)) as cursor,
        ):
            return cursor.execute(f"SELECT {COLUMNS} FROM outbox {which}", values).fetchall()

    async def find(self, key: str) -> OutboxEntry | None:
        """The entry with this key; None when there is none."""
        with database_failures():
            async with self._database.aconnection() as connection:
                cursor = connection.cursor(row_factory=class_row(OutboxEntry))
                await cursor.execute(f"SELECT {COLUMNS} FROM outbox WHERE key = %s", (key,))
                return await cursor.fetchone()

    async def alike(self, notice: Notice) -> list[str]:
        """The keys of notices of the same run with the same words for the same place, oldest first."""
        with database_failures():
            async with self._database.aconnection() as connection:
                return [key for (key,) in await (await connection.execute(ALIKE, notice.model_dump())).fetchall()]

    def plan(self, notices: Sequence[Notice]) -> None:
        """Record all notices before the first is sent: a process that dies in between leaves the others to be found."""
        with database_failures(), self._database.connection() as connection:
            connection.execute(PLAN, _planned(notices, ()))

    async def aplan(self, notices: Sequence[Notice], known: Sequence[str] = ()) -> None:
        """`plan` for coroutines. `known` are the subjects that the notices may be about.

        Raises:
            ForgottenMeanwhile: one of the subjects is forgotten, and nothing was recorded.
        """
        with database_failures():
            async with self._database.aconnection() as connection:
                row = await (await connection.execute(PLAN, _planned(notices, known))).fetchone()
        if row is not None and not row[0]:
            raise ForgottenMeanwhile("Whom these notices are about was forgotten meanwhile.")

    async def claim(self, notice: Notice, lease: timedelta, known: Sequence[str] = ()) -> int | None:
        """Record the notice and claim it for sending. `known` are the subjects that it may be about.

        Returns:
            The number of this attempt; None when the notice was settled before or another claim has not run out.

        Raises:
            ForgottenMeanwhile: one of the subjects is forgotten, and nothing was recorded.
        """
        values = notice.model_dump() | {"lease": lease, "known": list(known)}
        with database_failures():
            async with self._database.aconnection() as connection:
                row = await (await connection.execute(CLAIM, values)).fetchone()
        attempt, are_known = row or (None, True)
        if not are_known:
            raise ForgottenMeanwhile(f"Whom {notice.run or 'a notice'} is about was forgotten meanwhile.")
        return None if attempt is None else int(attempt)

    async def settle(self, notice: Notice, delivery: Delivery) -> Delivery:
        """Record that the notice was delivered, or kept here."""
        status = "kept" if delivery.delivered_by == "outbox" else "sent"
        values = {
            "key": notice.key,
            "status": status,
            "delivered_by": delivery.delivered_by,
            "reference": delivery.reference or None,
            "note": delivery.note,
        }
        with database_failures():
            async with self._database.aconnection() as connection:
                row = await (await connection.execute(SETTLE, values)).fetchone()
        assert row is not None, "a notice is settled only after it was claimed"
        return delivery.model_copy(update={"reference": row[0], "at": row[1]})

    async def fail(self, notice: Notice, attempt: int, error: str) -> None:
        """Record why this attempt failed, and release the claim."""
        await self._let_go(FAIL, notice, attempt, error)

    async def wait(self, notice: Notice, attempt: int, error: str) -> None:
        """Record why the notice was not sent now, and release the claim: it waits for the next attempt."""
        await self._let_go(WAIT, notice, attempt, error)

    async def _let_go(self, statement: str, notice: Notice, attempt: int, error: str) -> None:
        with database_failures():
            async with self._database.aconnection() as connection:
                await connection.execute(statement, {"key": notice.key, "attempt": attempt, "error": redact(error)})


def _planned(notices: Sequence[Notice], known: Sequence[str]) -> dict[str, object]:
    return {"notices": json.dumps([notice.model_dump(mode="json") for notice in notices]), "known": list(known)}


def _passing(kind: type[TransientError]) -> set[str]:
    """The names of the errors after which trying again can help."""
    return {kind.__name__}.union(*(_passing(subclass) for subclass in kind.__subclasses__()))
