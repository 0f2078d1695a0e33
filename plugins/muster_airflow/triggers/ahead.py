"""The steps that this triggerer performs before Airflow comes to their tasks."""

from __future__ import annotations

import os

import greenback
from structlog.contextvars import bind_contextvars

from muster.execution import Outcome, RunningAhead, Services, WorkRef, perform


async def _perform(services: Services, ref: WorkRef) -> Outcome:
    # As the triggerer does for each of its triggers: without it a skill in this lane could not ask Airflow anything
    # by a plain call.
    if os.environ.get("AIRFLOW_DISABLE_GREENBACK_PORTAL", "").lower() != "true":
        await greenback.ensure_portal()
    bind_contextvars(task_id=ref.step)
    return await perform(services, ref)


running_ahead = RunningAhead(_perform)
