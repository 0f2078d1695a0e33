"""Promises of an answer in Airflow's API server: it is in the log before it is taken, or it is not taken."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
import uvicorn
from fastapi.testclient import TestClient

from muster.approvals.asking import request
from muster.database import Database
from muster.execution.performing import begin
from muster.execution.references import WorkRef, run_id
from muster.execution.work_item import WorkItem
from muster.language import load_folder
from muster.local.airflow import connection_json
from muster.runs.opening import Opening, open_run
from support.runs import Site
from support.waiting import hold, in_turn

AUTOMATION = """
automation: asking
steps:
  - id: ask
    human: {ask: "Pay?", assignees: [lead, deputy, asker], approvals: 2, within: 1h}
  - {id: pay, notify: [{slack: "#ops", text: paid}]}
"""
_numbers = count(1)


@dataclass
class Question:
    """A question that Airflow shows, and the log of its run."""

    server: TestClient
    site: Site
    run: str

    def answer(self, by: str, option: str = "Approve", **values: Any) -> Any:
        """Answer over Airflow's REST API, signed in as somebody."""
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=by, role="admin"))
        return self.server.patch(
            f"/api/v2/dags/asking/dagRuns/{self.run.partition('/')[2]}/taskInstances/ask/-1/hitlDetails",
            json={"chosen_options": [option], "params_input": values},
            headers={"Authorization": f"Bearer {token}"},
        )

    def in_airflow(self) -> tuple[str, bool]:
        """The state of its task, and whether Airflow has an answer."""
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            ti = session.scalar(
                select(TaskInstance)
                .where(TaskInstance.run_id == self.run.partition("/")[2])
                .where(TaskInstance.task_id == "ask")
            )
            assert ti is not None
            detail = session.get(HITLDetail, ti.id)
            assert detail is not None
            return str(ti.state), detail.responded_at is not None

    def xcom(self) -> Any:
        """What the task gave back, by Airflow."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            return session.scalar(select(XComModel.value).where(XComModel.run_id == self.run.partition("/")[2]))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the log says of it."""
        return [dict(e.data) for e in self.site.services.log.read(self.run) if e.type == f"approval.{kind}"]


@pytest.fixture(scope="module")
def published(server: TestClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The automation in Airflow."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    from muster_airflow.loading import load_automations

    include = tmp_path_factory.mktemp("asking") / "include"
    (include / "automations").mkdir(parents=True)
    (include / "automations" / "asking.yaml").write_text(AUTOMATION)
    namespace: dict[str, Any] = {}
    load_automations(namespace, include)
    bag = DagBag(dag_folder=os.devnull, collect_dags=False)
    bag.bag_dag(namespace["asking"])
    sync_bag_to_db(bag, "dags-folder", None)
    return include


@pytest.fixture
def ask(
    server: TestClient, published: Path, log: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Question]]:
    """Puts a question, in the log and in Airflow."""

    # To Airflow a person is somebody who can sign in.
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "lead:admin,deputy:admin,asker:admin")

    def put() -> Question:
        site = Site.of(published, log, tmp_path)
        name = f"asked__{next(_numbers)}"
        run = run_id("asking", name)
        definition = load_folder(published).definitions["asking"]
        opening = Opening(
            run=run,
            dag_id="asking",
            dag_run_id=name,
            definition=definition,
            bundle_version=None,
            conf={},
            requested_by="asker",
        )
        site.do(open_run(site.services, opening))

        async def asked() -> None:
            work_item = await begin(site.services, WorkRef(run=run, step="ask", lane="worker"))
            assert isinstance(work_item, WorkItem)
            await request(site.services, work_item)

        site.do(asked())
        _in_airflow(name)
        return Question(server, site, run)

    return put


