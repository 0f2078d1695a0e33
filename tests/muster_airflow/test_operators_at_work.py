"""Promises of an operator that works for long: it is left alone, ends in time, and is stopped with its task."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.models.hitl import HITLDetail
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskAwaitingInput,
    TaskDeferred,
)
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import OKResponse

from muster.database import Database
from muster.events.state import RunState
from muster.local.airflow import connection_json
from muster_airflow import services
from muster_airflow.egress import Failed
from muster_airflow.operators import elsewhere
from muster_airflow.operators.kinds.operator import ExternalStep, external_step
from support import operators
from support.operators import context_of
from support.postgres_proxy import postgres_proxy
from support.reconciled import FakeAirflow, found
from support.runs import Site
from support.supervisor import Supervisor

ASKS = "airflow.providers.standard.operators.hitl.HITLOperator"
BASH = "airflow.providers.standard.operators.bash.BashOperator"
TRIGGER = "airflow.providers.standard.operators.trigger_dagrun.TriggerDagRunOperator"
SUBMITS = "support.operators.Submits"
TIMED_OUT = {"error": TriggerFailureReason.TRIGGER_TIMEOUT}


@pytest.fixture
def site(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path / "state"))
    operators.executed.clear()
    monkeypatch.setattr(operators, "meanwhile", [])
    return Site(tmp_path, database)


def opened(site: Site, step: str) -> str:
    """A run of an automation of one step, which is called `job`."""
    head = "automation: tested\nsettings: {allowed_operators: ['support.*', 'airflow.providers.*']}\nsteps:\n"
    return site.open(site.definition(f"{head}  - {{id: job, {step}}}\n"))


def task(path: str) -> ExternalStep:
    """The task of the step, as the compiler makes it."""
    made = external_step(path)(task_id="job", slot=None)
    assert isinstance(made, ExternalStep)
    return made


def deferred(run: str) -> TaskDeferred:
    """What Airflow is told by an operator that hands over its job."""
    with pytest.raises(TaskDeferred) as raised:
        task(SUBMITS).execute(context_of(run, "job"))
    return raised.value


def told(state: RunState) -> tuple[str, str]:
    """How the step ended, and why."""
    work = state.step("job").whole
    return work.status, str((work.error or {}).get("message") or work.reason or "")


@pytest.mark.parametrize("timeout", ["", ", timeout: 10m"])
def test_an_operator_that_waits_in_the_triggerer_is_left_alone(site: Site, timeout: str) -> None:
    """However long it says nothing: what it has handed over would be handed over again."""
    run = opened(site, f"operator: {SUBMITS}{timeout}")
    deferred(run)
    airflow = FakeAirflow("running", {"job": "deferred"})
    airflow.clears = True
    assert not list(found(site, airflow, later=timedelta(hours=5)))
    assert (airflow.cleared, airflow.restarted) == ([], [])
    assert operators.executed == ["submitted"]


def in_task_process(run: str, path: str) -> None:
    """What Airflow's task process does: it has the task stop what it has started when it is told to end."""
    made = task(path)
    signal.signal(signal.SIGTERM, lambda *_: made.on_kill())
    made.execute(context_of(run, "job"))


def test_what_an_operator_has_started_ends_with_its_task(site: Site, tmp_path: Path) -> None:
    """As when the run is cancelled: Airflow ends the process of its task."""
    # It says what it is once the task has had time to know it as well: until then there is nothing to stop.
    command = f"sleep 2; echo $$ > {tmp_path}/shell; sleep 300; touch {tmp_path}/happened"
    run = opened(site, f'operator: {BASH}, with: {{bash_command: "{command}"}}')
    process = multiprocessing.get_context("fork").Process(target=in_task_process, args=(run, BASH))
    process.start()
    shell = shell_of(tmp_path)
    os.kill(process.pid or 0, signal.SIGTERM)
    process.join(100)
    assert process.exitcode is not None
    assert not is_alive(shell)
    assert told(site.state(run))[0] == "failed"


@pytest.mark.parametrize("max_tries", [0, 1])
def test_an_operator_ends_at_its_steps_timeout_and_so_does_what_it_has_started(
    site: Site, tmp_path: Path, max_tries: int
) -> None:
    command = f"echo $$ > {tmp_path}/shell; sleep 60"
    run = opened(site, f'operator: {BASH}, timeout: 2s, retry: {{times: 1}}, with: {{bash_command: "{command}"}}')
    begun = time.monotonic()
    with pytest.raises(Failed, match="longer than the step's timeout of 2 s"):
        task(BASH).execute(context_of(run, "job", max_tries=max_tries))
    assert time.monotonic() - begun < 20
    assert not is_alive(shell_of(tmp_path))
    # Airflow tries again where a try is left.
    how = "retrying" if max_tries else "failed"
    assert told(site.state(run)) == (how, "It took longer than the step's timeout of 2 s.")


