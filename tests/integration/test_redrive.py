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


STOPPING = f"""automation: proving_stop
inputs: {{folder: {{type: string}}}}
steps:
  - id: each
    each: [a, b, c]
    failures: stop
    lock: ward
    skill: ward.work
    with: {{name: "{{{{ item }}}}", {FOLDER}}}
  - {{id: after, each: "{{{{ steps.each }}}}", skill: ward.work, with: {{name: "{{{{ item }}}}", {FOLDER}}}}}
"""


def test_an_item_that_fails_stops_its_list_and_a_redrive_does_the_rest(airflow: Airflow) -> None:
    folder = airflow.project / "stop"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.broken").touch()
    (airflow.project / "include" / "skills" / "ward.py").write_text(SKILLS)
    airflow.automation("proving_stop", STOPPING)
    run = airflow.start("proving_stop", "stopped", folder=str(folder))
    assert airflow.finish(run) == "failed"
    (only,) = called(folder)
    steps = [step for step in airflow.queries.steps(run) if step.step == "each" and step.index >= 0]
    assert sorted(step.reason or str(step.status) for step in steps) == ["failed", "item_failed", "item_failed"]
    (letter,) = json.loads(airflow.command("dead-letters", "list", "--run", run, "--json").stdout)

    for name in "abc":
        (folder / f"{name}.broken").unlink()
    assert airflow.command("dead-letters", "redrive", letter["id"]).returncode == 0
    airflow.until("the run to end well", lambda: airflow.queries.run(run).status == "succeeded")
    assert airflow.finish(run) == "success"
    assert called(folder) == [f"{step} {name}" for step in ("after", "each") for name in "abc"]
    assert only.startswith("each ")


def test_a_run_goes_on_with_today_s_yaml(airflow: Airflow) -> None:
    folder = airflow.project / "current"
    folder.mkdir()
    (folder / "wrong.broken").touch()
    (airflow.project / "include" / "skills" / "ward.py").write_text(SKILLS)
    steps = f"""automation: proving_current
inputs: {{folder: {{type: string}}}}
steps:
  - {{id: first, skill: ward.work, with: {{name: first, {FOLDER}}}}}
  - {{id: middle, skill: ward.work, with: {{name: MIDDLE, {FOLDER}}}}}
"""
    airflow.automation("proving_current", steps.replace("MIDDLE", "wrong"))
    run = airflow.start("proving_current", "began_earlier", folder=str(folder))
    assert airflow.finish(run) == "failed"
    assert called(folder) == ["first first", "middle wrong"]
    before = airflow.queries.run(run)

    item = f'skill: ward.work, with: {{name: "{{{{ item }}}}", {FOLDER}}}'
    more = f"""  - {{id: each, each: [a, b], {item}}}
  - {{id: packed, each: "{{{{ steps.each }}}}", pack: all, {item}}}
"""
    path = airflow.project / "include" / "automations" / "tests" / "proving_current.yaml"
    path.write_text(steps.replace("MIDDLE", "right") + more)
    words = ["restart", run, "--from", "middle", "--current"]
    airflow.until("the edit to be taken over", lambda: airflow.command(*words, "--dry-run").returncode == 0)
    shown = airflow.command(*words, "--dry-run").stdout
    assert '"name": "wrong"} -> ' in shown
    assert '+ packed: the step is new: "Packed"' in shown
    assert airflow.queries.run(run) == before, "nothing is done by looking"

    done = airflow.command(*words)
    assert done.returncode == 0, done.stderr
    airflow.until("the run to end well", lambda: airflow.queries.run(run).status == "succeeded")
    assert airflow.finish(run) == "success"
    assert called(folder) == ["each a", "each b", "middle right", "packed a", "packed b"]
    now = airflow.queries.run(run)
    assert now.definition != before.definition
    assert now.bundle_version not in (None, before.bundle_version)
    assert airflow.command(*words, "--dry-run").stdout.startswith(f"{run}: its version is the current one.")

    # A later restart without a word about the version stays with the one it has now.
    path.write_text(steps.replace("MIDDLE", "wrong") + more)
    assert airflow.command("restart", run, "--from", "packed").returncode == 0
    airflow.until("the third end", lambda: airflow.types(run).count("run.closed") == 3)
    assert airflow.finish(run) == "success"
    assert called(folder) == ["packed a", "packed b"]
    assert airflow.queries.run(run).definition == now.definition
    assert airflow.log.verify(run) is None
