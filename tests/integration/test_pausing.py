"""What is paused on the real Airflow is said to be, and nobody waits for it."""

from __future__ import annotations

import json

import pytest

from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SOURCE = """
automation: pausable
inputs: { n: { type: integer, default: 1 } }
steps:
  - { id: tell, notify: [{ slack: "#ops", text: "{{ inputs.n }}" }] }
"""


def test_a_paused_automation_is_said_to_be_and_nobody_waits_for_it(airflow: Airflow) -> None:
    airflow.automation("pausable", SOURCE)
    paused = airflow.command("pause", "pausable")
    assert paused.returncode == 0, paused.stderr
    try:
        waited = airflow.command("run", "pausable", "--run-id", "first", "--wait")
        assert waited.returncode == 5, waited.stdout + waited.stderr
        assert "pausable is paused: pausable/first goes no further." in waited.stderr
        assert airflow.command("run", "pausable", "--run-id", "first", "--wait", "--json").returncode == 5
        assert "pausable is paused" in airflow.command("run", "pausable", "--run-id", "first").stdout
        assert json.loads(airflow.command("status", "--json").stdout)["paused"] == ["pausable"]
        listed = json.loads(airflow.command("list", "--json").stdout)["automations"]
        assert [it["name"] for it in listed if it["paused"]] == ["pausable"]
        assert "paused (by hand)" in airflow.command("list").stdout
    finally:
        assert airflow.command("unpause", "pausable").returncode == 0
    done = airflow.command("run", "pausable", "--run-id", "first", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(airflow.command("status", "--json").stdout)["paused"] == []


def test_what_is_not_there_cannot_be_paused(airflow: Airflow) -> None:
    refused = airflow.command("pause", "nothing_of_that_name")
    assert refused.returncode == 1
    assert "Airflow has no automation 'nothing_of_that_name'." in refused.stderr


def test_a_run_that_is_there_is_started_by_nothing_else(airflow: Airflow) -> None:
    airflow.automation("pausable", SOURCE)
    assert airflow.command("run", "pausable", "--run-id", "known", "--input", "n=2").returncode == 0
    again = airflow.command("run", "pausable", "--run-id", "known", "--input", "n=2")
    assert "pausable/known is there already, with the same inputs." in again.stdout
    other = airflow.command("run", "pausable", "--run-id", "known", "--input", "n=3")
    assert other.returncode == 1
    assert "is there already, with other inputs" in other.stderr
    assert airflow.finish("pausable/known") == "success"