def test_so_does_one_that_waits_in_the_triggerer_however_often_it_is_woken(site: Site) -> None:
    run = opened(site, f"operator: {SUBMITS}, timeout: 10m")
    first = deferred(run).timeout
    assert timedelta(minutes=9) < first <= timedelta(minutes=10)
    time.sleep(0.1)
    with pytest.raises(TaskDeferred) as raised:
        task(SUBMITS).resume_execution("done", {"event": "not yet"}, context_of(run, "job"))
    assert timedelta(minutes=9) < raised.value.timeout <= first - timedelta(seconds=0.1)
    with pytest.raises(TaskDeferred) as raised:
        task(SUBMITS).execute(context_of(run, "job", try_number=2))
    assert raised.value.timeout > first - timedelta(seconds=0.1), "another attempt has time of its own"


@pytest.mark.parametrize("timeout", ["", ", timeout: 10m"])
@pytest.mark.parametrize("waits", [60, 60.5])
def test_it_may_wait_for_a_number_of_seconds(site: Site, waits: float, timeout: str) -> None:
    run = opened(site, f"operator: {SUBMITS}{timeout}, with: {{waits: {waits}}}")
    assert deferred(run).timeout == timedelta(seconds=waits)


def test_so_does_a_sensor_of_airflows_own(site: Site) -> None:
    path = "airflow.providers.standard.sensors.time_delta.TimeDeltaSensor"
    run = opened(site, f"operator: {path}, timeout: 2h, with: {{delta: 3600, deferrable: true}}")
    context = context_of(run, "job")
    context["dag_run"].run_after = context["data_interval_end"] = datetime.now(UTC)
    with pytest.raises(TaskDeferred) as raised:
        task(path).execute(context)
    assert raised.value.timeout <= timedelta(hours=2)


def test_one_that_cannot_be_deferred_as_it_asks_has_failed(site: Site) -> None:
    run = opened(site, f"operator: {SUBMITS}, timeout: 10m, with: {{waits: soon}}")
    with pytest.raises(AirflowFailException, match="cannot wait as it asks"):
        task(SUBMITS).execute(context_of(run, "job", max_tries=2))
    assert told(site.state(run))[0] == "failed", "it would hand over its job again"


@pytest.mark.parametrize("soft_fail", ["false", "true"])
def test_when_its_time_is_over_it_has_failed_whatever_it_would_say_itself(site: Site, soft_fail: str) -> None:
    run = opened(site, f"operator: {SUBMITS}, timeout: 1s, with: {{soft_fail: {soft_fail}}}")
    deferred(run)
    time.sleep(1)
    with pytest.raises(Failed, match="longer than the step's timeout"):
        task(SUBMITS).resume_execution(TRIGGER_FAIL_REPR, TIMED_OUT, context_of(run, "job"))
    assert told(site.state(run)) == ("failed", "It took longer than the step's timeout of 1 s.")


def test_a_limit_of_its_own_stays_its_own(site: Site) -> None:
    run = opened(site, f"operator: {SUBMITS}, timeout: 1h, with: {{soft_fail: true}}")
    deferred(run)
    with pytest.raises(AirflowSkipException):
        task(SUBMITS).resume_execution(TRIGGER_FAIL_REPR, TIMED_OUT, context_of(run, "job"))
    assert told(site.state(run)) == ("skipped", "the operator skipped itself: nothing came")


def test_what_has_come_is_taken_up_also_when_the_worker_kept_it_waiting(site: Site) -> None:
    run = opened(site, f"operator: {SUBMITS}, timeout: 1s")
    deferred(run)
    time.sleep(1)
    assert task(SUBMITS).resume_execution("done", {"event": "here"}, context_of(run, "job")) == "done"
    assert told(site.state(run))[0] == "succeeded"