def _in_airflow(name: str) -> None:
    from airflow.models.dagbag import DBDagBag
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import select

    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag("asking", session=session)
        assert dag is not None
        now = datetime.now(UTC)
        dag.create_dagrun(
            run_id=name,
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state="running",
            session=session,
        )
        ti = session.scalar(select(TaskInstance).where(TaskInstance.run_id == name, TaskInstance.task_id == "ask"))
        assert ti is not None
        ti.state, ti.next_method, ti.next_kwargs = "awaiting_input", "execute_complete", {}
        people = [{"id": who, "name": who} for who in ("lead", "deputy")]
        session.add(HITLDetail(ti_id=ti.id, options=["Approve", "Reject"], subject="Pay?", params={}, assignees=people))


def test_an_answer_is_in_the_log_when_airflow_says_that_it_was_taken(ask: Callable[[], Question]) -> None:
    question = ask()
    answer = question.answer("lead", "Reject", note="not ordered")
    assert answer.status_code == 200, answer.text
    (answered,) = question.events("answered")
    assert (answered["approved"], answered["by"], answered["by_id"]) == (False, "lead", "lead")
    assert answered["note"] == "not ordered"
    assert question.in_airflow() == ("success", True)
    assert question.xcom()["by"] == "lead"


def test_the_first_of_two_approvals_counts_and_leaves_the_question_open(ask: Callable[[], Question]) -> None:
    question = ask()
    first = question.answer("lead")
    assert (first.status_code, first.json()) == (202, {"detail": "1 of 2; one more is needed."})
    assert question.in_airflow() == ("awaiting_input", False)
    again = question.answer("lead")
    assert (again.status_code, len(question.events("granted"))) == (403, 1), "given again, it is refused"
    assert again.json()["detail"] == (
        "lead has approved it already, which counts once. 1 of 2; one more is needed. It waits for deputy."
    )
    assert [event["by"] for event in question.events("refused")] == ["lead"]
    assert question.answer("deputy").status_code == 200
    assert question.events("answered")[0]["approvers"] == ["lead", "deputy"]


