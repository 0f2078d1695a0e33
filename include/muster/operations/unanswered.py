"""Withdraws notices of questions that wait for no answer any more."""

from __future__ import annotations

from muster.database import Database
from muster.events import keys
from muster.events.failures import database_failures

OF_A_WAITING_STEP = """
steps.run = outbox.run AND steps.status = 'waiting' AND (
    starts_with(outbox.key, steps.run || '/' || step || CASE WHEN index >= 0 THEN format('[%%s]/', index) ELSE '/' END)
    OR starts_with(outbox.key, steps.run || '/' || step || '@'))
"""
"""SQL condition: the notice in `outbox` asks about the step or item in `steps`, which waits for an answer."""

# A claim that has not run out is left alone: its sender is sending this moment, and settles the row itself.
_WITHDRAW = f"""
UPDATE outbox SET status = 'kept', delivered_by = 'outbox', reference = coalesce(reference, 'outbox/' || id),
    note = 'nothing more is sent: its question waits no more', claimed_until = NULL, settled_at = clock_timestamp()
WHERE status IN ('pending', 'failed') AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    AND (key ~ '{keys.OF_A_QUESTION}' OR key ~ '@[0-9]+/{keys.WITHOUT}$')
    AND NOT EXISTS (SELECT FROM steps WHERE {OF_A_WAITING_STEP})
"""


def withdraw_answered(database: Database) -> None:
    """Keep unsent notices of questions that were answered or closed, so that nobody is asked after the answer."""
    with database_failures(), database.connection() as connection:
        connection.execute(_WITHDRAW, {})
