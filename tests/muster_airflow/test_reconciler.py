"""The reconciler's Dag: there with the automations, light, and switched by one variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    DagRunStateResult,
    DRCount,
    ErrorResponse,
    GetDRCount,
    OKResponse,
    TaskStatesResult,
    TriggerDagRun,
)
from airflow.serialization.serialized_objects import DagSerialization

from muster.errors import PermanentError, TransientError
from muster_airflow import load_automations
from muster_airflow.airflow_runs import TaskAirflow
from muster_airflow.compiler.reconciler import build_reconciler

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
    assert namespace["muster_reconciler"].tasks == []


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
        TaskAirflow().has_running("a")
