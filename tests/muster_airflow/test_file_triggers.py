"""Two watches of one automation: each folder's files become its own input, whoever dies on the way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from airflow.sdk import DAG
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, OKResponse, TriggerDagRun

from muster.database import Database
from muster.language import load_folder
from muster.local.airflow import connection_json
from muster_airflow.compiler.triggers.files import build_files_dag
from muster_airflow.triggers.arrivals import ArrivalTrigger

AUTOMATION = """
automation: post
inputs:
  letters: {{type: array, items: {{type: string}}, default: []}}
  bills: {{type: array, items: {{type: string}}, default: []}}
triggers:
  - files: {{path: "{folder}/letters", input: letters}}
  - files: {{path: "{folder}/bills", input: bills}}
steps:
  - {{id: tell, notify: [{{slack: "#a", text: x}}]}}
"""


class Supervisor:
    """Airflow's supervisor, which notes what it is asked and answers as it is told."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.given = list(answers), list[Any]()

    def send(self, asked: Any) -> Any:
        assert isinstance(asked, TriggerDagRun)
        answer = self.answers.pop(0) if self.answers else OKResponse(ok=True)
        if isinstance(answer, OKResponse):
            self.given.append({name: [Path(uri).name for uri in uris] for name, uris in asked.conf.items()})
        return answer


@pytest.fixture
def watched(dsn: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DAG:
    """The Dag that watches two folders, in each of which a file has arrived."""
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    for name in ("letters", "bills"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
        os.utime(tmp_path / name / f"{name}.txt", (1, 1))
    (tmp_path / "include" / "automations").mkdir(parents=True)
    (tmp_path / "include" / "automations" / "post.yaml").write_text(AUTOMATION.format(folder=tmp_path))
    catalogue = load_folder(tmp_path / "include")
    assert not catalogue.problems
    return build_files_dag(catalogue.definitions["post"])


def supervised(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> Supervisor:
    supervisor = Supervisor(*answers)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


def start(dag: DAG, number: int) -> None:
    ti = SimpleNamespace(dag_id=dag.dag_id, run_id="asset__1", task_id=f"start_{number}")
    dag.get_task(f"start_{number}").execute({"ti": ti})  # type: ignore[typeddict-item]


def test_files_whose_start_was_cut_off_become_the_input_they_arrived_for(
    watched: DAG, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = supervised(monkeypatch, ErrorResponse(error=ErrorType.GENERIC_ERROR))
    with pytest.raises(Exception, match="did not start a run of post"):
        start(watched, 0)
    start(watched, 1)
    assert supervisor.given == [{"bills": ["bills.txt"]}]
    start(watched, 0)
    assert supervisor.given == [{"bills": ["bills.txt"]}, {"letters": ["letters.txt"]}]


def test_a_dangling_link_stops_no_watch_and_is_named_once(
    watched: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "letters" / "gone.txt").symlink_to(tmp_path / "nowhere")
    trigger = ArrivalTrigger(automation="post", path=str(tmp_path / "letters"), match=["*"], every=0.01)

    async def three_looks() -> list[Any]:
        watch = trigger.run()
        async with asyncio.timeout(60):
            return [await anext(watch) for _ in range(3)]

    with structlog.testing.capture_logs() as lines:
        assert len(asyncio.run(three_looks())) == 3
    assert [line["why"] for line in lines if "gone.txt" in str(line)] == [
        f"{tmp_path}/letters/gone.txt starts no run, because it cannot be looked at: No such file or directory."
    ]
    supervisor = supervised(monkeypatch)
    start(watched, 0)
    assert supervisor.given == [{"letters": ["letters.txt"]}]


def test_a_file_in_a_folder_that_was_made_for_it_is_found_at_the_next_look(watched: DAG, tmp_path: Path) -> None:
    folder = tmp_path / "made later"
    trigger = ArrivalTrigger(automation="post", path=str(folder), match=["*"], every=3600)

    async def first_look() -> Any:
        woken = asyncio.ensure_future(anext(trigger.run()))
        async with asyncio.timeout(60):
            while not any("cannot look" in line["event"] for line in lines):
                await asyncio.sleep(0.05)
            folder.mkdir()
            (folder / "letter.txt").write_text("Dear")
            return await woken

    with structlog.testing.capture_logs() as lines:
        assert asyncio.run(first_look()).payload == {"automation": "post"}
    assert len([line for line in lines if "cannot look" in line["event"]]) == 1


def test_a_folder_that_is_named_by_its_uri_starts_runs(
    watched: DAG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "include" / "automations" / "post.yaml"
    path.write_text(AUTOMATION.format(folder=tmp_path.as_uri()))
    catalogue = load_folder(tmp_path / "include")
    assert not catalogue.problems
    dag = build_files_dag(catalogue.definitions["post"])
    watchers = [watcher for asset in dag.timetable.asset_condition.objects for watcher in asset.watchers]
    assert len(watchers) == 2

    async def first_look(watcher: Any) -> Any:
        _, arguments = watcher.trigger.serialize()
        async with asyncio.timeout(60):
            return await anext(ArrivalTrigger(**arguments).run())

    for watcher in watchers:
        assert asyncio.run(first_look(watcher)).payload == {"automation": "post"}
    supervisor = supervised(monkeypatch)
    start(dag, 0)
    start(dag, 1)
    assert supervisor.given == [{"letters": ["letters.txt"]}, {"bills": ["bills.txt"]}]
