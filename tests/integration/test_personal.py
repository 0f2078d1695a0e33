"""Promise on the real Airflow: a text about a person stands nowhere but where people must read it, and once the person
is forgotten nowhere in Muster's own places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from muster.events.personal import Vault, load_master
from muster.execution.personal import PersonalLog
from support.airflow import Airflow
from support.model_server import ModelServer
from support.sources import source_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

MARKER = "zqx-jane-4711"
SKILLS = source_of(__file__, "personal")
AGENTS = """department: tests
agents:
  - {id: proving_judge, role: You judge., tiers: [{connection: proving_model}], retries: 0}
"""
CHILD = """automation: proving_below
inputs: {about: {type: string}}
steps:
  - {id: greet, skill: people.greet, with: {text: "{{ inputs.about }}"}}
"""
PARENT = """automation: proving_personal
inputs: {who: {type: string}}
personal: {subject: "{{ inputs.who }}"}
steps:
  - {id: read, skill: people.read, lock: ["person/{{ inputs.who }}"], with: {text: "{{ inputs.who }}"},
     compensate: {skill: people.undo, with: {text: "{{ output.text }}"}, retry: {times: 0}}}
  - {id: check, after: [read], each: "{{ steps.read.parts }}", skill: people.check, with: {part: "{{ item }}"}}
  - {id: shell, after: [read], operator: airflow.providers.standard.operators.bash.BashOperator, retry: {times: 0},
     with: {bash_command: "echo {{ inputs.who }}"}}
  - {id: broken, after: [read], operator: airflow.providers.standard.operators.bash.BashOperator, retry: {times: 0},
     with: {bash_command: "echo {{ inputs.who }}; exit 3"}}
  - {id: ask, after: [read], human: {ask: "Pay {{ inputs.who }}?", details: "It is {{ inputs.who }}.",
     assignees: [finance-lead]}}
  - {id: tell, after: [read], notify: [{email: "{{ inputs.who }}@example.com", text: "Dear {{ inputs.who }}"}]}
  - {id: deliver, after: [read], run: proving_below, with: {about: "{{ inputs.who }}"}}
  - {id: fail, after: [ask, deliver, tell], skill: people.fail, with: {text: "{{ inputs.who }}"}, retry: {times: 0}}
"""
IN_AIRFLOW = {"dag_run", "hitl_detail", "hitl_detail_history", "log"}
"""Airflow's tables in which it stands: the values of the trigger form, and the question with its answer."""
IN_MUSTER = {"outbox"}
"""Muster's, until the person is forgotten."""


def tables_with(dsn: str) -> dict[str, list[str]]:
    """The rows that hold the marker, by table; of every schema."""
    found: dict[str, list[str]] = {}
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, table)))
            if here := [row[:3000] for (row,) in rows if MARKER in row or MARKER.encode().hex() in row]:
                found[table] = here
    return found


def files_with(*folders: Path) -> list[str]:
    """The files that hold the marker."""
    return [
        str(path)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and MARKER.encode() in path.read_bytes()
    ]


def test_a_text_about_a_person_stands_where_people_must_read_it_and_nowhere_else(
    airflow: Airflow, models: ModelServer
) -> None:
    (airflow.project / "include" / "skills" / "people.py").write_text(SKILLS)
    airflow.automation("proving_below", CHILD)
    airflow.automation("proving_personal", PARENT)
    run = airflow.start("proving_personal", "marked", who=MARKER)
    (question,) = airflow.waiting(run, "ask")
    assert MARKER in question["subject"], "who decides must read it"
    airflow.answer(question)
    assert airflow.finish(run) == "failed"
    stack = airflow.stack
    log = PersonalLog(airflow.database, lambda: load_master(stack.project.state))
    said = {event.data.get("step"): event.data for event in log.read(run) if event.type == "step.succeeded"}
    assert said["shell"]["output"] == MARKER, "who holds the key reads it"
    assert len([event for event in log.read(run) if event.type == "step.set_aside"]) == 2
    assert "run.stuck" in airflow.types(run)
    (below,) = (event.data["child"] for event in log.read(run) if event.type == "child.requested")

    muster, foreign = tables_with(stack.dsn), tables_with(airflow_dsn(stack))
    assert set(muster) <= IN_MUSTER, muster
    assert set(foreign) <= IN_AIRFLOW, foreign
    assert "dag_run" in foreign
    own = [path for path in files_with(stack.project.artifacts) if not path.endswith("letter.txt")]
    assert own == []
    assert files_with(stack.project.logs, stack.project.airflow_home) == []
    pages = [page(airflow, f"/muster/runs/{each}") for each in (run, below)]
    assert all(len(page) > 500 for page in pages)
    assert not any(MARKER in page for page in pages)

    done = airflow.command("forget", MARKER, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert Vault(lambda: load_master(stack.project.state)).name_id(MARKER) in done.stdout
    assert tables_with(stack.dsn) == {}
    assert files_with(stack.project.artifacts) == []
    assert airflow.log.verify(run) is None
    assert airflow.log.verify(below) is None


def page(airflow: Airflow, path: str) -> str:
    """A page of the run."""
    client = airflow.client
    address = f"{str(client._http.base_url).rstrip('/')}{path}"
    return httpx.get(address, headers=client._headers("/api/v2"), timeout=60).text


def airflow_dsn(stack: Any) -> str:
    """Airflow's own database."""
    return str(stack._prepared.airflow)
