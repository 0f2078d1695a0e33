"""Promises of an operator that works for long: it is left alone, ends in time, and is stopped with its task."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk.exceptions import TaskDeferred

from muster.database import Database
from muster.local.airflow import connection_json
from muster_airflow.operators.kinds.operator import external_step
from support import operators
from support.operators import context_of
from support.reconciled import FakeAirflow, found
from support.runs import Site

SUBMITS = "support.operators.Submits"


@pytest.fixture
def site(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path / "state"))
    operators.executed.clear()
    return Site(tmp_path, database)


def opened(site: Site, step: str) -> str:
    """A run of an automation of one step, which is called `job`."""
    head = "automation: tested\nsettings: {allowed_operators: ['support.*', 'airflow.providers.*']}\nsteps:\n"
    return site.open(site.definition(f"{head}  - {{id: job, {step}}}\n"))


@pytest.mark.parametrize("timeout", ["", ", timeout: 10m"])
def test_an_operator_that_waits_in_the_triggerer_is_left_alone(site: Site, timeout: str) -> None:
    """However long it says nothing: what it has handed over would be handed over again."""
    run = opened(site, f"operator: {SUBMITS}{timeout}")
    context = context_of(run, "job")
    with pytest.raises(TaskDeferred):
        external_step(SUBMITS)(task_id="job", slot=None).execute(context)
    airflow = FakeAirflow("running", {"job": "deferred"})
    airflow.clears = True
    assert not list(found(site, airflow, later=timedelta(hours=5)))
    assert (airflow.cleared, airflow.restarted) == ([], [])
    assert operators.executed == ["submitted"]