def test_one_that_looks_now_and_then_ends_in_time_too(site: Site) -> None:
    run = opened(site, "operator: support.operators.Pokes, timeout: 1s")
    begun = datetime.now(UTC)
    with pytest.raises(AirflowRescheduleException) as raised:
        task("support.operators.Pokes").execute(context_of(run, "job"))
    assert raised.value.reschedule_date < begun + timedelta(seconds=20)
    time.sleep(1)
    with pytest.raises(Failed, match="longer than the step's timeout"):
        task("support.operators.Pokes").execute(context_of(run, "job"))
    assert operators.executed == ["looked"]
    assert told(site.state(run))[0] == "failed"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("Looks", "{}"), ("Looks", "{soft_fail: true}"), ("Looks", "{never_fail: true}"), ("Catches", "{}")],
)
def test_when_its_time_is_over_in_its_process_it_has_failed_too_whatever_it_makes_of_that(
    site: Site, name: str, arguments: str
) -> None:
    run = opened(site, f"operator: support.operators.{name}, timeout: 1s, with: {arguments}")
    with pytest.raises(Failed, match="longer than the step's timeout"):
        task(f"support.operators.{name}").execute(context_of(run, "job"))
    assert told(site.state(run)) == ("failed", "It took longer than the step's timeout of 1 s.")
    assert operators.executed[-1] == "stopped"


def asking(site: Site, monkeypatch: pytest.MonkeyPatch, timeout: str) -> tuple[str, TaskAwaitingInput]:
    """A run whose step puts a question in Airflow, which pays when nobody answers; how Airflow is to wait for that."""
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(OKResponse(ok=True)), raising=False)
    question = "{subject: 'Pay?', options: [Pay, Hold], defaults: [Pay]}"
    run = opened(site, f"operator: {ASKS}, timeout: {timeout}, with: {question}")
    context = context_of(run, "job")
    context["ti"].id, context["task_instance"] = uuid4(), context["ti"]
    with pytest.raises(TaskAwaitingInput) as raised:
        task(ASKS).execute(context)
    return run, raised.value


def answered(chosen: str, *, timedout: bool) -> dict[str, Any]:
    """What an operator is given that goes on after its question, by Airflow's own hand."""
    detail = HITLDetail(chosen_options=[chosen], params_input={}, responded_at=datetime.now(UTC))
    return {"event": detail.as_resume_event_payload(timedout=timedout)}


@pytest.mark.parametrize(
    "given",
    [answered("Pay", timedout=True), {"event": {"error": "No response.", "error_type": "timeout"}}],
    ids=["default", "none"],
)
def test_what_airflow_answers_itself_at_the_steps_timeout_is_no_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    run, asked = asking(site, monkeypatch, "1s")
    assert asked.timeout is not None
    assert asked.timeout <= timedelta(seconds=1)
    time.sleep(1)
    with pytest.raises(Failed, match="longer than the step's timeout"):
        task(ASKS).resume_execution("execute_complete", given, context_of(run, "job"))
    assert told(site.state(run)) == ("failed", "It took longer than the step's timeout of 1 s.")


@pytest.mark.parametrize(
    ("timeout", "given"),
    [
        ("1h", answered("Pay", timedout=True)),
        ("1s", answered("Hold", timedout=False)),
    ],
    ids=["a default at a limit of the question's own", "somebody's answer that is taken up late"],
)
def test_what_is_an_answer_stays_one(
    site: Site, monkeypatch: pytest.MonkeyPatch, timeout: str, given: dict[str, Any]
) -> None:
    run, _ = asking(site, monkeypatch, timeout)
    time.sleep(1)
    task(ASKS).resume_execution("execute_complete", given, context_of(run, "job"))
    work = site.state(run).step("job")
    assert (work.whole.status, work.output["chosen_options"]) == ("succeeded", given["event"]["chosen_options"])


def test_one_that_ends_its_process_has_failed(site: Site) -> None:
    run = opened(site, "operator: support.operators.Exits")
    with pytest.raises(Failed, match="wanted to end its process"):
        task("support.operators.Exits").execute(context_of(run, "job"))
    assert told(site.state(run))[0] == "failed"


def test_a_database_that_is_away_as_an_operator_ends_is_no_failure_of_it(
    site: Site, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(site, "operator: support.operators.Works")
    monkeypatch.setattr(elsewhere, "RETRY_DELAYS", (0.5,) * 60)
    monkeypatch.setitem(services.IN_WORKER, "timeout", 1)
    with postgres_proxy(dsn) as proxy:
        monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(proxy.dsn))

        def back() -> None:
            proxy.is_away = False

        def away() -> None:
            proxy.is_away = True
            threading.Timer(5, back).start()

        operators.meanwhile.append(away)
        assert task("support.operators.Works").execute(context_of(run, "job")) == "done"
    assert operators.executed == ["worked"]
    assert told(site.state(run))[0] == "succeeded"


def shell_of(folder: Path) -> int:
    """The process that a command has said to be."""
    until = time.monotonic() + 120
    while not (folder / "shell").exists() or not (folder / "shell").read_text().strip():
        assert time.monotonic() < until
        time.sleep(0.05)
    return int((folder / "shell").read_text())


def is_alive(process: int) -> bool:
    """True while it is there and has not ended; it gets some time to end."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True
