"""Promises of the links: every task has them, whichever lane it ran in, and they lead to its own events."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient


def link(task_id: str, name: str, *, map_index: int = -1, run_id: str = "monday") -> str:
    """A link as the API server works it out, from the Dag as it is stored."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstancekey import TaskInstanceKey

    stored = SerializedDagModel.get("greeting")
    assert stored is not None
    task: Any = stored.dag.get_task(task_id)
    key = TaskInstanceKey("greeting", task_id, run_id, 1, map_index)
    found: str = task.get_extra_links(SimpleNamespace(key=key), name)
    return found


@pytest.mark.parametrize("task", ["open", "greet.items", "greet", "tell", "shell", "close"])
def test_every_task_links_to_its_events_and_to_its_automation(server: TestClient, task: str) -> None:
    assert link(task, "Events").endswith(f"/muster/runs/greeting/monday?task={task}")
    assert link(task, "Automation").endswith("/muster/runs/greeting/monday?show=automation")


def test_a_mapped_task_links_to_the_items_it_took(server: TestClient) -> None:
    assert link("greet", "Events", map_index=3).endswith("?task=greet&slot=3")


def test_a_link_stays_inside_airflow_wherever_its_server_is_put(
    server: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow/")
    run_id = "manual__2026-01-01T00:00:00+00:00"
    assert link("tell", "Events", run_id=run_id) == (
        "/airflow/plugin/muster-automations/airflow/muster/runs/greeting"
        "/manual__2026-01-01T00%3A00%3A00%2B00%3A00?task=tell"
    )


@pytest.mark.parametrize(("slot", "place"), [(None, "ask"), (3, "ask/mapped/3")])
def test_a_question_is_answered_on_the_page_of_its_task(
    monkeypatch: pytest.MonkeyPatch, slot: int | None, place: str
) -> None:
    from muster.execution.references import WorkRef
    from muster_airflow.reference import question_page

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow/")
    found = question_page(WorkRef(run="asking/manual__2026-01-01T00:00:00+00:00", step="ask", slot=slot))
    run = "manual__2026-01-01T00%3A00%3A00%2B00%3A00"
    assert found == f"https://example.com/airflow/dags/asking/runs/{run}/tasks/{place}/required_actions"
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    assert question_page(WorkRef(run="asking/monday", step="ask")) is None


def test_airflow_loads_the_plugin_once_and_without_a_complaint(server: TestClient) -> None:
    from airflow import plugins_manager

    plugins, errors = plugins_manager._get_plugins()
    assert [plugin.name for plugin in plugins].count("muster") == 1
    assert not [source for source in errors if "muster" in source]


def test_the_plugin_alone_imports_neither_the_server_nor_the_operators() -> None:
    heavy = ("fastapi", "muster_airflow.api.app", "muster_airflow.operators.kinds.human", "psycopg", "pydantic_ai")
    program = f"import muster_airflow.plugin, sys; print([name for name in {heavy!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
