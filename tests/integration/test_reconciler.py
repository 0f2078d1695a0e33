"""Promises of the reconciler on the real Airflow: what died goes on where it stopped, and people are told once."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from muster.events.model import EventType, NewEvent
from muster.local.airflow_runs import RestAirflow
from muster.operations.reconciling import Scope
from muster.operations.reconciling import reconcile as reconcile_now
from support.airflow import Airflow
from support.sources import source_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SKILLS = source_of(__file__, "reconciler")
AUTOMATION = """automation: proving_reconciler
incidents: [{slack: "#reconciled"}]
inputs: {folder: {type: string}}
steps:
  - {id: one, skill: reconciled.mark, with: {folder: "{{ inputs.folder }}"},
     compensate: {skill: reconciled.mark, with: {folder: "{{ inputs.folder }}"}}}
  - {id: many, each: "{{ [1, 2] }}", skill: reconciled.mark, with: {folder: "{{ inputs.folder }}"}}
  - {id: ask, human: {ask: "Go on?", assignees: [finance-lead]}}
  - {id: two, skill: reconciled.mark, with: {folder: "{{ inputs.folder }}"}}
"""
WAITING = """automation: proving_lost
inputs: {folder: {type: string}}
steps:
  - {id: one, skill: reconciled.mark, with: {folder: "{{ inputs.folder }}"}}
  - {id: long, timeout: 1m, skill: reconciled.wait, with: {folder: "{{ inputs.folder }}", seconds: 10}}
  - {id: two, skill: reconciled.mark, with: {folder: "{{ inputs.folder }}"}}
"""
AHEAD = """
UPDATE job SET latest_heartbeat = clock_timestamp() + interval '1 hour'
    WHERE id = (SELECT max(id) FROM job WHERE job_type = 'TriggererJob' AND state = 'running')
"""
PUT_OFF = """
UPDATE task_instance SET state = 'up_for_retry', try_number = 1, end_date = clock_timestamp() + interval '4000 s'
    WHERE dag_id = 'proving_unopened' AND run_id = 'unopened' AND task_id = 'open'
"""
DIED = """
UPDATE task_instance SET state = 'failed' WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s
    AND state IS DISTINCT FROM 'success';
"""
ENDED = "UPDATE dag_run SET state = 'failed' WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s"


def die(airflow: Airflow, run: str) -> None:
    """Leave the run in Airflow as when everything under way was lost, and the tasks that end it with it."""
    dag_id, _, run_id = run.partition("/")
    with psycopg.connect(airflow.stack._prepared.airflow) as connection:
        for statement in (ENDED, DIED):
            connection.execute(statement, {"dag_id": dag_id, "run_id": run_id})


def reconcile(airflow: Airflow) -> list[dict[str, Any]]:
    """Run the reconciler's Dag now: what it found."""
    run_id = f"test__{uuid4().hex[:8]}"
    airflow.start("muster_reconciler", run_id, quiet=0)
    assert airflow.finish(f"muster_reconciler/{run_id}") == "success"
    path = f"/api/v2/dags/muster_reconciler/dagRuns/{run_id}/taskInstances/reconcile/xcomEntries/return_value"
    found: list[dict[str, Any]] = airflow.client.get(path, deserialize=True)["value"]
    return found


def test_a_run_that_a_person_ended_in_airflow_is_undone(airflow: Airflow) -> None:
    folder = begin(airflow, "ended")
    run = airflow.start("proving_reconciler", "ended", folder=str(folder))
    airflow.waiting(run, "ask")
    path = "/api/v2/dags/proving_reconciler/dagRuns/ended"
    airflow.client._send("PATCH", path, json={"state": "failed"})
    assert airflow.finish(run) == "failed"
    assert airflow.queries.run(run).status == "open"

    (found,) = [each for each in reconcile(airflow) if each["subject"] == run]
    assert "ended in Airflow by hand: what it did is undone" in found["message"]
    airflow.until("the undoing", lambda: airflow.queries.run(run).status == "compensated")
    assert airflow.finish(run) == "failed"
    assert sorted((folder / "marks").read_text().split()) == ["many0", "many1", "one", "one"]
    told = airflow.sql("SELECT target FROM outbox WHERE run = %s ORDER BY id", run)
    assert told == [("#approvals",), ("#reconciled",)], "the question, and what became of the run"


def test_it_is_there_and_not_paused(airflow: Airflow) -> None:
    dag = airflow.client.dag("muster_reconciler")
    assert dag is not None
    assert not dag["is_paused"]
    assert not airflow.client.import_errors()


