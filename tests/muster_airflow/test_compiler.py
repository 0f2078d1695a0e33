"""Promises of compilation: what an automation says is what Airflow gets, the same to the byte every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from muster_airflow.loading import load_automations

ROOT = Path(__file__).parents[2]
AUTOMATION = """
automation: everything
title: Everything at once
category: proving
department: quality
owner: quality-team
description: One of each.
triggers:
  - {schedule: "0 6 * * *", timezone: Europe/Berlin}
  - files: {path: /srv/in, match: ["*.xml"], every: 10s}
inputs:
  names: {type: array, items: {type: string}, default: [a]}
  limit: {type: integer, minimum: 1, default: 5, description: How many.}
deadlines:
  - {within: 30m, notify: [{slack: "#late"}, {email: [a@example.com, b@example.com]}]}
steps:
  - id: mapped
    each: "{{ inputs.names }}"
    skill: proving.upper
    with: {text: "{{ item }}"}
    priority: 7
    pool: narrow
  - {id: packed, each: "{{ steps.mapped }}", pack: 10, skill: proving.upper, with: {text: "{{ item }}"}}
  - {id: whole, each: "{{ steps.mapped }}", pack: all, skill: proving.upper, with: {text: "{{ item }}"}}
  - {id: asks, human: {ask: "Well?", assignees: [lead], within: 1h}}
  - {id: light, lane: async, skill: proving.upper, with: {text: x}}
  - {id: choose, branch: [{when: "{{ inputs.limit > 3 }}", to: [left]}, {to: [right]}]}
  - {id: left, notify: [{slack: "#ops", text: left}]}
  - {id: right, notify: [{slack: "#ops", text: right}]}
  - id: shell
    after: [left, right]
    operator: airflow.providers.standard.operators.bash.BashOperator
    with: {bash_command: "true"}
    retry: {times: 2, delay: 5s, backoff: 3}
settings:
  allowed_operators: [airflow.providers.standard.operators.bash.BashOperator]
"""
SKILL = """
from muster.skills import skill

@skill('proving.upper')
def upper(text: str) -> str:
    "Up."
    return text.upper()
"""


@pytest.fixture
def include(tmp_path: Path) -> Path:
    folder = tmp_path / "include"
    (folder / "automations").mkdir(parents=True)
    (folder / "skills").mkdir()
    (folder / "skills" / "proving.py").write_text(SKILL)
    (folder / "automations" / "everything.yaml").write_text(AUTOMATION)
    return folder


def dags(include: Path) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    load_automations(namespace, include)
    return namespace


def test_the_dag_says_what_the_automation_says(include: Path) -> None:
    dag = dags(include)["everything"]
    assert dag.dag_display_name == "Everything at once"
    assert dag.tags == {"muster", "proving", "quality"}
    assert dag.owner == "quality-team"
    assert dag.params.get_param("limit").schema["minimum"] == 1
    assert dag.params["names"] == ["a"]
    assert AUTOMATION.strip() in dag.doc_md
    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("0 6 * * *", "Europe/Berlin")
    assert [alert.interval.total_seconds() for alert in dag.deadline] == [1800]
    assert not dag.catchup


@pytest.mark.parametrize(
    ("now", "first"),
    [
        ("2026-11-02T02:33", "2026-12-01T00:30"),
        ("2026-11-01T02:33", "2026-12-01T00:30"),
        # Not yet begun by Airflow, which reads the Dag again in this moment.
        ("2026-11-01T00:31", "2026-11-01T00:30"),
        ("2026-10-31T23:59", "2026-11-01T00:30"),
    ],
)
def test_a_schedule_begins_with_the_next_time_after_it_was_published(
    include: Path, monkeypatch: pytest.MonkeyPatch, now: str, first: str
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    path = include / "automations" / "everything.yaml"
    path.write_text(AUTOMATION.replace('"0 6 * * *"', '"30 0 1 * *"').replace("Europe/Berlin", "UTC"))
    kept = DagSerialization.from_dict(DagSerialization.to_dict(dags(include)["everything"]))
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))
    info = kept.timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=kept.catchup)
    )
    assert info.run_after == datetime.fromisoformat(first).replace(tzinfo=UTC)


def test_each_step_is_a_task_of_its_kind_and_lane(include: Path) -> None:
    dag = dags(include)["everything"]
    kinds = {task.task_id: (task.operator_name, task.start_from_trigger) for task in dag.tasks}
    assert kinds == {
        "open": ("open", False),
        "mapped.items": ("items", True),
        "mapped": ("skill", False),
        "packed.items": ("items", True),
        "packed": ("skill", False),
        "whole": ("skill", False),
        "asks": ("human", False),
        "light": ("skill", True),
        "choose": ("branch", True),
        "left": ("notify", True),
        "right": ("notify", True),
        "shell": ("BashOperator", False),
        "close": ("close", True),
    }
    assert dag.get_task("mapped").partial_kwargs["pool"] == "narrow"
    assert dag.get_task("mapped").partial_kwargs["priority_weight"] == 7


def test_close_is_the_only_leaf_and_runs_whatever_happens(include: Path) -> None:
    dag = dags(include)["everything"]
    assert [task.task_id for task in dag.leaves] == ["close"]
    assert dag.get_task("close").trigger_rule == "all_done"
    assert [task.task_id for task in dag.roots] == ["open"]


def test_an_approval_may_begin_again_and_stays_open_to_answers_while_it_is_woken(include: Path) -> None:
    (include / "automations" / "each.yaml").write_text(
        'automation: each\nsteps:\n  - {id: asks, each: [1, 2], human: {ask: "Well?", assignees: [lead]}}\n'
    )
    one, each = (dags(include)[name].get_task("asks") for name in ("everything", "each"))
    assert one.retries == each.partial_kwargs["retries"] > 100
    assert one.retry_delay == each.partial_kwargs["retry_delay"]
    assert one.defaults is None


def test_an_operator_has_the_steps_own_retries(include: Path) -> None:
    shell = dags(include)["everything"].get_task("shell")
    assert (shell.retries, shell.retry_delay.total_seconds(), shell.retry_exponential_backoff) == (2, 5, 3)


def test_files_have_a_dag_of_their_own(include: Path) -> None:
    dag = dags(include)["everything.files"]
    (task,) = dag.tasks
    assert (task.automation, task.path, task.match, task.input) == (
        "everything",
        "/srv/in",
        ["*.xml"],
        "names",
    )
    assert dag.max_active_runs == 1


def test_in_a_task_process_only_the_dag_that_is_needed_is_built(include: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = AUTOMATION.replace("automation: everything", "automation: other")
    (include / "automations" / "other.yaml").write_text(other)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "other")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "open")
    assert list(dags(include)) == ["other"]
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "everything.files")
    assert list(dags(include)) == ["everything.files"]


def test_an_invalid_automation_is_a_dag_that_says_so_and_hides_no_other(include: Path) -> None:
    (include / "automations" / "bad.yaml").write_text("automation: bad\nsteps: [{id: x, skil: y}]\n")
    found = dags(include)
    assert found["everything"].tasks
    assert "unknown key `skil`" in found["bad"].doc_md
    with pytest.raises(AirflowFailException, match="unknown key `skil`"):
        found["bad"].get_task("muster.not_valid").execute({})


def test_an_operator_that_is_not_installed_hides_no_other(include: Path) -> None:
    (include / "automations" / "gone.yaml").write_text(
        "automation: gone\nsettings: {allowed_operators: [nowhere.Operator]}\n"
        "steps: [{id: x, operator: nowhere.Operator}]\n"
    )
    found = dags(include)
    assert found["everything"].tasks
    assert "cannot be imported" in found["gone"].doc_md


SERIALIZE = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from airflow.serialization.serialized_objects import DagSerialization
from muster_airflow.loading import load_automations
found = {}
load_automations(found, Path(sys.argv[1]))
for name in sorted(found):
    found[name].fileloc = "automations.py"
    # Airflow walks sets of its own field names, and sorts the keys before it compares two versions.
    print(json.dumps(DagSerialization.to_dict(found[name]), sort_keys=True))
"""


