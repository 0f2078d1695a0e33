"""A run knows the time that its schedule has started it for, where the schedule's clocks are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from muster.database import Database
from muster.runs.opening import open_run
from muster_airflow.operators.opening import OpenRun
from support.runs import Site

AUTOMATION = """automation: tested
triggers: [{ schedule: "0 0 * * 1", timezone: Europe/Berlin }]
steps:
  - id: said
    branch:
      - to: last
  - id: last
    notify:
      - slack: "#a"
        text: >-
          {{ run.today | start_of_week | add_days(-7) }} {{ run.scheduled_at }} {{ run.interval_start }}
          {{ run.interval_end | date('%H:%M') }}
"""
MONDAY = datetime(2026, 3, 29, 22, 0, tzinfo=UTC)
"""Midnight in Berlin, already with summer time."""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    return Site(tmp_path, database)


def opened(site: Site, run_type: str, at: datetime | None) -> str:
    """A run that Airflow has started so."""
    task = OpenRun(task_id="open", definition=site.definition(AUTOMATION))
    dag_run = SimpleNamespace(
        conf={},
        start_date=datetime.now(UTC),
        run_type=run_type,
        triggering_user_name=None,
        logical_date=at,
        data_interval_start=at and at - timedelta(days=7),
        data_interval_end=at,
    )
    context: Any = {"dag_run": dag_run, "ti": SimpleNamespace(dag_id="tested", run_id=f"{run_type}__1")}
    opening = task._opening(context)
    site.do(open_run(site.services, opening))
    return str(opening.run)


def text(site: Site, run: str) -> str:
    """What the notice says."""
    site.step(run, "said")
    assert site.step(run, "last").status == "succeeded"
    with site.services.database.connection() as connection:
        row = connection.execute("SELECT text FROM outbox WHERE run = %s", (run,)).fetchone()
    assert row is not None
    return str(row[0])


def test_a_run_of_a_schedule_says_its_time_where_the_clocks_of_the_schedule_are(site: Site) -> None:
    said = text(site, opened(site, "scheduled", MONDAY))
    assert said.split() == ["2026-03-23", "2026-03-30T00:00:00+02:00", "2026-03-22T23:00:00+01:00", "00:00"]


@pytest.mark.parametrize(("run_type", "at"), [("manual", None), ("manual", MONDAY), ("asset_triggered", None)])
def test_one_that_no_schedule_has_started_says_when_it_was_opened(
    site: Site, run_type: str, at: datetime | None
) -> None:
    run = opened(site, run_type, at)
    state = site.state(run)
    assert (state.scheduled, state.opened_at is not None) == (None, True)
    said = text(site, run).split()
    assert datetime.fromisoformat(said[1]) == state.opened_at == datetime.fromisoformat(said[2])
