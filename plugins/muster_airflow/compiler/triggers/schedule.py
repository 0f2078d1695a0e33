"""`schedule` as an Airflow timetable."""

from __future__ import annotations

from collections.abc import Sequence

from airflow.sdk import CronTriggerTimetable

from muster.language.triggers.schedule import ResolvedSchedule
from muster_airflow.compiler.brings import Brings


def _timetable(triggers: Sequence[ResolvedSchedule]) -> CronTriggerTimetable:
    return CronTriggerTimetable(triggers[0].schedule, timezone=triggers[0].timezone or "UTC")


BRINGS = Brings(schedule=_timetable)
