"""Promises of Airflow's own operators as steps: ended in time, stopped, deferred, starting runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from muster.events.state import RunState, fold
from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

BASH = "airflow.providers.standard.operators.bash.BashOperator"
SENSOR = "airflow.providers.standard.sensors.date_time.DateTimeSensorAsync"
TRIGGER = "airflow.providers.standard.operators.trigger_dagrun.TriggerDagRunOperator"
AUTOMATION = f"""
automation: proving_operators
inputs: {{folder: {{type: string}}, soon: {{type: string}}, late: {{type: string}}}}
steps:
  - id: slow
    operator: {BASH}
    with: {{bash_command: "echo $$ > {{{{ inputs.folder }}}}/slow; sleep 600"}}
    timeout: 5s
  - {{id: comes, after: [], operator: {SENSOR}, with: {{target_time: "{{{{ inputs.soon }}}}"}}, timeout: 10m}}
  - {{id: vain, after: [], operator: {SENSOR}, with: {{target_time: "{{{{ inputs.late }}}}"}}, timeout: 5s}}
  - {{id: starts, after: [], operator: {TRIGGER}, with: {{trigger_dag_id: proving_started, conf: {{text: x}}}}}}
  - {{id: misses, after: [], operator: {TRIGGER}, with: {{trigger_dag_id: proving_nowhere}}}}
  - id: stopped
    after: []
    each: [a, b]
    operator: {BASH}
    with: {{bash_command: "echo $$ > {{{{ inputs.folder }}}}/{{{{ item }}}}; sleep 600"}}
  - {{id: after_it, after: stopped, skill: proving.note, with: {{text: x}}}}
"""
STARTED = "automation: proving_started\ninputs: {text: {type: string}}\nsteps:\n  - {id: one, skill: proving.note, with: {text: '{{ inputs.text }}'}}\n"  # noqa: E501


def test_operators_end_in_time_are_stopped_and_start_what_they_say(airflow: Airflow, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    airflow.automation("proving_started", STARTED)
    airflow.automation("proving_operators", AUTOMATION)
    now = datetime.now(UTC)
    soon, late = now + timedelta(seconds=20), now + timedelta(hours=5)
    run = airflow.start("proving_operators", "one", folder=str(tmp_path), soon=soon.isoformat(), late=late.isoformat())

    def state() -> RunState:
        return fold(airflow.log.read(run))

    airflow.until("the others", lambda: all(state().step(name).ended for name in OTHERS))
    airflow.until("the commands", lambda: all((tmp_path / name).exists() for name in "ab"))
    ended = state()
    said = {name: (ended.step(name).whole.error or {}).get("message", "") for name in OTHERS}
    assert "longer than the step's timeout of 5 s" in said["slow"]
    assert "longer than the step's timeout of 5 s" in said["vain"]
    assert "Airflow starts no run of proving_nowhere" in said["misses"]
    assert [ended.step(name).status for name in OTHERS] == ["failed", "succeeded", "failed", "succeeded", "failed"]
    assert not is_alive(tmp_path / "slow")
    assert all(is_alive(tmp_path / name) for name in "ab")
    output = ended.step("starts").output
    assert airflow.finish(f"{output['dag_id']}/{output['run_id']}") == "success"

    assert airflow.command("cancel", run, "--reason", "wrong order").returncode == 0
    airflow.until("the end of the commands", lambda: not any(is_alive(tmp_path / name) for name in "ab"))
    assert airflow.finish(run) == "failed"
    assert airflow.queries.run(run).reason == "cancelled by admin: wrong order"
    after = state().step("after_it")
    # Its task skips itself, or `muster cancel` has ended it before it began: then the log says nothing of it.
    assert (after.whole.attempt, after.status in ("skipped", "pending")) == (0, True)


OTHERS = ("slow", "comes", "vain", "starts", "misses")


def is_alive(file: Path) -> bool:
    """True while the process goes on that has said in a file which one it is."""
    try:
        os.kill(int(file.read_text()), 0)
    except ProcessLookupError:
        return False
    return True