def begin(airflow: Airflow, name: str) -> Path:
    """The automation and its skill in the running project; a folder for the marks that a run leaves."""
    (airflow.project / "include" / "skills" / "reconciled.py").write_text(SKILLS)
    airflow.automation("proving_reconciler", AUTOMATION)
    folder = airflow.project / "reconciled" / name
    folder.mkdir(parents=True)
    return folder


def test_a_run_that_died_goes_on_where_it_stopped_and_people_are_told_once(airflow: Airflow) -> None:
    folder = begin(airflow, "died")
    run = airflow.start("proving_reconciler", "died", folder=str(folder))
    airflow.waiting(run, "ask")
    die(airflow, run)
    opened = next(airflow.log.read(run))
    gone = "proving_reconciler/gone"
    data = {**opened.data, "dag_run_id": "gone"}
    airflow.log.append(gone, [NewEvent(type=EventType.RUN_OPENED, data=data, key="opened")])

    found = {each["subject"]: each for each in reconcile(airflow)}
    assert found[run]["mended"]
    assert "goes on where it stopped" in found[run]["message"]
    assert "does not know it any more" in found[gone]["message"]

    airflow.until("the second question", lambda: airflow.types(run).count("run.begun") == 1)
    airflow.waiting(run, "ask")
    die(airflow, run)
    said = airflow.command("reconcile", "--quiet", "0", "--json")
    assert said.returncode == 0, said.stderr
    (by_hand,) = [each for each in json.loads(said.stdout) if each["subject"] == run]
    assert by_hand["mended"]
    airflow.until("the third question", lambda: airflow.types(run).count("run.begun") == 2)
    (question,) = airflow.waiting(run, "ask")
    airflow.answer(question)
    assert airflow.finish(run) == "success"
    assert airflow.queries.run(run).status == "succeeded"
    assert sorted((folder / "marks").read_text().split()) == ["many0", "many1", "one", "two"]
    assert airflow.log.verify(run) is None

    assert gone not in {each["subject"] for each in reconcile(airflow)}
    told = airflow.sql("SELECT target FROM outbox WHERE key LIKE 'reconciler/%%' AND run IN (%s, %s)", run, gone)
    assert told == [("#reconciled",)]
    assert airflow.queries.run(gone).status == "failed"
    checkpoints = airflow.stack.project.state / "checkpoints.jsonl"
    assert len(checkpoints.read_text().splitlines()) >= 2


def test_a_restarted_run_that_died_goes_on_with_what_was_to_be_done_again(airflow: Airflow) -> None:
    folder = begin(airflow, "later")
    run = airflow.start("proving_reconciler", "later", folder=str(folder))
    (question,) = airflow.waiting(run, "ask")
    airflow.answer(question)
    assert airflow.finish(run) == "success"
    said = airflow.command("restart", run, "--from", "ask")
    assert said.returncode == 0, said.stderr
    airflow.waiting(run, "ask")
    die(airflow, run)

    (found,) = [each for each in reconcile(airflow) if each["subject"] == run]
    assert found["mended"]
    assert "goes on where it stopped" in found["message"]
    airflow.until("the third start", lambda: airflow.types(run).count("run.begun") == 2)
    (question,) = airflow.waiting(run, "ask")
    airflow.answer(question)
    assert airflow.finish(run) == "success"
    assert airflow.queries.run(run).status == "succeeded"
    assert sorted((folder / "marks").read_text().split()) == ["many0", "many1", "one", "two", "two"]
    begun = airflow.log.read(run, types=[EventType.RUN_BEGUN])
    assert [(event.data["epoch"], event.data["stands"]) for event in begun] == [(1, ["many", "one"])] * 2
    assert airflow.log.verify(run) is None


