"""`schedule` as an Airflow timetable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import CronTriggerTimetable

from muster.language.triggers.schedule import ResolvedSchedule
from muster_airflow.compiler.brings import Brings

if TYPE_CHECKING:
    from muster_airflow.timetables import ScheduleSince

LATE = timedelta(minutes=5)
"""How long after its time the first run of a schedule still begins where nobody knows since when the automation has it:
Airflow works the first time out anew whenever it reads the Dag, also in the seconds between that time and the run."""


def _timetable(triggers: Sequence[ResolvedSchedule], since: datetime | None) -> CronTriggerTimetable | ScheduleSince:
    cron, timezone = triggers[0].schedule, triggers[0].timezone or "UTC"
    if since is not None:
        # Imported only for what is scheduled: it needs Airflow's core.
        from muster_airflow.timetables import ScheduleSince

        return ScheduleSince(cron, timezone=timezone, since=since)
    # Without a limit Airflow 3.3.2 takes a tenth of the period: what is published on the 3rd for the 1st of each month
    # would run at once.
    return CronTriggerTimetable(cron, timezone=timezone, run_immediately=LATE)


BRINGS = Brings(schedule=_timetable)
