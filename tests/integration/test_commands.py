"""What the commands say of the real Airflow: what is paused, is there, or does not fit; and what its log says."""

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
    airflow.automation("pausable", SOURCE)
    for command in ("pause", "run"):
        assert "Did you mean `pausable`?" in airflow.command(command, "pauseable").stderr


def test_a_run_that_is_there_is_started_by_nothing_else(airflow: Airflow) -> None:
    airflow.automation("pausable", SOURCE)
    assert airflow.command("run", "pausable", "--run-id", "known", "--input", "n=2").returncode == 0
    again = airflow.command("run", "pausable", "--run-id", "known", "--input", "n=2")
    assert "pausable/known is there already, with the same inputs." in again.stdout
    other = airflow.command("run", "pausable", "--run-id", "known", "--input", "n=3")
    assert other.returncode == 1
    assert "is there already, with other inputs" in other.stderr
    assert airflow.finish("pausable/known") == "success"


def test_an_input_that_does_not_fit_is_said_in_a_sentence_with_its_place(airflow: Airflow) -> None:
    airflow.automation("pausable", SOURCE)
    refused = airflow.command("run", "pausable", "--input", "n=many")
    assert refused.returncode == 1
    said = "The input `n` of pausable does not fit: 'many' is not of type 'integer'. Nothing was started."
    assert " ".join(refused.stderr.split()) == f"error: {said}"


def test_a_callback_that_nothing_needs_leaves_no_traceback(airflow: Airflow) -> None:
    airflow.automation("pausable", SOURCE)
    assert airflow.finish(airflow.start("pausable", "called-back")) == "success"
    log = airflow.stack.project.logs / "dag-processor.log"
    asked = log.read_text().count("DAG bundles loaded")
    assert airflow.finish(airflow.start("pausable", "called-back-again")) == "success"
    airflow.until("a callback of it", lambda: log.read_text().count("DAG bundles loaded") > asked)
    assert "CallbackNotNeeded" not in log.read_text()
