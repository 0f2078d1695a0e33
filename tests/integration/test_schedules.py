"""Promises of schedules on a running Airflow, which is the witness."""

from __future__ import annotations

from datetime import datetime

import pytest

from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

EACH_MINUTE = """automation: proving_times
triggers: [{schedule: "* * * * *"}]
steps:
  - {id: note, skill: proving.note, with: {text: x}}
"""


def test_a_schedule_starts_runs_for_its_times_since_it_was_published(airflow: Airflow) -> None:
    path = airflow.automation("proving_times", EACH_MINUTE)
    opened = "SELECT id, dag_run_id FROM runs WHERE automation = 'proving_times' ORDER BY opened_at LIMIT 1"
    [(run, name)] = airflow.until("a run of the schedule", lambda: airflow.sql(opened))
    assert airflow.finish(run) == "success"
    noted = "SELECT min(schedules->'proving_times'->>1) FROM bundle_versions WHERE schedules ? 'proving_times'"
    [(since,)] = airflow.sql(noted)
    assert datetime.fromisoformat(since) <= datetime.fromisoformat(name.removeprefix("scheduled__"))
    path.unlink()
