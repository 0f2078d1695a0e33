"""The timetable of an automation's schedule, which knows since when the automation has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable
from pendulum import instance


class ScheduleSince(CronTriggerTimetable):
    """Set times, of which the first one is the next after the automation was published with them.

    Airflow's own timetable without a `start_date` works the first time out anew whenever it reads the Dag: what passes
    while the Dag is paused, or Airflow is away, would be lost. A `start_date` would keep backfills from earlier days.
    """

    def __init__(self, cron: str, *, timezone: Any, since: datetime) -> None:
        super().__init__(cron, timezone=timezone)
        self._since = instance(since)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ScheduleSince:
        """What `serialize` gave."""
        plain: Any = CronTriggerTimetable.deserialize(data)
        return cls(plain._expression, timezone=plain._timezone, since=datetime.fromisoformat(data["since"]))

    def serialize(self) -> dict[str, Any]:
        """Plain data, the same for the same schedule since the same time."""
        return {**super().serialize(), "since": self._since.isoformat()}

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Airflow's answer for a Dag that starts when the automation was published with this schedule."""
        if restriction.earliest is None and not restriction.catchup:
            restriction = restriction._replace(earliest=self._since)
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
