"""A team on the real Airflow: its members are killed on the way, and a server outside counts what they did."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence

import pytest

from muster.events.model import EventType
from muster.events.payloads.work import StepExpanded, TaskAssigned
from support.airflow import Airflow
from support.bank import BankServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AGENTS = """department: crews
agents:
  - { id: hand, role: Works., skills: [work], offline: proving.wait }
  - { id: manager, role: Plans and looks., skills: [plan, work], offline: proving.wait }
  - { id: faller, role: Falls., skills: [fall], offline: proving.fall }
  - { id: noter, role: Notes., skills: [note], offline: proving.note }
"""
SOURCE = """automation: proving_team_{lane}
inputs: {{seconds: {{type: number, default: 0}}}}
steps:
  - id: work
    team:
      size: {size}
      members: [{members}]
      tasks:
{tasks}
    lane: {lane}
"""


def team(airflow: Airflow, lane: str, size: int, members: Sequence[str], tasks: Sequence[str]) -> None:
    (airflow.project / "include" / "agents" / "crews.yaml").write_text(AGENTS)
    listed = "\n".join(f"        - {{ {task} }}" for task in tasks)
    source = SOURCE.format(lane=lane, size=size, members=", ".join(members), tasks=listed)
    airflow.automation(f"proving_team_{lane}", source)


def counted(witness: BankServer, run: str) -> Counter[str]:
    """How often each effect of a run happened, by its last word."""
    own = {name: count for name, count in witness.charges.items() if name.startswith(run)}
    assert set(own.values()) <= {1}, own
    return Counter(name.rpartition("/")[2] for name in own)


def test_eight_members_do_every_task_once_although_the_triggerer_is_killed(
    airflow: Airflow, witness: BankServer
) -> None:
    wait = "ask: Work., needs: [work], with: { seconds: '{{ inputs.seconds }}' }"
    tasks = ["id: plan, ask: Plan., needs: [plan], with: { seconds: 0 }"]
    tasks += [f"id: part_{number}, after: [plan], {wait}" for number in range(16)]
    tasks += ["id: look, ask: Look., needs: [plan], after: [part_0, part_15], with: { seconds: 0 }"]
    team(airflow, "async", 8, ["hand", "manager"], tasks)
    run = airflow.start("proving_team_async", "killed", seconds=4)
    airflow.until("the first parts", lambda: counted(witness, run)["last"] >= 3)
    os.kill(airflow.stack.supervisor.components["triggerer"].process.pid, signal.SIGKILL)
    assert airflow.finish(run) == "success"
    assert counted(witness, run) == {"first": 18, "last": 18}
    ended = [event.index for event in airflow.log.read(run, types=[EventType.STEP_SUCCEEDED])]
    assert (ended[0], sorted(filter(None, ended))) == (0, list(range(1, 18)))
    assert ended.index(17) > max(ended.index(1), ended.index(16))
    (laid_out,) = airflow.log.read(run, types=[EventType.STEP_EXPANDED])
    assert len(StepExpanded.of(laid_out).members or ()) == 8
    assert airflow.log.verify(run) is None


def test_tasks_of_two_members_whose_processes_are_killed_are_done_once(airflow: Airflow, witness: BankServer) -> None:
    falls = [f"id: fall_{number}, ask: Fall., needs: [fall], with: {{ seconds: 0.1 }}" for number in range(2)]
    note = "ask: Note., needs: [note], with: { text: hello }, after: [fall_0, fall_1]"
    team(airflow, "worker", 3, ["faller", "noter"], [*falls, f"id: note, {note}"])
    run = airflow.start("proving_team_worker", "killed")
    assert airflow.finish(run) == "success"
    assert counted(witness, run) == {"first": 3, "last": 3, "fell": 2}
    taken = [TaskAssigned.of(event) for event in airflow.log.read(run, types=[EventType.TASK_ASSIGNED])]
    assert {said.index for said in taken} == {0, 1, 2}
    assert airflow.log.verify(run) is None
