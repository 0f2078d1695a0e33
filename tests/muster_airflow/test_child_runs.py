"""What Airflow is asked for by a step that runs another automation, and what its answers mean."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    DagRunStateResult,
    ErrorResponse,
    GetDagRunState,
    OKResponse,
    TriggerDagRun,
)
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from muster.errors import PermanentError, TransientError
from muster.events.model import Event
from muster.execution.outcome import Outcome
from muster.execution.references import WorkRef
from muster.runs.children import Child
from muster_airflow.operators.kinds.run import RunStep, _start
from muster_airflow.triggers.children import ChildTrigger, airflow_state
from support.supervisor import Supervisor, refused

AUTOMATIONS = {
    "child": "automation: child\nsteps:\n  - {id: tell, notify: [{slack: '#a', text: x}]}\n",
    "parent": "automation: parent\nsteps:\n  - {id: deliver, each: [1, 2], run: child}\n  - {id: once, run: child}\n",
}


def no(status: int, reason: str, message: str) -> AirflowRuntimeError:
    """The same with its words."""
    return refused(status, detail={"detail": {"reason": reason, "message": message}})


def child(name: str = "x") -> Child:
    requested = Event(
        type="child.requested", data={"step": "once", "index": None}, key="once/child@0", position=1, stream="parent/x",
        version=3, id=uuid4(), at=datetime.now(UTC), correlation="parent/x", previous_hash="", hash="",
    )  # fmt: skip
    return Child(automation="child", dag_run_id="child__1", inputs={"name": name}, requested=requested, proof="p")


def start(monkeypatch: pytest.MonkeyPatch, answer: Any, *, paused: bool = False) -> Supervisor:
    supervisor = Supervisor(answer, paused=paused)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    _start(child())
    return supervisor


def test_airflow_is_asked_once_with_the_inputs_and_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    (asked,) = start(monkeypatch, OKResponse(ok=True)).asked
    assert isinstance(asked, TriggerDagRun)
    assert (asked.dag_id, asked.run_id, asked.reset_dag_run) == ("child", "child__1", False)
    parent = {"run": "parent/x", "step": "once", "index": None, "key": "once/child@0", "proof": "p"}
    assert asked.conf == {"name": "x", "muster_parent": parent}


def test_a_run_that_is_there_already_is_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (no(404, "not_found", "Dag with dag_id: 'child' not found"), "not found"),
        (no(400, "import_errors", "Dag with dag_id 'child' has import errors"), "has import errors"),
        (no(400, "value_error", "Invalid input for param name"), "Invalid input"),
    ],
)
def test_what_airflow_never_starts_is_refused_with_its_words(
    monkeypatch: pytest.MonkeyPatch, answer: Exception, said: str
) -> None:
    with pytest.raises(PermanentError, match=said):
        start(monkeypatch, answer)


@pytest.mark.parametrize("answer", [refused(503), refused(None), ErrorResponse(error=ErrorType.GENERIC_ERROR)])
def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    with pytest.raises(TransientError):
        start(monkeypatch, answer)


@pytest.mark.parametrize("name", ["A\x00B", "\ud800"])
def test_what_airflows_database_cannot_store_is_refused_before_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    supervisor = Supervisor(OKResponse(ok=True), paused=False)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    with pytest.raises(PermanentError, match="cannot store"):
        _start(child(name))
    assert not any(isinstance(asked, TriggerDagRun) for asked in supervisor.asked)


def test_a_paused_dag_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError, match="is paused"):
        start(monkeypatch, refused(404), paused=True)


def test_a_run_that_was_started_before_its_dag_was_paused_is_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Knows(Supervisor):
        def send(self, message: Any) -> Any:
            return DagRunStateResult(state="running") if isinstance(message, GetDagRunState) else super().send(message)  # type: ignore[arg-type]

    exists = ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Knows(exists, paused=True), raising=False)
    _start(child())


@pytest.mark.parametrize(
    ("answer", "state"), [(DagRunStateResult(state="queued"), "queued"), (refused(404), None)]  # type: ignore[arg-type]
)  # fmt: skip
def test_the_triggerer_asks_airflow_how_a_run_is(monkeypatch: pytest.MonkeyPatch, answer: Any, state: Any) -> None:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(answer), raising=False)
    assert asyncio.run(airflow_state("child", "child__1")) == state


def test_an_answer_that_airflow_does_not_give_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Supervisor(refused(503)), raising=False)
    with pytest.raises(TransientError):
        asyncio.run(airflow_state("child", "child__1"))


def test_the_trigger_comes_back_as_it_was_stored() -> None:
    ref = WorkRef(run="parent/x", step="deliver", slot=1, lane="worker", attempt=2, epoch=3)
    path, arguments = ChildTrigger.of(ref).serialize()
    assert path == "muster_airflow.triggers.children.ChildTrigger"
    assert arguments == asdict(ref)
    assert ChildTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize(("status", "kind"), [("succeeded", TaskSuccessEvent), ("failed", TriggerEvent)])
def test_a_failure_goes_back_to_the_task_which_airflow_would_else_repeat(
    monkeypatch: pytest.MonkeyPatch, status: Any, kind: type
) -> None:
    trigger = ChildTrigger.of(WorkRef(run="parent/x", step="once"))

    async def once() -> Outcome:
        return Outcome(status=status)

    async def first() -> TriggerEvent:
        return await anext(aiter(trigger.run()))

    monkeypatch.setattr(trigger, "_once", once)
    assert type(asyncio.run(first())) is kind


def test_a_run_step_is_started_in_a_worker_and_has_a_task_that_undoes_it(tmp_path: Path) -> None:
    from muster_airflow.loading import load_automations

    folder = tmp_path / "include" / "automations"
    folder.mkdir(parents=True)
    for name, text in AUTOMATIONS.items():
        (folder / f"{name}.yaml").write_text(text)
    namespace: dict[str, Any] = {}
    load_automations(namespace, tmp_path / "include")
    dag = namespace["parent"]
    assert isinstance(dag.get_task("once"), RunStep)
    assert dag.get_task("deliver").is_mapped
    assert {"unwind.begin", "unwind.deliver", "unwind.once"} <= set(dag.task_ids)
    assert dag.get_task("unwind.deliver").upstream_task_ids == {"unwind.begin", "unwind.once"}
    assert dag.get_task("once").retries == 3
