"""Promises of four eyes where Airflow's auth manager calls people otherwise than they sign in: FAB, really run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muster.errors import MusterError
from muster.local.stack import Stack
from support.airflow import Airflow
from support.bank import BankServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

AUTH = Path(sys.prefix) / "auth"
"""Where the auth managers are installed, beside the project's own packages."""
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
PEOPLE = ("admin", "asker", "2", "finance-lead")
"""In the order of their ids: 1, 2, 3, 4. The id of one is the name of the next."""
AUTOMATION = """
automation: proving_four_eyes
steps:
  - {id: ask, human: {ask: "Go on?", assignees: [asker, "2", finance-lead], within: 1h}}
  - {id: after, skill: proving.note, with: {text: "{{ steps.ask.by }}"}}
"""
UNKNOWN = """
automation: proving_nobody
steps:
  - {id: ask, human: {ask: "Go on?", assignees: [nobody-here], within: 1h}}
"""


@pytest.fixture(scope="module")
def fab(project_folder: Callable[[], Path], witness: BankServer) -> Iterator[Airflow]:
    """A running Airflow with FAB."""
    if not AUTH.is_dir():
        pytest.skip("FAB is not installed beside the project: `make .venv/.auth`")
    variables = {"AIRFLOW__CORE__AUTH_MANAGER": FAB, "PYTHONPATH": str(AUTH), "PROVING_WITNESS": witness.url}
    stack = Stack(project_folder(), variables=variables)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MUSTER_USERS", "asker:user,2:user")
        try:
            stack.prepare()
            for name in PEOPLE:
                _create(stack, name)
            stack.launch()
            stack.wait_healthy()
            yield Airflow(stack)
        finally:
            stack.stop()
            stack.discard()


def _create(stack: Stack, name: str) -> None:
    arguments = ["--username", name, "--email", f"{name}@example.com", "--firstname", "A", "--lastname", "B"]
    login = ["--role", "Admin", f"--password={stack.credentials.logins[name].password}"]
    subprocess.run(
        [sys.executable, "-P", "-m", "airflow", "users", "create", *arguments, *login],
        env=stack.environment,
        check=True,
        capture_output=True,
    )


def _asked(fab: Airflow, by: str) -> tuple[str, dict[str, Any]]:
    run = f"proving_four_eyes/by-{by}"
    stack_client = fab.stack.client(by)
    stack_client.trigger("proving_four_eyes", run_id=f"by-{by}")
    (question,) = fab.waiting(run, "ask")
    return run, question


def _answered(fab: Airflow, run: str) -> tuple[str, str, bool]:
    assert fab.finish(run) == "success"
    (answer,) = (event.data for event in fab.log.read(run) if event.type == "approval.answered")
    return answer["by"], answer["by_id"], answer["approved"]


@pytest.mark.parametrize(
    ("requester", "approver", "id", "assigned"),
    [
        ("asker", "2", "3", [{"id": "3", "name": "2"}, {"id": "4", "name": "finance-lead"}]),
        ("2", "asker", "2", [{"id": "2", "name": "asker"}, {"id": "4", "name": "finance-lead"}]),
    ],
)
def test_under_fab_the_requester_cannot_approve_and_whose_id_looks_alike_can(
    fab: Airflow, requester: str, approver: str, id: str, assigned: list[dict[str, str]]
) -> None:
    fab.automation("proving_four_eyes", AUTOMATION)
    run, question = _asked(fab, requester)
    assert next(fab.log.read(run)).data["requested_by"] == requester
    assert question["assigned_users"] == assigned
    with pytest.raises(MusterError, match=f"{requester} may not answer"):
        fab.stack.client(requester).answer(question["task_instance"], "Approve")
    with pytest.raises(MusterError, match="admin may not answer"):
        fab.client.answer(question["task_instance"], "Approve")
    fab.stack.client(approver).answer(question["task_instance"], "Approve")
    assert _answered(fab, run) == (approver, id, True)


def test_a_question_to_people_whom_nobody_knows_is_refused_in_words(fab: Airflow) -> None:
    fab.automation("proving_nobody", UNKNOWN)
    run = fab.start("proving_nobody", "one")
    assert fab.finish(run) == "failed"
    (failed,) = (event.data for event in fab.log.read(run) if event.type == "step.failed")
    assert "Nobody can answer: FabAuthManager knows no nobody-here." in failed["error"]["message"]
