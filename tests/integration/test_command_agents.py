"""Agents that are programs on the real Airflow: in both lanes, and when the process that wants one is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from muster.events.model import EventType
from muster.isolation.workspaces import FOLDER
from support.airflow import Airflow
from support.programs import PYTHON, ancestors, parent, processes_with

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AGENTS = """department: programs
agents:
  - id: outside_{lane}
    role: Works outside.
    skills: [outside_{lane}]
    command:
      program: [{python}, ./commands/outside.py, {mark}]
      network: any
      limits: {{ seconds: 120, memory_mb: 100, processes: 20, disk_mb: 10, files: 100 }}
"""
PROGRAM = """import json, os, pathlib, sys, time
request = json.loads(sys.stdin.readline())
if not os.fork():
    os.setsid()
    time.sleep(600)
print(json.dumps({"type": "progress", "fraction": 0.5, "message": "at it"}), flush=True)
time.sleep(request["data"]["seconds"])
print(json.dumps({"type": "result", "output": {"lane": request["data"]["lane"]}}))
"""
SOURCE = """automation: outside_{lane}
inputs: {{ seconds: {{ type: number, default: 0 }} }}
steps:
  - id: step
    agent: outside_{lane}
    ask: Do it.
    with: {{ seconds: "{{{{ inputs.seconds }}}}", lane: {lane} }}
    lane: {lane}
  - id: team
    team:
      size: 2
      members: [outside_{lane}]
      tasks:
        - {{ id: one, ask: Do it., needs: [outside_{lane}], with: {{ seconds: 0, lane: {lane} }} }}
        - {{ id: two, ask: Do it., needs: [outside_{lane}], with: {{ seconds: 0, lane: {lane} }} }}
    lane: {lane}
"""


@pytest.mark.parametrize("lane", ["async", "worker"])
def test_a_program_is_ended_with_the_process_that_wants_it_and_another_one_does_the_work(
    airflow: Airflow, lane: str
) -> None:
    mark = f"outside-{lane}-{os.getpid()}"
    include = airflow.project / "include"
    (include / "commands").mkdir(exist_ok=True)
    (include / "commands" / "outside.py").write_text(PROGRAM)
    (include / "agents" / f"outside_{lane}.yaml").write_text(AGENTS.format(lane=lane, python=PYTHON, mark=mark))
    airflow.automation(f"outside_{lane}", SOURCE.format(lane=lane))
    run = airflow.start(f"outside_{lane}", "killed", seconds=8)
    airflow.until("the program", lambda: len(processes_with(mark)) >= 2)
    first = set(processes_with(mark))
    if lane == "async":
        wants = airflow.stack.supervisor.components["triggerer"].process.pid
    else:
        # The supervisor of the program is a child of the task's process.
        wants = parent(next(pid for pid in ancestors(min(first)) if is_supervisor(pid)))
    os.kill(wants, signal.SIGKILL)
    airflow.until("the end of the first program", lambda: not first & set(processes_with(mark)))
    assert airflow.finish(run) == "success"
    ended = airflow.log.read(run, types=[EventType.STEP_SUCCEEDED])
    assert {(event.step, str(event.data["output"])) for event in ended} == {
        ("step", str({"lane": lane})),
        ("team", str({"lane": lane})),
    }
    called = [event.data["tier"] for event in airflow.log.read(run, types=[EventType.MODEL_CALLED])]
    assert called == ["command"] * 3
    assert not processes_with(mark)
    assert not list(airflow.project.rglob(f"{FOLDER}/*/task.json"))


def is_supervisor(pid: int) -> bool:
    """True for what watches over a program."""
    return b"muster.isolation.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
