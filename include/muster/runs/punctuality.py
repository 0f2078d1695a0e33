"""Whether a run ended in time, asked of its log when Airflow says that a deadline has passed."""

from __future__ import annotations

from datetime import datetime

from muster.events.lifecycle import LIFECYCLE_EVENTS, RunLifecycle
from muster.events.log import EventLog


async def ended_by(log: EventLog, run: str, deadline: datetime) -> bool | None:
    """True when the run had ended at the deadline, whatever came of it; None when the log knew of no such run.

    A stuck run has not ended: a person must act. Nor has one that was to go on again by then, after a restart, a
    redrive or a resume. What happened after the deadline makes no difference: asking later gives the same answer.
    """
    life = RunLifecycle.of([event async for event in log.aread(run, types=LIFECYCLE_EVENTS) if event.at <= deadline])
    if not life.is_opened:
        return None
    return life.under_way is None and life.status != "stuck"
