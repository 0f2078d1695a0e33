"""Forgetting a person: the key goes, and with it all that was sealed under it, in every run and every backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from muster.database import Database
from muster.errors import MusterError
from muster.events.failures import database_failures
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.personal import Vault

_FIND = """
SELECT id, forgotten_at FROM subjects
WHERE id = %(id)s OR starts_with(id, %(id)s || '.') OR id = %(name)s OR starts_with(id, %(name)s || '.') ORDER BY id
"""
_RUNS = "SELECT stream FROM events WHERE type = 'run.opened' AND data->>'subject' = ANY(%(ids)s)"
# What is still on its way would be sent without its text; the next attempt to forget finds it settled.
_NOTICES = f"""
UPDATE outbox SET text = '[forgotten]', subject = '', target = '[forgotten]', error = NULL
WHERE run IN ({_RUNS}) AND status IN ('sent', 'kept', 'failed') AND text <> '[forgotten]'
"""
_KEYS = "UPDATE subjects SET wrapped_key = NULL, forgotten_at = clock_timestamp() WHERE id = ANY(%(ids)s)"


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten."""

    subject: str
    """The id that stands for the person in the log."""
    runs: int
    """Runs whose personal data nobody can read any more."""
    notices: int
    """Notices of these runs whose text was removed from the outbox."""


def find_subject(database: Database, vault: Vault, subject: str) -> list[str]:
    """The ids of a person's keys that are not forgotten yet, by name, or by the id that stands in the log.

    Raises:
        MusterError: there is no such person, or they are forgotten already.
    """
    with database_failures(), database.connection() as connection:
        found = connection.execute(_FIND, {"id": subject, "name": vault.name_id(subject)}).fetchall()
    if not found:
        raise MusterError(
            f"There is no personal data of {subject!r}, so nothing was changed.",
            remedy="Write the name as the automation's `personal.subject` gives it, or the id from the log.",
        )
    left = [id for id, forgotten_at in found if forgotten_at is None]
    if not left:
        raise MusterError(f"{subject!r} was forgotten {_when(found[-1][1])}; nothing was changed.")
    return left


def forget(database: Database, vault: Vault, subject: str, *, by: str) -> Forgotten:
    """Throw a person's key away. It cannot be undone.

    Raises:
        MusterError: there is no such person, or they are forgotten already; nothing was changed.
    """
    ids = find_subject(database, vault, subject)
    _write_down(database, ids, by)
    with database.connection() as connection, connection.transaction():
        connection.execute(_KEYS, {"ids": ids})
        runs = connection.execute(f"SELECT count(*) FROM ({_RUNS}) AS runs", {"ids": ids}).fetchone()
        notices = connection.execute(_NOTICES, {"ids": ids}).rowcount
    return Forgotten(ids[0].partition(".")[0], runs[0] if runs else 0, notices)


def _write_down(database: Database, ids: Sequence[str], by: str) -> None:
    """First, so that nothing is forgotten without a word of it in the log; once, whatever happens after."""
    log = EventLog(database)
    for id in ids:
        event = NewEvent(type=EventType.SUBJECT_FORGOTTEN, data={"subject": id}, actor=by, key="forgotten")
        log.append(f"subjects/{id}", [event])


def _when(at: datetime) -> str:
    return f"on {at:%Y-%m-%d} at {at:%H:%M %Z}"
