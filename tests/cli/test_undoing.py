"""`muster resume` and `muster cancel` write nothing before they know who asks, and say what came of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from muster.cli import cancelling
from muster.cli import resuming as resuming_command
from muster.database import Database
from muster.errors import MusterError
from muster.events.lifecycle import RunLifecycle
from muster.local.client import Unreachable
from muster.saga import resuming
from support.command import Muster, read
from support.reconciled import begun_again
from support.runs import Site
from support.stuck import AUTOMATION, FINAL, SKILLS, stuck


class Airflow:
    """Airflow as the commands ask it, with one run."""

    def __init__(self, state: str | None = "failed") -> None:
        self.run_state = state
        self.task_states = {"one": "success", "unwind.one": "failed", "close": "failed"}
        self.cleared: list[list[str]] = []
        self.stopped: list[str] = []
        self.refuses: dict[str, MusterError] = {}
        self.then: dict[str, str] = {}
        """What is scheduled once something was stopped."""

    def __enter__(self) -> Airflow:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _asked(self, what: str) -> None:
        if what in self.refuses:
            raise self.refuses[what]

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        self._asked("run")
        return None if self.run_state is None else {"state": self.run_state}

    def wait_for_run(self, dag_id: str, run_id: str, **_: Any) -> dict[str, Any]:
        self._asked("wait")
        return {"state": self.run_state}

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        self._asked("tasks")
        return [{"task_id": task, "state": state} for task, state in self.task_states.items()]

    def clear(self, dag_id: str, run_id: str, tasks: list[str], *, only_failed: bool = False) -> int:
        self._asked("clear")
        left = [task for task in tasks if not only_failed or self.task_states[task] == "failed"]
        self.cleared.append(left)
        return len(left)

    def fail(self, task: dict[str, Any]) -> None:
        self._asked(f"fail {task['task_id']}")
        self.stopped.append(task["task_id"])
        self.task_states |= {task["task_id"]: "failed", **self.then}


@pytest.fixture
def site(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> Site:
    """The site, and Muster's database by name."""
    monkeypatch.setenv("MUSTER_DSN", dsn)
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site", database)
    site.skills("depot", SKILLS)
    return site


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    made = Airflow()
    for command in (cancelling, resuming_command):
        monkeypatch.setattr(command, "airflow", lambda user: made)
    return made


def types(site: Site, run: str) -> list[str]:
    return [event.type for event in site.services.log.read(run)]


def test_a_stuck_run_goes_on(muster: Muster, site: Site, airflow: Airflow) -> None:
    run = stuck(site)
    assert read(muster("resume", run, "--json")) == {"run": run, "tasks": 2, "by": "admin"}
    assert airflow.cleared == [["close", "unwind.one"]]
    assert types(site, run)[-1] == "run.resumed"


def test_one_that_was_cancelled_as_it_ended_is_undone_though_nothing_of_that_has_failed(
    muster: Muster, site: Site, airflow: Airflow
) -> None:
    (site.include / "mended").touch()
    run = site.open(site.definition(AUTOMATION))
    site.step(run, "one")
    site.step(run, "two")
    assert site.unwind(run) == "skipped"
    airflow.run_state = "running"
    muster("cancel", run)
    assert site.close(run).reason == "stuck: cancelled by admin"
    airflow.run_state = "failed"
    airflow.task_states = {"one": "success", "unwind.begin": "skipped", "unwind.one": "skipped", "close": "failed"}
    assert read(muster("resume", run, "--json"))["tasks"] == 3
    assert airflow.cleared == [["close", "unwind.begin", "unwind.one"]]


