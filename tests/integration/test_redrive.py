"""Promises of dead letters and restarts on the real Airflow: exactly what was asked for is done again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.airflow import Airflow
from support.depot import SKILLS as DEPOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SKILLS = DEPOT.replace("depot.", "ward.")
FOLDER = 'folder: "{{ inputs.folder }}"'
AUTOMATION = f"""automation: proving_redrive
inputs: {{folder: {{type: string}}}}
steps:
  - {{id: first, skill: ward.work, with: {{name: first, {FOLDER}}}}}
  - {{id: before, human: {{ask: "Begin?", assignees: [finance-lead]}}}}
  - {{id: each, each: [a, b, c], skill: ward.work, with: {{name: "{{{{ item }}}}", {FOLDER}}}}}
  - {{id: packed, each: "{{{{ steps.each }}}}", pack: 2, skill: ward.work, with: {{name: "{{{{ item }}}}", {FOLDER}}}}}
  - {{id: last, skill: ward.work, with: {{name: last, {FOLDER}}}}}
"""


def called(folder: Path) -> list[str]:
    """What was called since the last time, sorted."""
    lines = (folder / "calls").read_text().splitlines()
    (folder / "calls").unlink()
    return sorted(lines)


def test_an_item_is_redriven_and_a_run_restarted(airflow: Airflow) -> None:
    folder = airflow.project / "redrive"
    folder.mkdir()
    (folder / "b.broken").touch()
    (airflow.project / "include" / "skills" / "ward.py").write_text(SKILLS)
    airflow.automation("proving_redrive", AUTOMATION)
    run = airflow.start("proving_redrive", "wards", folder=str(folder))
    (question,) = airflow.waiting(run, "before")
    airflow.answer(question)
    assert airflow.finish(run) == "failed"
    assert called(folder) == ["each a", "each b", "each c", "first first", "last last", "packed a", "packed c"]

    letter = f"{run}#each[1]"
    listed = json.loads(airflow.command("dead-letters", "list", "--run", run, "--json").stdout)
    assert [it["id"] for it in listed] == [letter]
    shown = airflow.command("dead-letters", "redrive", letter, "--dry-run", "--json")
    tasks = json.loads(shown.stdout)["tasks"][run]
    assert ["each", 1] in tasks
    assert {"first", "before", "each", "each.items"}.isdisjoint(task for task in tasks if isinstance(task, str))
    assert airflow.queries.run(run).status == "failed"

    (folder / "b.broken").unlink()
    done = airflow.command("dead-letters", "redrive", letter, "--json")
    assert done.returncode == 0, done.stderr
    airflow.until("the run to end well", lambda: airflow.queries.run(run).status == "succeeded")
    assert airflow.finish(run) == "success"
    assert called(folder) == ["each b", "last last", "packed b"]
    assert json.loads(airflow.command("dead-letters", "list", "--run", run, "--json").stdout) == []

    refused = airflow.command("restart", run, "--from", "nothing")
    assert (refused.returncode, "has no step 'nothing'" in refused.stderr) == (1, True)
    assert airflow.command("restart", run, "--from", "packed").returncode == 0
    airflow.until("the second end", lambda: airflow.types(run).count("run.closed") == 3)
    assert airflow.finish(run) == "success"
    assert called(folder) == ["last last", "packed a", "packed b", "packed c"]
    assert airflow.types(run).count("approval.requested") == 1, "the approval before it stays valid"

    assert airflow.command("restart", run, "--from", "before").returncode == 0
    assert airflow.waiting(run, "before"), "asked again: it is after the step the restart begins with"
    assert airflow.types(run).count("approval.requested") == 2
    assert airflow.log.verify(run) is None
