"""Promises of an operator that starts a run of another Dag: once, and it says so only of what was started."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import MutableMapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, GetDagRunState, OKResponse, TriggerDagRun

from muster.database import Database
from muster.local.airflow import connection_json
from muster.recovery.ledger import Ledger
from muster_airflow import services, starting
from muster_airflow.egress import Failed
from muster_airflow.operators import elsewhere
from muster_airflow.operators.kinds.operator import external_step
from support.operators import context_of
from support.postgres_proxy import postgres_proxy
from support.runs import Site
from support.supervisor import StartsRuns, Supervisor, refused

DAY = ", logical_date: '2026-01-01T00:00:00+00:00'"
ENDS = (AirflowFailException, Failed, AirflowSkipException)
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
    with pytest.raises(ENDS):
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
        (", trigger_run_id: r1", 2, False),
        (DAY, 2, False),
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
    assert airflow.begun == [airflow.asked[0].run_id]
    assert site.state(run).step("job").output == {"dag_id": "warehouse", "run_id": airflow.begun[0]}


def test_each_work_item_starts_a_run_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = StartsRuns()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    for _ in range(2):
        run = opened(site, "")
        execute(run)
    assert len(airflow.runs) == 2


def paid(run: str, index: int, runs: MutableMapping[str, Any], ready: Any, dies: bool) -> None:
    """What the task process of an item does, all of them at the_same moment; Airflow takes a while to answer."""
    airflow = Dies(runs) if dies else StartsRuns(runs, takes=0.02)
    task_runner.SUPERVISOR_COMMS = airflow  # type: ignore[assignment]
    task = external_step(TRIGGER)(task_id="pay", slot=None)
    ready.wait()
    task.execute(context_of(run, "pay", index))


class Dies(StartsRuns):
    """A process that is killed as Airflow has started its run, before it hears of that."""

    def send(self, msg: Any) -> Any:
        super().send(msg)
        if isinstance(msg, TriggerDagRun):
            os._exit(9)


def pay(*works: tuple[str, int], runs: MutableMapping[str, Any], dies: bool = False) -> None:
    """Have items of lists done, each in a process of its own."""
    fork = multiprocessing.get_context("fork")
    ready = fork.Barrier(len(works))
    tasks = [fork.Process(target=paid, args=(*work, runs, ready, dies)) for work in works]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(60)
        assert task.exitcode is not None


def paying(site: Site, *amounts: int, more: str = "") -> str:
    """A run that pays one creditor so many amounts, each by a run that it calls after the creditor."""
    each = "operator: " + TRIGGER + ", each: '{{ inputs.amounts }}'"
    given = "trigger_dag_id: bank, trigger_run_id: pay-acme, conf: {amount: '{{ item }}'}" + more
    head = "automation: paying\nsettings: {allowed_operators: ['airflow.providers.*']}\n"
    text = f"{head}inputs: {{amounts: {{type: array}}}}\nsteps:\n  - {{id: pay, {each}, with: {{{given}}}}}\n"
    run = site.open(site.definition(text), amounts=list(amounts))
    assert site.expand(run, "pay") == len(amounts)
    return run


def payments(site: Site, *runs: str) -> list[str]:
    """How the items ended."""
    return [item.status for run in runs for _, item in sorted(site.state(run).step("pay").items.items())]


@pytest.mark.parametrize("several", [False, True], ids=["items", "runs"])
def test_of_those_that_name_the_same_run_one_has_started_it(site: Site, several: bool) -> None:
    with multiprocessing.Manager() as manager:
        for _ in range(10):
            started = manager.dict()
            runs = [paying(site, 100), paying(site, 250)] if several else [paying(site, 100, 250)]
            pay(*((run, index) for run in runs for index in range(2 // len(runs))), runs=started)
            assert sorted(payments(site, *runs)) == ["failed", "succeeded"]
            (given,) = started.values()
            amounts = [100, 250]
            assert amounts[payments(site, *runs).index("succeeded")] == given["amount"]


def test_whose_run_it_is_is_known_after_a_kill(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "CLAIM", 2.0)
    with multiprocessing.Manager() as manager:
        started, run = manager.dict(), paying(site, 100, 250)
        pay((run, 0), runs=started, dies=True)
        pay((run, 1), runs=started)
        pay((run, 0), runs=started)
        assert payments(site, run) == ["succeeded", "failed"]
        assert [given["amount"] for given in started.values()] == [100]


SOMEBODY_ELSES = {"amount": 7, "by": "somebody else"}


@pytest.mark.parametrize("silent", [0, 1])
@pytest.mark.parametrize(
    ("named", "more", "outcome"),
    [
        (", trigger_run_id: r1", "", "failed"),
        (", trigger_run_id: r1", ", skip_when_already_exists: true", "skipped"),
        (", trigger_run_id: r1", ", reset_dag_run: true", "succeeded"),
        (DAY, ", reset_dag_run: true", "succeeded"),
    ],
)
def test_a_run_of_somebody_else_is_not_taken_for_its_own_when_airflow_does_not_say_that_it_is_there(
    site: Site, monkeypatch: pytest.MonkeyPatch, named: str, more: str, outcome: str, silent: int
) -> None:
    name = "manual__2026-01-01T00:00:00+00:00" if named == DAY else "r1"
    airflow = StartsRuns({name: SOMEBODY_ELSES}, silent=silent)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    run = opened(site, named + more, retries=1)
    for number in range(1, silent + 2):
        with nullcontext() if outcome == "succeeded" and number > silent else pytest.raises(ENDS):
            execute(run, try_number=number, max_tries=1)
    assert ended(site, run) == outcome
    assert airflow.begun == ([name] if outcome == "succeeded" else [])
    assert Ledger(site.services.database).entries(in_doubt=True) == []


def killed_as_it_looks(run: str) -> None:
    """What a task process does that is killed before it has asked for anything."""

    class Dies(StartsRuns):
        def send(self, msg: Any) -> Any:
            return os._exit(9) if isinstance(msg, GetDagRunState) else super().send(msg)

    task_runner.SUPERVISOR_COMMS = Dies()  # type: ignore[assignment]
    execute(run)


def test_nor_after_a_kill(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "CLAIM", 1.0)
    run = opened(site, ", trigger_run_id: r1")
    task = multiprocessing.get_context("fork").Process(target=killed_as_it_looks, args=(run,))
    task.start()
    task.join(60)
    assert task.exitcode == 9
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", StartsRuns({"r1": SOMEBODY_ELSES}), raising=False)
    with pytest.raises(AirflowFailException, match="already"):
        execute(run)
    assert ended(site, run) == "failed"


def test_nothing_is_in_doubt_where_airflow_was_asked_for_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", StartsRuns(silent=9), raising=False)
    run = opened(site, "")
    with pytest.raises(Failed):
        execute(run)
    assert ended(site, run) == "failed"
    assert Ledger(site.services.database).entries(in_doubt=True) == []


@pytest.mark.parametrize("deleted", [False, True])
def test_a_name_that_stands_for_no_run_any_more_may_be_used(
    site: Site, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    """Whoever claimed it has died before Airflow heard of it, or what it started was deleted."""
    monkeypatch.setattr(starting, "CLAIM", 2.0)
    with multiprocessing.Manager() as manager:
        started, runs = manager.dict(), [paying(site, 100), paying(site, 250)]
        pay((runs[0], 0), runs=started, dies=not deleted)
        started.clear()
        pay((runs[1], 0), runs=started)
        assert payments(site, *runs) == ["succeeded" if deleted else "running", "succeeded"]
        assert [given["amount"] for given in started.values()] == [250]


def test_a_database_that_is_away_as_a_run_is_started_is_no_failure(
    site: Site, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loses(StartsRuns):
        def send(self, msg: Any) -> Any:
            if isinstance(msg, TriggerDagRun):
                proxy.is_away = True
                proxy.lose_next_answer()
                threading.Timer(3, back).start()
            return super().send(msg)

    def back() -> None:
        proxy.is_away = False

    airflow = Loses()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    monkeypatch.setattr(elsewhere, "RETRY_DELAYS", (0.5,) * 60)
    monkeypatch.setattr(starting, "CLAIM", 2.0)
    monkeypatch.setitem(services.IN_WORKER, "timeout", 1)
    run = opened(site, ", trigger_run_id: r1")
    with postgres_proxy(dsn) as proxy:
        monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(proxy.dsn))
        execute(run)
    assert ended(site, run) == "succeeded"
    assert airflow.begun == ["r1"]


def test_another_run_of_the_same_logical_date_is_not_taken_for_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clashes(StartsRuns):
        def send(self, msg: Any) -> Any:
            answer = super().send(msg)
            self.runs.clear()
            return answer

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Clashes(repeats=True), raising=False)
    run = opened(site, DAY)
    with pytest.raises(AirflowFailException, match="already"):
        execute(run)
    assert ended(site, run) == "failed"


def test_one_with_a_date_of_its_own_has_the_run_of_that_day_begun_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = StartsRuns()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    for number in (1, 2):
        run = opened(site, f"{DAY}, reset_dag_run: true")
        execute(run)
        assert ended(site, run) == "succeeded"
        assert airflow.begun == ["manual__2026-01-01T00:00:00+00:00"] * number
    again = opened(site, DAY)
    with pytest.raises(AirflowFailException, match="already"):
        execute(again)


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
