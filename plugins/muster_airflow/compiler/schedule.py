"""`triggers: schedule` as an Airflow timetable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import CronTriggerTimetable

if TYPE_CHECKING:
    from muster.language.definition import Definition


def schedule(definition: Definition) -> dict[str, Any]:
    """The Dag's `schedule`; an automation has one at most."""
    for trigger in definition.triggers:
        if trigger.schedule is not None:
            return {"schedule": CronTriggerTimetable(trigger.schedule, timezone=trigger.timezone or "UTC")}
    return {"schedule": None}