@pytest.mark.parametrize("command", ["resume", "cancel"])
def test_without_airflow_nothing_is_written(
    muster: Muster, site: Site, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("AIRFLOW_URL", "http://127.0.0.1:9")
    run = stuck(site) if command == "resume" else site.open(site.definition(AUTOMATION))
    before = types(site, run)
    assert muster(command, run, "--as", "nobody").exit_code == 3
    assert types(site, run) == before


@pytest.mark.parametrize("command", ["resume", "cancel"])
def test_who_airflow_does_not_know_writes_nothing(muster: Muster, site: Site, airflow: Airflow, command: str) -> None:
    airflow.refuses["run"] = MusterError("Airflow does not know nobody with this password.")
    run = stuck(site) if command == "resume" else site.open(site.definition(AUTOMATION))
    before = types(site, run)
    result = muster(command, run, "--as", "nobody")
    assert (result.exit_code, "does not know nobody" in result.stderr) == (1, True)
    assert types(site, run) == before


@pytest.mark.parametrize(("state", "refuses"), [("running", "wait"), ("failed", "tasks")])
def test_a_run_that_airflow_cannot_undo_now_is_not_resumed(
    muster: Muster, site: Site, airflow: Airflow, state: str, refuses: str
) -> None:
    run = stuck(site)
    airflow.run_state, airflow.refuses = state, {refuses: Unreachable("Airflow does not answer.")}
    before = types(site, run)
    assert muster("resume", run, "--by-hand").exit_code == 3
    assert types(site, run) == before


@pytest.mark.parametrize("source", [AUTOMATION, FINAL])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_that_airflow_has_forgotten_is_ended_by_whoever_has_undone_what_was_left_of_it(
    muster: Muster, site: Site, airflow: Airflow, source: str, resumed: bool
) -> None:
    run = stuck(site, source=source)
    if resumed:
        airflow.refuses["clear"] = Unreachable("Airflow does not answer.")
        muster("resume", run)
    airflow.run_state = None
    before = types(site, run)
    for less in ([], ["--by-hand"]):
        result = muster("resume", run, *less)
        assert (result.exit_code, f"muster resume {run} --all-by-hand" in " ".join(result.stderr.split())) == (1, True)
        assert types(site, run) == before
    result = muster("resume", run, "--all-by-hand", "--note", "paid back by hand", "--as", "ann")
    assert (result.exit_code, "has ended as compensated" in result.stdout) == (0, True)
    assert (site.state(run).status, site.services.queries.run(run).status) == ("compensated", "compensated")
    assert site.state(run).step("one").status == "undone"
    assert site.services.log.verify(run) is None
    assert RunLifecycle.of(site.services.log.read(run)).under_way is None
    assert muster("resume", run, "--all-by-hand").exit_code == 1


def test_of_two_who_resume_at_once_the_second_is_told(muster: Muster, site: Site, airflow: Airflow) -> None:
    run = stuck(site)
    assert muster("resume", run, "--as", "ann").exit_code == 0
    before = types(site, run)
    result = muster("resume", run, "--as", "bob")
    assert (result.exit_code, f"ann has resumed {run} already" in result.stderr) == (1, True)
    assert (types(site, run), len(airflow.cleared)) == (before, 1)


def test_an_order_that_came_to_nothing_is_carried_out_for_who_gave_it(
    muster: Muster, site: Site, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stuck(site)
    airflow.refuses["clear"] = Unreachable("Airflow does not answer.")
    result = muster("resume", run, "--as", "ann")
    assert (result.exit_code, "It is recorded that" in result.stderr) == (3, True)
    airflow.refuses.clear()
    monkeypatch.setattr(resuming, "FORGOTTEN", timedelta(0))
    before = types(site, run)
    otherwise = muster("resume", run, "--by-hand", "--as", "bob")
    assert (otherwise.exit_code, "what you say was not written" in otherwise.stderr) == (1, True)
    assert airflow.cleared == []
    airflow.run_state = "running"
    assert muster("resume", run, "--as", "bob").exit_code == 1, "Airflow is at it"
    airflow.run_state = "failed"
    result = muster("resume", run, "--as", "bob")
    assert (result.exit_code, "what ann ordered before: that is carried out" in result.stdout) == (0, True)
    assert (types(site, run), airflow.cleared) == (before, [["close", "unwind.one"]])
    site.do(begun_again(site, run))
    result = muster("resume", run, "--as", "bob")
    assert (result.exit_code, f"{run} goes on already: ann has resumed it" in result.stderr) == (1, True)


def test_what_is_under_way_is_stopped_and_what_is_not_is_said(muster: Muster, site: Site, airflow: Airflow) -> None:
    run = site.open(site.definition(AUTOMATION))
    airflow.task_states = {"one": "running", "two": "deferred", "close": "scheduled"}
    airflow.refuses["fail one"] = MusterError("Airflow refused it.")
    result = muster("cancel", run, "--json")
    assert (result.exit_code, read(result)["stopped"], read(result)["not_stopped"]) == (1, ["two"], [f"one of {run}"])
    assert f"It is recorded that {run} is cancelled" in result.stderr
    assert site.state(run).cancelled_by == "admin"
    airflow.refuses["tasks"] = Unreachable("Airflow does not answer.")
    result = muster("cancel", run)
    assert (result.exit_code, f"what is under way of {run}" in " ".join(result.stderr.split())) == (3, True)
    airflow.refuses.clear()
    assert read(muster("cancel", run, "--json"))["not_stopped"] == []
    assert types(site, run).count("run.cancel_requested") == 1


def test_what_is_scheduled_or_queued_is_stopped_as_well(muster: Muster, site: Site, airflow: Airflow) -> None:
    run = site.open(site.definition(AUTOMATION))
    airflow.task_states = {"one": "success", "two": "scheduled", "three": "queued"}
    airflow.then = {"four": "scheduled", "unwind.two": "scheduled", "close": "scheduled"}
    assert read(muster("cancel", run, "--json"))["stopped"] == ["two", "three", "four"]


def test_a_run_that_airflow_does_not_know_is_cancelled_all_the_same(
    muster: Muster, site: Site, airflow: Airflow
) -> None:
    run = site.open(site.definition(AUTOMATION))
    airflow.run_state, airflow.refuses = None, {"tasks": MusterError("Airflow refused it (404).")}
    assert muster("cancel", run).exit_code == 0
    assert site.state(run).cancelled_by == "admin"


def test_all_by_hand_is_refused_of_a_run_that_airflow_knows(muster: Muster, site: Site, airflow: Airflow) -> None:
    run = stuck(site)
    before = types(site, run)
    result = muster("resume", run, "--all-by-hand")
    assert (result.exit_code, f"Airflow knows {run}" in " ".join(result.stderr.split())) == (1, True)
    assert types(site, run) == before
