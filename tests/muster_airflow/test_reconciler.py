"""The reconciler's Dag: there with the automations, light, and switched by one variable."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lazy_object_proxy
import psycopg
import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    DagResult,
    DagRunStateResult,
    DRCount,
    ErrorResponse,
    GetDRCount,
    OKResponse,
    TaskStatesResult,
    TriggerDagRun,
)
from airflow.serialization.serialized_objects import DagSerialization

from muster.database import Database
from muster.errors import PermanentError, TransientError
from muster.events.checkpoints import CHECKPOINTS
from muster.events.log import EventLog
from muster.events.model import NewEvent
from muster.language.checks import DAGS
from muster.local.airflow import connection_json
from muster_airflow import load_automations
from muster_airflow.airflow_runs import TaskAirflow
from muster_airflow.compiler.reconciler import build_reconciler
from muster_airflow.operators.reconciling import AskChecks, Reconcile, WriteCheckpoint
from muster_airflow.reference import RECONCILER

AUTOMATION = "automation: a\nsteps:\n  - {id: b, notify: [{slack: '#x', text: y}]}\n"


def loaded(folder: Path, **how: Any) -> dict[str, Any]:
    (folder / "automations").mkdir(exist_ok=True)
    (folder / "automations" / "a.yaml").write_text(AUTOMATION)
    namespace: dict[str, Any] = {}
    load_automations(namespace, folder, **how)
    return namespace


def test_it_comes_with_the_automations_unless_it_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(loaded(tmp_path)) == {"a", "muster_reconciler"}
    assert set(loaded(tmp_path, reconciler=False)) == {"a"}
    monkeypatch.setenv("MUSTER_RECONCILE", "off")
    assert set(loaded(tmp_path)) == {"a"}


def test_it_runs_when_the_variable_says_and_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = build_reconciler(Path("/srv/include"))
    assert dag is not None
    assert (dag.max_active_runs, dag.catchup, dag.is_paused_upon_creation) == (1, False, False)
    assert dag.timetable.expression == "*/10 * * * *"
    assert "operations" in dag.tags
    monkeypatch.setenv("MUSTER_RECONCILE", "0 * * * *")
    hourly = build_reconciler(Path("/srv/include"))
    assert hourly is not None
    assert hourly.timetable.expression == "0 * * * *"


def test_a_schedule_that_cannot_be_read_hides_no_automation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_RECONCILE", "every now and then")
    namespace = loaded(tmp_path)
    assert set(namespace) == {"a", "muster_reconciler"}
    assert "MUSTER_RECONCILE" in str(namespace["muster_reconciler"].doc_md)
    assert namespace["muster_reconciler"].task_ids == ["muster.not_valid"]
    assert namespace["muster_reconciler"].is_paused_upon_creation is False, "else it would stay so once it is mended"


def test_it_is_the_same_to_the_byte_each_time() -> None:
    one, other = build_reconciler(Path("/srv/include")), build_reconciler(Path("/srv/include"))
    assert one is not None
    assert other is not None
    assert DagSerialization.to_dict(one) == DagSerialization.to_dict(other)


class Supervisor:
    """Answers a task's questions as Airflow's supervisor does."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), []  # type: ignore[var-annotated]

    def send(self, question: Any) -> Any:
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def supervised(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> Supervisor:
    supervisor = Supervisor(*answers)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


def test_a_run_that_airflow_does_not_know_is_gone_and_never_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = supervised(monkeypatch, DRCount(count=0), DRCount(count=0))
    assert TaskAirflow().state("a", "r") is None
    with pytest.raises(PermanentError, match="does not know"):
        TaskAirflow().restart("a", "r")
    assert [type(question) for question in supervisor.asked] == [GetDRCount, GetDRCount]


def test_states_and_tasks_are_asked_over_the_tasks_own_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    supervised(monkeypatch, DRCount(count=1), DagRunStateResult(state="failed"))
    assert TaskAirflow().state("a", "r") == "failed"
    supervised(monkeypatch, TaskStatesResult(task_states={"r": {"close": "failed", "b_1": None}}))
    assert TaskAirflow().tasks("a", "r") == {"close": "failed", "b_1": None}


@pytest.mark.parametrize(
    ("is_paused", "versions", "paused"),
    [
        (True, ["2", "2", "2"], True),
        (False, ["2", "2", "2"], False),
        (False, ["2", "1", "2"], True),
        (False, ["1", "1", "2"], False),
        (False, ["1", "2", "2"], False),
        (False, [None, None, None], False),
    ],
)
def test_airflow_begins_no_task_of_a_dag_that_is_paused_or_that_no_file_has(
    monkeypatch: pytest.MonkeyPatch, is_paused: bool, versions: list[str | None], paused: bool
) -> None:
    own, dag, later = (result(version, is_paused=is_paused) for version in versions)
    supervisor = supervised(monkeypatch, own, dag, later)
    assert TaskAirflow().paused("a") is paused
    assert [question.dag_id for question in supervisor.asked] == ["muster_reconciler", "a", "muster_reconciler"]


@pytest.mark.parametrize("is_paused", [True, False])
@pytest.mark.parametrize("version", ["9f", None])
def test_the_version_of_one_in_another_bundle_does_not_tell_that_no_file_has_it(
    monkeypatch: pytest.MonkeyPatch, version: str | None, is_paused: bool
) -> None:
    other = result(version, is_paused=is_paused, bundle="payroll")
    supervised(monkeypatch, result("1a"), other, result("1b"))
    assert TaskAirflow().paused("pay") is is_paused


def result(version: str | None, *, is_paused: bool = False, bundle: str = "muster") -> DagResult:
    """What Airflow tells a task of a Dag."""
    return DagResult.model_construct(is_paused=is_paused, bundle_name=bundle, bundle_version=version)


def test_many_runs_are_asked_about_at_once_and_one_by_one_only_when_some_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = [f"r{number}" for number in range(150)]
    supervisor = supervised(
        monkeypatch,
        DRCount(count=50),
        DRCount(count=0),
        DRCount(count=1),
        *(DRCount(count=int(n == 7)) for n in range(50)),
    )
    assert TaskAirflow().running("a", runs) == [*runs[:50], runs[107]]
    assert len(supervisor.asked) == 53
    assert supervisor.asked[0].states == ["queued", "running"]


def test_a_restart_clears_the_run_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = supervised(monkeypatch, DRCount(count=1), OKResponse(ok=True))
    TaskAirflow().restart("a", "r")
    asked = supervisor.asked[-1]
    assert isinstance(asked, TriggerDagRun)
    assert (asked.dag_id, asked.run_id, asked.reset_dag_run) == ("a", "r", True)


@pytest.mark.parametrize(("status", "kind"), [(404, PermanentError), (503, TransientError)])
def test_airflows_refusals_are_told_from_its_outages(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    error = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": status})
    supervised(monkeypatch, AirflowRuntimeError(error=error))
    with pytest.raises(kind, match="GetDRCount"):
        TaskAirflow().running("a", ["r"])


@pytest.fixture
def place(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder, and the connection to a real database."""
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path))
    return tmp_path


def context(found: list[dict[str, Any]], since: Any = None) -> dict[str, Any]:
    """What Airflow gives a task of the reconciler, after `reconcile` has found something."""

    class TaskInstance:
        bundle_instance = None

        def xcom_pull(self, task_ids: str) -> list[dict[str, Any]]:
            assert task_ids == "reconcile"
            return found

    last = lazy_object_proxy.Proxy(lambda: since)
    return {"ti": TaskInstance(), "params": {"quiet": 10}, "prev_start_date_success": last}


def outbox(dsn: str) -> list[tuple[str, str]]:
    """Where people were told, and under which key."""
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT target, key FROM outbox ORDER BY id").fetchall()


def test_a_checkpoint_is_written_when_something_was_appended_and_a_cut_file_is_told_once(place: Path, dsn: str) -> None:
    path, task = place / CHECKPOINTS, WriteCheckpoint(task_id="checkpoint")
    log = EventLog(Database(dsn))
    assert task.execute(context([])) is None
    for number in (1, 2):
        log.append("a/r", [NewEvent(type="step.started", data={"step": f"s{number}", "index": None})])
        written = task.execute(context([]))
        assert written is not None
        assert written["number"] == number
    assert len(path.read_text().splitlines()) == 2
    assert task.execute(context([])) is None

    path.write_text(path.read_text().splitlines(keepends=True)[0])
    for _ in range(2):
        found = task.execute(context([]))
        assert found is not None
        assert found["kind"] == "checkpoint"
        assert "ends with checkpoint 1" in found["message"]
    assert [target for target, _ in outbox(dsn)] == ["#incidents"]
    assert len(path.read_text().splitlines()) == 1


CHECKED = """automation: a
checks: [{name: always, sql: SELECT 1}, {name: seldom, sql: SELECT 2, schedule: "@yearly"}]
steps: [{id: b, notify: [{slack: '#x', text: y}]}]
"""


def test_after_something_was_mended_all_checks_are_asked(place: Path, dsn: str) -> None:
    (place / "automations").mkdir()
    (place / "automations" / "a.yaml").write_text(CHECKED)
    task, now = AskChecks(task_id="checks", include=place), datetime.now(UTC)
    # A year that began in between would make the other check due as well.
    just_now = context([{"mended": False}], now - timedelta(seconds=1))
    assert [each["subject"] for each in task.execute(just_now)] == ["a/always"]
    mended = context([{"mended": True}], now - timedelta(seconds=1))
    assert [each["subject"] for each in task.execute(mended)] == ["a/always", "a/seldom"]
    first = context([{"mended": False}])
    assert [each["subject"] for each in task.execute(first)] == ["a/always", "a/seldom"]
    assert [each["subject"] for each in task.execute(context([]))] == ["a/always", "a/seldom"]
    assert len(outbox(dsn)) == 2


def test_the_tasks_log_and_xcom_say_what_was_found_and_the_task_is_green(
    place: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO outbox (key, channel, target, text, status, error)"
            " VALUES ('k', 'slack', '#ops', 'hello', 'failed', 'PermanentError: gone')"
        )
    supervised(monkeypatch)
    (found,) = Reconcile(task_id="reconcile").execute(context([]))
    assert (found["kind"], found["subject"], found["mended"]) == ("notice", "k", False)
    json.dumps(found)
    assert [target for target, _ in outbox(dsn)] == ["#ops", "#incidents"]


def test_no_automation_may_take_the_reconcilers_name() -> None:
    assert RECONCILER in DAGS