def test_two_processes_with_different_hash_seeds_serialize_the_same_bytes(include: Path) -> None:
    def serialized(seed: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", SERIALIZE, str(include)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return "\n".join(line for line in done.stdout.splitlines() if line.startswith("{"))

    first, second = serialized("1"), serialized("4242")
    # The automation, the Dag that watches its folder, and the reconciler.
    assert len(first.splitlines()) == 3
    assert json.loads(first.splitlines()[0])["dag"]["dag_id"] == "everything"
    assert first == second


SAGA = """
automation: saga
steps:
  - {id: a, skill: proving.upper, with: {text: x}, compensate: {skill: proving.upper, with: {text: x}}}
  - {id: b, after: a, skill: proving.upper, with: {text: x}, compensate: {skill: proving.upper, with: {text: x}}}
  - {id: c, after: a, skill: proving.upper, with: {text: x}}
  - {id: d, after: c, skill: proving.upper, with: {text: x}, compensate: {skill: proving.upper, with: {text: x}}}
  - {id: e, after: [b, d], skill: proving.upper, with: {text: x}}
"""


def test_what_can_be_undone_has_a_task_that_undoes_it_in_reverse(include: Path) -> None:
    (include / "automations" / "saga.yaml").write_text(SAGA)
    tasks = dags(include)["saga"].task_dict
    upstream = {name: sorted(task.upstream_task_ids) for name, task in tasks.items() if name.startswith("unwind.")}
    assert upstream == {
        "unwind.begin": ["e"],
        "unwind.b": ["unwind.begin"],
        "unwind.d": ["unwind.begin"],
        "unwind.a": ["unwind.b", "unwind.begin", "unwind.d"],
    }
    rules = {name: str(tasks[name].trigger_rule.value) for name in ("unwind.begin", "unwind.a", "close")}
    assert rules == {"unwind.begin": "all_done", "unwind.a": "none_failed_min_one_success", "close": "all_done"}
    assert tasks["close"].upstream_task_ids == {"e", "unwind.a"}


def test_an_automation_that_undoes_nothing_has_no_task_for_it(include: Path) -> None:
    assert not [name for name in dags(include)["everything"].task_dict if name.startswith("unwind")]


def test_inputs_are_the_dags_and_no_task_has_a_copy_of_them(include: Path) -> None:
    dag = dags(include)["everything"]
    assert sorted(dag.params) == ["limit", "names"]
    assert not any(task.params for task in dag.tasks)


def test_no_secret_reaches_a_dags_documentation(include: Path) -> None:
    (include / "automations" / "leaky.yaml").write_text(
        "automation: leaky\nsettings: {api_key: hunter2-hunter2}\n"
        "steps:\n  - {id: one, skill: proving.upper, with: {text: x}}\n"
    )
    (include / "automations" / "typo.yaml").write_text("automation: typo\npassword: hunter2-hunter2\nsteps: 3\n")
    found = dags(include)
    for name in ("leaky", "typo"):
        (task,) = found[name].tasks
        assert task.task_id == "muster.not_valid"
        assert "hunter2" not in found[name].doc_md + found[name].description + task.problem