def test_what_a_triggerer_was_at_that_died_with_its_clock_ahead_is_performed_again(airflow: Airflow) -> None:
    folder = begin(airflow, "lost")
    airflow.automation("proving_lost", WAITING)
    run = airflow.start("proving_lost", "lost", folder=str(folder))
    airflow.until("the wait", lambda: any(e.data.get("step") == "long" for e in airflow.log.read(run)))
    triggerer, before = airflow.stack.supervisor.components["triggerer"].process.pid, _triggerers(airflow)
    os.kill(triggerer, signal.SIGKILL)
    with psycopg.connect(airflow.stack._prepared.airflow) as connection:
        dead = connection.execute(AHEAD)
        assert dead.rowcount == 1
    airflow.until("another triggerer", lambda: _triggerers(airflow) > before)

    # An hour later nothing has happened: the dead one still counts as alive, so nobody else was given its work.
    now = datetime.now(UTC) + timedelta(hours=1)
    scope = Scope(database=airflow.database, airflow=RestAirflow(airflow.client), now=now)
    (found,) = [each for each in reconcile_now(scope) if each.subject == run]
    assert (found.kind, found.mended) == ("task", True)
    assert "long is deferred in Airflow, and nothing has happened in the log since" in found.message
    assert airflow.finish(run) == "success"
    assert (folder / "marks").read_text().split() == ["one", "long", "two"]
    assert airflow.types(run).count("run.begun") == 0, "it is still the same execution"
    with psycopg.connect(airflow.stack._prepared.airflow) as connection:
        connection.execute("UPDATE job SET state = 'failed', end_date = now() WHERE latest_heartbeat > now()")


def test_a_run_whose_opening_a_scheduler_with_its_clock_ahead_had_put_off_is_opened_at_once(airflow: Airflow) -> None:
    folder = begin(airflow, "unopened")
    airflow.automation("proving_unopened", AUTOMATION.replace("proving_reconciler", "proving_unopened"))
    airflow.client.pause("proving_unopened", paused=True)
    run = airflow.start("proving_unopened", "unopened", folder=str(folder))
    with psycopg.connect(airflow.stack._prepared.airflow) as connection:
        assert connection.execute(PUT_OFF).rowcount == 1
    airflow.client.pause("proving_unopened", paused=False)
    airflow.until("the run", lambda: airflow.client.run("proving_unopened", "unopened")["state"] == "running")
    scope = Scope(database=airflow.database, airflow=RestAirflow(airflow.client), now=datetime.now(UTC))
    (seen,) = [each for each in reconcile_now(replace(scope, mend=False)) if each.subject == run]
    assert not seen.mended
    assert airflow.types(run) == []
    (found,) = [each for each in reconcile_now(scope) if each.subject == run]
    assert (found.kind, found.mended) == ("run", True)
    (question,) = airflow.waiting(run, "ask")
    airflow.answer(question)
    assert airflow.finish(run) == "success"
    assert airflow.types(run).count("run.opened") == 1


def version_of(airflow: Airflow, dag: str) -> str | None:
    with psycopg.connect(airflow.stack._prepared.airflow) as connection:
        row = connection.execute("SELECT bundle_version FROM dag WHERE dag_id = %s", (dag,)).fetchone()
    return None if row is None else row[0]


def _triggerers(airflow: Airflow) -> int:
    with psycopg.connect(airflow.stack._prepared.airflow) as connection:
        query = "SELECT count(*) FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
        row = connection.execute(query).fetchone()
    return 0 if row is None else int(row[0])


def test_of_a_run_whose_automation_was_renamed_as_it_waited_people_are_told(airflow: Airflow) -> None:
    """Airflow examines no run of a Dag that no file has any more."""
    folder = begin(airflow, "renamed")
    path = airflow.automation("proving_renamed", AUTOMATION.replace("proving_reconciler", "proving_renamed"))
    source = path.read_text()
    run = airflow.start("proving_renamed", "one", folder=str(folder))
    (question,) = airflow.waiting(run, "ask")
    path.write_text(source.replace("automation: proving_renamed", "automation: proving_new_name"))
    airflow.until("the old name to go", lambda: RestAirflow(airflow.client).paused("proving_renamed"))
    assert not RestAirflow(airflow.client).paused("proving_new_name")
    # By which a task, which is not told that a Dag is stale, knows it.
    gone, there, own = (
        version_of(airflow, dag) for dag in ("proving_renamed", "proving_new_name", "muster_reconciler")
    )
    assert gone != there == own
    airflow.answer(question)
    airflow.until("the answer", lambda: "step.succeeded" in airflow.types(run)[-1:])
    time.sleep(20)

    scope = Scope(
        database=airflow.log.database,
        airflow=RestAirflow(airflow.client),
        now=datetime.now(UTC) + timedelta(minutes=20),
        mend=False,
    )
    (found,) = [each for each in reconcile_now(scope) if each.subject == run]
    assert "its automation is paused, or its file is gone" in found.message
    assert airflow.client.run("proving_renamed", "one")["state"] == "running"

    path.write_text(source)
    assert airflow.finish(run) == "success"
