"""Promises of `muster users` on the real Airflow: nobody has to start it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from muster.errors import MusterError
from muster.local.client import AirflowClient
from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AUTOMATION = """
automation: proving_users
steps:
  - {id: ask, human: {ask: "Go on?", assignees: [finance-lead, cfo], approvals: 2}}
"""


def test_who_is_added_answers_a_question_that_is_open_already(airflow: Airflow) -> None:
    def muster(*arguments: str) -> str:
        here = {"MUSTER_PROJECT": str(airflow.project), "MUSTER_STATE": str(airflow.stack.project.state)}
        command = [sys.executable, "-P", "-m", "muster.cli", *arguments]
        done = subprocess.run(command, env=os.environ | here, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = airflow.stack.supervisor.components["api-server"].process.pid
    airflow.automation("proving_users", AUTOMATION)
    run = airflow.start("proving_users", "one")
    (question,) = airflow.waiting(run, "ask")
    airflow.answer(question)
    password = json.loads(muster("users", "add", "cfo", "--json"))["password"]
    with AirflowClient(airflow.stack.url.replace("localhost", "127.0.0.1"), "cfo", password) as cfo:
        cfo.answer(question["task_instance"], "Approve")
        assert airflow.finish(run) == "success"
    muster("users", "remove", "cfo")
    with (
        AirflowClient(airflow.stack.url.replace("localhost", "127.0.0.1"), "cfo", password) as gone,
        pytest.raises(MusterError, match="does not know cfo"),
    ):
        gone.dags()
    assert airflow.stack.supervisor.components["api-server"].process.pid == before, "it was not started again"
