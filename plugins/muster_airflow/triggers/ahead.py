"""The steps that this triggerer performs before Airflow comes to their tasks."""

from __future__ import annotations

import os

import greenback
from structlog.contextvars import bind_contextvars

from muster.execution import Outcome, RunningAhead, Services, WorkRef, perform
from muster_airflow.triggers.task_states import task_states


async def _perform(services: Services, ref: WorkRef) -> Outcome:
    # The triggerer makes such a portal for each of its own triggers, and work ahead is none of them. Without it a skill
    # in this lane could not ask Airflow anything by a plain call.
    if os.environ.get("AIRFLOW_DISABLE_GREENBACK_PORTAL", "").lower() != "true":
        await greenback.ensure_portal()
    # The coroutine inherits the context of the trigger that began it, so its log lines would carry the task before it.
    bind_contextvars(task_id=ref.step)
    return await perform(services, ref)


running_ahead = RunningAhead(_perform, task_states)
