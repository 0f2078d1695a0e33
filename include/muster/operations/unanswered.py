"""Notices of questions: whether the question still waits for an answer."""

from __future__ import annotations

from muster.database import Database
from muster.events import keys
from muster.events.failures import database_failures

OF_A_WAITING_STEP = """
steps.run = outbox.run AND steps.status = 'waiting' AND (
    starts_with(outbox.key, steps.run || '/' || step || CASE WHEN index >= 0 THEN format('[%%s]/', index) ELSE '/' END)
    OR starts_with(outbox.key, steps.run || '/' || step || '@'))
"""
"""Of which step or item a notice of a question is, while that waits."""

_WITHDRAW = f"""
UPDATE outbox SET status = 'kept', delivered_by = 'outbox', reference = coalesce(reference, 'outbox/' || id),
    note = 'nothing more is sent: its question waits no more', claimed_until = NULL, settled_at = clock_timestamp()
WHERE status IN ('pending', 'failed') AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    AND (key ~ '{keys.OF_A_QUESTION}' OR key ~ '@[0-9]+/{keys.WITHOUT}$')
    AND NOT EXISTS (SELECT FROM steps WHERE {OF_A_WAITING_STEP})
"""


def withdraw_answered(database: Database) -> None:
    """Keep what was still to be said of questions that wait no more: nothing is said of one after its answer."""
    with database_failures(), database.connection() as connection:
        connection.execute(_WITHDRAW, {})
