"""Promises of an operator that starts a run of another Dag: once, and it says so only of what was started."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, OKResponse

from muster.database import Database
from muster.local.airflow import connection_json
from muster_airflow.egress import Failed
from muster_airflow.operators.kinds.operator import external_step
from support.operators import context_of
from support.runs import Site
from support.supervisor import StartsRuns, Supervisor, refused

TRIGGER = "airflow.providers.standard.operators.trigger_dagrun.TriggerDagRunOperator"


@pytest.fixture
def site(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path / "state"))
    return Site(tmp_path, database)


def opened(site: Site, more: str, retries: int = 0) -> str:
    """A run of an automation whose one step starts a run of another Dag."""
    head = "automation: tested\nsettings: {allowed_operators: ['airflow.providers.*']}\nsteps:\n"
    step = f"operator: {TRIGGER}, retry: {{times: {retries}}}, with: {{trigger_dag_id: warehouse{more}}}"
    return site.open(site.definition(f"{head}  - {{id: job, {step}}}\n"))


def execute(run: str, **tries: int) -> None:
    """What the step's task does."""
    external_step(TRIGGER)(task_id="job", slot=None).execute(context_of(run, "job", **tries))


def ended(site: Site, run: str) -> str:
    """How the step ended."""
    return site.state(run).step("job").whole.status


def triggering(site: Site, answer: Any, monkeypatch: pytest.MonkeyPatch, more: str = "") -> tuple[str, Supervisor]:
    """A run with a step that starts a run of another Dag; what Airflow says to that."""
    supervisor = Supervisor(answer)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return opened(site, f", trigger_run_id: r1{more}"), supervisor


def test_an_operator_that_starts_a_run_has_succeeded_once_it_was_started(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = StartsRuns()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    run = opened(site, ", trigger_run_id: r1, conf: {a: 1}")
    execute(run)
    assert [(asked.dag_id, asked.run_id, asked.conf) for asked in airflow.asked] == [("warehouse", "r1", {"a": 1})]
    assert site.state(run).step("job").output == {"dag_id": "warehouse", "run_id": "r1"}


@pytest.mark.parametrize(
    ("answer", "more", "outcome"),
    [
        (refused(404), "", "failed"),
        (refused(503), "", "failed"),
        (ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS), "", "failed"),
        (ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS), ", skip_when_already_exists: true", "skipped"),
    ],
)
def test_what_airflow_did_not_start_is_not_said_to_be(
    site: Site, monkeypatch: pytest.MonkeyPatch, answer: Any, more: str, outcome: str
) -> None:
    run, _ = triggering(site, answer, monkeypatch, more)
    with pytest.raises((AirflowFailException, Failed, AirflowSkipException)):
        execute(run)
    assert ended(site, run) == outcome


@pytest.mark.parametrize("reset", ["", ", reset_dag_run: true"])
@pytest.mark.parametrize(
    ("named", "lost", "repeats"),
    [
        ("", 1, False),
        ("", 2, False),
        ("", 0, True),
        (", trigger_run_id: r1", 1, False),
        (", trigger_run_id: r1", 0, True),
    ],
)
def test_a_run_is_started_once_also_when_airflows_answer_was_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch, named: str, lost: int, repeats: bool, reset: str
) -> None:
    airflow = StartsRuns(lost=lost, repeats=repeats)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    run = opened(site, named + reset, retries=2)
    for number in range(1, max(lost, 1) + 1):
        with pytest.raises(Failed) if number < lost else nullcontext():
            execute(run, try_number=number, max_tries=2)
    assert len(airflow.runs) == 1
    assert site.state(run).step("job").output == {"dag_id": "warehouse", "run_id": airflow.asked[0].run_id}
    assert named or not any(asked.reset_dag_run for asked in airflow.asked), "it would begin again"


def test_each_piece_of_work_starts_a_run_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = StartsRuns()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    for _ in range(2):
        run = opened(site, "")
        execute(run)
    assert len(airflow.runs) == 2


def test_another_run_of_the_same_logical_date_is_not_taken_for_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clashes(StartsRuns):
        def send(self, msg: Any) -> Any:
            answer = super().send(msg)
            self.runs.clear()
            return answer

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Clashes(repeats=True), raising=False)
    day = ", logical_date: '2026-01-01T00:00:00+00:00'"
    run = opened(site, day)
    with pytest.raises(AirflowFailException, match="already"):
        execute(run)
    assert ended(site, run) == "failed"


@pytest.mark.parametrize("deferrable", ["false", "true"])
def test_one_that_would_wait_for_it_starts_nothing_and_fails_for_good(
    site: Site, monkeypatch: pytest.MonkeyPatch, deferrable: str
) -> None:
    """Where lint could not see it: how the other run went would be known only after the step has ended."""
    waits = f", wait_for_completion: '{{{{ 1 == 1 }}}}', deferrable: {deferrable}"
    run, supervisor = triggering(site, OKResponse(ok=True), monkeypatch, waits)
    with pytest.raises(AirflowFailException, match="Write a `run` step"):
        execute(run, max_tries=3)
    assert supervisor.asked == []
    assert ended(site, run) == "failed"
