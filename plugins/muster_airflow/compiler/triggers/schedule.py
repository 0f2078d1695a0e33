"""`schedule` as an Airflow timetable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable

from muster.language.triggers.schedule import ResolvedSchedule
from muster_airflow.compiler.brings import Brings

LATE = timedelta(minutes=5)
"""How long after its time the first run of a schedule still begins: Airflow works the first time out anew whenever it
reads the Dag, also in the seconds between that time and the run."""


def _timetable(triggers: Sequence[ResolvedSchedule]) -> CronTriggerTimetable:
    # Without a limit Airflow 3.3.2 takes a tenth of the period: what is published on the 3rd for the 1st of each month
    # would run at once.
    return CronTriggerTimetable(triggers[0].schedule, timezone=triggers[0].timezone or "UTC", run_immediately=LATE)


BRINGS = Brings(schedule=_timetable)
