"""Whether a run ended in time, asked of its log when Airflow says that a deadline has passed."""

from __future__ import annotations

from datetime import datetime

from muster.events.lifecycle import LIFECYCLE_EVENTS, RunLifecycle
from muster.events.log import EventLog


async def ended_by(log: EventLog, run: str, deadline: datetime) -> bool | None:
    """True when the run had ended at the deadline, with any status; None when the log had no such run by then.

    A stuck run has not ended, because a person must act. A run that was ordered to go on by then (restart, redrive,
    resume) has not ended either.
    """
    # Only events up to the deadline are read, so a late check gives the same answer as one in time.
    life = RunLifecycle.of([event async for event in log.aread(run, types=LIFECYCLE_EVENTS) if event.at <= deadline])
    if not life.is_opened:
        return None
    return life.under_way is None and life.status != "stuck"
