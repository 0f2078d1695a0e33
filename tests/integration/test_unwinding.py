"""Promises of the saga on the real Airflow: undone in reverse, stuck, resumed, cancelled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.airflow import Airflow
from support.sources import source_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SKILLS = source_of(__file__, "unwinding")
UNDO = "compensate: {skill: depot.undo, with: {folder: '{{ inputs.folder }}', said: '{{ output }}'}, retry: {times: 0}}"
AUTOMATION = f"""automation: proving_saga
incidents: [{{slack: "#stuck"}}]
inputs: {{folder: {{type: string}}, breaks: {{type: boolean, default: false}}}}
steps:
  - {{id: reserve, skill: depot.act, with: {{name: reserve}}, {UNDO}}}
  - {{id: pay, skill: depot.act, with: {{name: pay}}, {UNDO}}}
  - {{id: ask, human: {{ask: "Go on?", assignees: [finance-lead]}}}}
  - {{id: ship, skill: depot.act, with: {{name: ship, breaks: "{{{{ inputs.breaks }}}}"}}}}
"""


def states(airflow: Airflow, run: str) -> dict[str, Any]:
    dag_id, _, run_id = run.partition("/")
    return {task["task_id"]: task["state"] for task in airflow.client.tasks(dag_id, run_id)}


def begin(airflow: Airflow, name: str, **inputs: Any) -> tuple[str, Any]:
    (airflow.project / "include" / "skills").mkdir(exist_ok=True)
    (airflow.project / "include" / "skills" / "depot.py").write_text(SKILLS)
    folder = airflow.project / "depot" / name
    folder.mkdir(parents=True)
    airflow.automation("proving_saga", AUTOMATION)
    run = airflow.start("proving_saga", name, folder=str(folder), **inputs)
    return run, folder


def test_a_broken_run_is_undone_stuck_and_resumed(airflow: Airflow) -> None:
    run, folder = begin(airflow, "stuck", breaks=True)
    (folder / "reserve.broken").touch()
    (question,) = airflow.waiting(run, "ask")
    airflow.answer(question)
    assert airflow.finish(run) == "failed"
    assert (folder / "undone").read_text() == "pay pay\n"
    assert airflow.queries.run(run).status == "stuck"
    seen = states(airflow, run)
    assert (seen["unwind.begin"], seen["unwind.pay"], seen["unwind.reserve"]) == ("success", "success", "failed")
    told = airflow.sql("SELECT target FROM outbox WHERE run = %s ORDER BY id", run)
    assert told == [("#approvals",), ("#stuck",)], "the question, and that undoing has stopped"

    (folder / "reserve.broken").unlink()
    answered = airflow.command("resume", run, "--note", "mended", "--json")
    assert json.loads(answered.stdout)["tasks"] == 2
    airflow.until("the undoing", lambda: airflow.queries.run(run).status == "compensated")
    assert airflow.finish(run) == "failed"
    assert (folder / "undone").read_text() == "pay pay\nreserve reserve\n"
    again = airflow.command("resume", run)
    assert again.returncode == 1
    assert "is not stuck: it is compensated" in again.stderr
    assert airflow.log.verify(run) is None


def test_a_cancelled_run_stops_waiting_and_is_undone(airflow: Airflow) -> None:
    run, folder = begin(airflow, "cancelled")
    airflow.waiting(run, "ask")
    assert airflow.command("cancel", run, "--reason", "wrong order").returncode == 0
    assert airflow.finish(run) == "failed"
    assert (folder / "undone").read_text() == "pay pay\nreserve reserve\n"
    row = airflow.queries.run(run)
    assert (row.status, row.reason) == ("compensated", "cancelled by admin: wrong order")


def test_a_run_that_succeeds_undoes_nothing(airflow: Airflow) -> None:
    run, folder = begin(airflow, "fine")
    (question,) = airflow.waiting(run, "ask")
    airflow.answer(question)
    assert airflow.finish(run) == "success"
    seen = states(airflow, run)
    assert {seen[name] for name in seen if name.startswith("unwind.")} == {"skipped"}
    assert not (folder / "undone").exists()