@pytest.fixture
def command(
    server: TestClient, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `muster` in a process of its own, against the server on a port of its own."""
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps(dict.fromkeys(("lead", "deputy", "asker"), "pass")))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = uvicorn.Server(uvicorn.Config(server.app, lifespan="off", log_level="error"))
    thread = Thread(target=lambda: serving.run([listener]))
    thread.start()
    place = {"AIRFLOW_URL": f"http://127.0.0.1:{listener.getsockname()[1]}", "MUSTER_DSN": dsn}
    place["MUSTER_PROJECT"] = str(Path(__file__).parents[3])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "muster.cli", *arguments],
            env=os.environ | place,
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
        )

    yield run
    serving.should_exit = True
    thread.join()


def test_the_command_says_how_many_are_missing_and_refuses_the_same_person_again(
    ask: Callable[[], Question], command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    question = ask()
    first = command("approve", question.run, "--as", "lead")
    assert (first.returncode, first.stdout) == (0, "lead approved: Pay? 1 of 2; one more is needed.\n"), first.stderr
    again = command("approve", question.run, "--as", "lead")
    assert (again.returncode, again.stdout) == (1, "")
    assert "lead has approved it already, which counts once. 1 of 2; one more is needed. It waits for deputy." in (
        again.stderr
    )
    last = command("approve", question.run, "--as", "deputy", "--json")
    assert (last.returncode, json.loads(last.stdout)[0]["answer"]) == (0, "approved"), last.stderr
    assert question.events("answered")[0]["approvers"] == ["lead", "deputy"]


def test_without_the_log_nothing_is_answered_and_the_person_is_told(
    ask: Callable[[], Question], dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = ask()
    monkeypatch.setattr("muster_airflow.answers.LONGEST_WAIT", 2.0)
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json("postgresql://nobody:x@127.0.0.1:1/none"))
    refused = question.answer("lead", "Reject")
    assert refused.status_code == 503
    assert "Muster's log does not answer" in refused.json()["detail"]
    assert question.in_airflow() == ("awaiting_input", False)
    assert not question.events("answered")
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    assert question.answer("lead", "Reject").status_code == 200
    assert question.in_airflow() == ("success", True)


def test_an_answer_that_cannot_be_written_in_time_is_not_answered_and_the_person_is_told(
    ask: Callable[[], Question], dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log can be read, and who else appends to it hangs."""
    question = ask()
    monkeypatch.setattr("muster_airflow.answers.LONGEST_WAIT", 2.0)
    with psycopg.connect(dsn) as holder:
        hold(holder, question.run)
        refused = question.answer("lead", "Reject")
    assert (refused.status_code, question.in_airflow()) == (503, ("awaiting_input", False))
    assert "Muster's log does not answer" in refused.json()["detail"]
    assert not question.events("answered")
    assert question.answer("lead", "Reject").status_code == 200
    assert (len(question.events("answered")), question.in_airflow()) == (1, ("success", True))


def test_an_answer_that_comes_as_its_run_ends_is_in_neither_log_nor_airflow(
    ask: Callable[[], Question], dsn: str, tmp_path: Path
) -> None:
    question = ask()
    closing = Site.of(question.site.include, Database(dsn), tmp_path)
    _, refused = in_turn(
        dsn,
        question.run,
        lambda: closing.close(question.run, {"ask": "failed"}),
        lambda: question.answer("lead", "Reject"),
    )
    assert (refused.status_code, refused.json()["detail"]) == (409, "It is not asked any more: the run has ended.")
    assert (question.events("answered"), question.in_airflow()) == ([], ("awaiting_input", False))


def test_an_answer_that_airflow_lost_stands_and_ends_the_task_when_it_is_given_again(
    ask: Callable[[], Question],
) -> None:
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    question = ask()

    def die(_: Any) -> None:
        if question.events("answered"):
            raise OSError("killed between the two commits")

    event.listen(Session, "before_commit", die)
    try:
        assert question.answer("lead", "Reject").status_code == 500
    finally:
        event.remove(Session, "before_commit", die)
    assert (len(question.events("answered")), question.in_airflow()) == (1, ("awaiting_input", False))
    other = question.answer("deputy")
    assert (other.status_code, other.json()["detail"]) == (409, "It was rejected already, by lead.")
    assert question.answer("lead", "Reject").status_code == 200
    assert (len(question.events("answered")), question.in_airflow()) == (1, ("success", True))


def test_an_answer_after_its_time_is_refused_in_words(ask: Callable[[], Question]) -> None:
    question = ask()
    from muster_airflow import answers

    late = datetime.now(UTC).replace(year=2100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow.api_fastapi.core_api.routes.public.hitl.timezone.utcnow", lambda: late)
        refused = question.answer("lead")
    assert answers.STATUS["closed"] == refused.status_code == 409
    assert "Time is up" in refused.json()["detail"]
    assert question.in_airflow() == ("awaiting_input", False)


def test_a_task_that_began_to_wait_in_the_moment_of_the_answer_is_ended(ask: Callable[[], Question]) -> None:
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import event, update
    from sqlalchemy.orm import object_session

    question = ask()
    _set_state(question, "running")

    def begin_to_wait(detail: Any, *_: Any) -> None:
        session = object_session(detail)
        assert session is not None
        session.connection().execute(
            update(TaskInstance).where(TaskInstance.id == detail.ti_id).values(state="awaiting_input")
        )

    event.listen(HITLDetail.responded_at, "set", begin_to_wait)
    try:
        assert question.answer("lead", "Reject").status_code == 200
    finally:
        event.remove(HITLDetail.responded_at, "set", begin_to_wait)
    assert question.in_airflow() == ("success", True)


def _set_state(question: Question, state: str) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    task = (TaskInstance.run_id == question.run.partition("/")[2], TaskInstance.task_id == "ask")
    with create_session() as session:
        session.execute(update(TaskInstance).where(*task).values(state=state))
