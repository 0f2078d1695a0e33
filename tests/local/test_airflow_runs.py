"""What the reconciler asks of Airflow's REST API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from muster.local.airflow_runs import RestAirflow
from muster.local.client import AirflowClient

TASKS = [
    {"dag_id": "a", "dag_run_id": "r", "end_date": "2026-03-01T09:00:00.5Z"},
    {"dag_id": "b", "dag_run_id": "s", "end_date": None},
    {"dag_id": "b", "dag_run_id": "r", "end_date": "2026-03-01T10:00:00Z"},
]
asked: list[httpx.URL] = []


def answer(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/auth/token":
        return httpx.Response(201, json={"access_token": "t"})
    asked.append(request.url)
    offset = int(request.url.params["offset"])
    page: dict[str, Any] = {"task_instances": TASKS[offset : offset + 2], "total_entries": len(TASKS)}
    return httpx.Response(200, json=page)


@pytest.fixture
def client() -> Iterator[AirflowClient]:
    asked.clear()
    with AirflowClient("http://airflow", "admin", "secret") as made:
        made._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
        yield made


def test_which_runs_wait_to_be_opened_is_asked_of_all_dags_at_once(client: AirflowClient) -> None:
    assert RestAirflow(client).unopened() == {
        ("a", "r"): datetime(2026, 3, 1, 9, 0, 0, 500_000, UTC),
        ("b", "r"): datetime(2026, 3, 1, 10, tzinfo=UTC),
    }
    assert {url.path for url in asked} == {"/api/v2/dags/~/dagRuns/~/taskInstances"}
    assert [url.params["offset"] for url in asked] == ["0", "2"]
    for url in asked:
        wanted = {name: url.params.get_list(name) for name in ("task_id", "operator", "state")}
        assert wanted == {"task_id": ["open"], "operator": ["OpenRun"], "state": ["up_for_retry"]}
