"""`triggers: schedule` as an Airflow timetable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import CronTriggerTimetable, MultipleCronTriggerTimetable

if TYPE_CHECKING:
    from muster.language.definition import Definition


def schedule(definition: Definition) -> dict[str, Any]:
    """The Dag's `schedule`, and a `start_date` when it has one."""
    triggers = definition.schedules
    if not triggers:
        return {"schedule": None}
    zones = {trigger.timezone for trigger in triggers}
    if len(triggers) == 1:
        return {"schedule": CronTriggerTimetable(triggers[0].schedule, timezone=triggers[0].timezone)}
    crons = [trigger.schedule for trigger in triggers]
    return {"schedule": MultipleCronTriggerTimetable(*crons, timezone=zones.pop())}
