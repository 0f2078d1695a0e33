"""Steps that the triggerer performs before Airflow comes to them, on the real Airflow; a server outside counts."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

import pytest

from muster.events.model import EventType
from muster.events.payloads.work import StepStarted
from support.airflow import Airflow
from support.bank import BankServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

CHAIN = """automation: proving_ahead
inputs: {seconds: {type: number}, last: {default: 1}}
steps:
  - {id: a, skill: proving.wait, with: {seconds: 0}}
  - {id: b, skill: proving.wait, with: {seconds: "{{ inputs.seconds }}"}}
  - {id: c, skill: proving.wait, with: {seconds: "{{ inputs.last }}"}}
  - {id: d, skill: proving.wait, with: {seconds: 0}}
"""


def effects(witness: BankServer, run: str) -> Mapping[str, int]:
    """What the run did outside, by step and effect: how often."""
    return {name.removeprefix(f"{run}/"): count for name, count in witness.charges.items() if name.startswith(run)}


def once(*steps: str) -> Mapping[str, int]:
    return {f"{step}/{effect}": 1 for step in steps for effect in ("first", "last")}


def beginnings(airflow: Airflow, run: str) -> list[tuple[str | None, bool]]:
    started = airflow.log.read(run, types=[EventType.STEP_STARTED])
    return [(event.step, StepStarted.of(event).ahead) for event in started]


def tasks(airflow: Airflow, run: str) -> Mapping[str, str]:
    dag_id, _, run_id = run.partition("/")
    found = airflow.client.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return {each["task_id"]: each["state"] for each in found if each["task_id"] in "abcd"}


def test_a_chain_is_done_once_and_airflows_tasks_end_as_its_steps_did(airflow: Airflow, witness: BankServer) -> None:
    airflow.automation("proving_ahead", CHAIN)
    run = airflow.start("proving_ahead", "whole", seconds=0)
    assert airflow.finish(run) == "success"
    assert effects(witness, run) == once("a", "b", "c", "d")
    assert beginnings(airflow, run) == [("a", False), ("b", True), ("c", True), ("d", True)]
    assert tasks(airflow, run) == dict.fromkeys("abcd", "success")
    path = "/api/v2/dags/proving_ahead/dagRuns/whole/taskInstances/c/xcomEntries/return_value"
    assert airflow.client.get(path, deserialize=True)["value"] == 1

    run = airflow.start("proving_ahead", "broken", seconds=0, last="no number")
    assert airflow.finish(run) == "failed"
    assert effects(witness, run) == once("a", "b")
    assert tasks(airflow, run) == {"a": "success", "b": "success", "c": "failed", "d": "upstream_failed"}


def test_what_somebody_has_marked_in_airflow_before_its_turn_is_not_performed(
    airflow: Airflow, witness: BankServer
) -> None:
    airflow.automation("proving_ahead", CHAIN)
    run = airflow.start("proving_ahead", "marked", seconds=6)
    airflow.until("the second step", lambda: effects(witness, run).get("b/first"))
    airflow.client.fail({"dag_id": "proving_ahead", "dag_run_id": "marked", "task_id": "c", "map_index": -1})
    assert airflow.finish(run) == "failed"
    assert effects(witness, run) == once("a", "b")
    assert tasks(airflow, run) == {"a": "success", "b": "success", "c": "failed", "d": "upstream_failed"}


def test_what_a_triggerer_that_was_killed_was_at_ahead_of_airflow_is_done_once(
    airflow: Airflow, witness: BankServer
) -> None:
    airflow.automation("proving_ahead", CHAIN)
    run = airflow.start("proving_ahead", "killed", seconds=20)
    airflow.until("the second step", lambda: effects(witness, run).get("b/first"))
    os.kill(airflow.stack.supervisor.components["triggerer"].process.pid, signal.SIGKILL)
    assert airflow.finish(run) == "success"
    assert effects(witness, run) == once("a", "b", "c", "d")
    begun = beginnings(airflow, run)
    assert begun[:2] == [("a", False), ("b", True)]
    assert sorted({name for name, _ in begun if name}) == ["a", "b", "c", "d"]
    assert tasks(airflow, run) == dict.fromkeys("abcd", "success")
    ended = [event.key for event in airflow.log.read(run, types=[EventType.STEP_SUCCEEDED])]
    assert len(ended) == len(set(ended)) == 4
    assert airflow.log.verify(run) is None
