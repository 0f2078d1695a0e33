"""Promises of a run on the real Airflow: started, asked, restarted, versioned."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from muster.errors import MusterError
from muster.triggers.arrivals import SETTLED_AFTER
from support.airflow import Airflow
from support.bank import BankServer
from support.model_server import ModelServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DETAILS = "/api/v2/dags/proving_version/details"
APPROVAL = """
automation: {name}
steps:
  - {{id: before, skill: proving.note, with: {{text: "{text}"}}}}
  - {{id: ask, human: {{ask: "Go on?", assignees: [finance-lead, admin], within: 1h}}}}
  - {{id: after, skill: proving.note, with: {{text: "{text}"}}}}
"""


def test_the_same_run_id_twice_is_refused_and_runs_once(airflow: Airflow) -> None:
    airflow.automation(
        "proving_once",
        'automation: proving_once\nsteps:\n  - {id: one, skill: proving.note, with: {text: "x"}}\n',
    )
    run = airflow.start("proving_once", "order-4711")
    _, new = airflow.client.trigger("proving_once", run_id="order-4711")
    assert not new, "Airflow answered 409 and kept the first run"
    assert airflow.finish(run) == "success"
    assert airflow.types(run).count("run.opened") == 1


def test_an_input_that_is_not_declared_is_refused_wherever_it_comes_from(airflow: Airflow) -> None:
    airflow.automation(
        "proving_inputs",
        "automation: proving_inputs\ninputs: {text: {type: string, default: x}}\n"
        "steps:\n  - {id: one, skill: proving.note, with: {text: '{{ inputs.text }}'}}\n",
    )
    assert list((airflow.client.details("proving_inputs") or {})["params"]) == ["text"]
    run = airflow.start("proving_inputs", "rest", texts="y")
    assert airflow.finish(run) == "failed"
    assert airflow.types(run)[0] == "run.opened"
    assert "step.started" not in airflow.types(run)
    assert next(airflow.log.read(run)).data["undeclared"] == ["texts"]
    # What Airflow adds where it reports lineage, and what it was started with, are told apart.
    assert (
        airflow.finish(airflow.start("proving_inputs", "fits", text="y", openlineage={"parentRunId": "z"})) == "success"
    )


def test_a_run_keeps_its_version_through_an_approval_and_an_edit(airflow: Airflow) -> None:
    path = airflow.automation("proving_version", APPROVAL.format(name="proving_version", text="old"))
    run = airflow.start("proving_version", "first")
    (question,) = airflow.waiting(run, "ask")
    path.write_text(APPROVAL.format(name="proving_version", text="new"))
    written = time.monotonic()
    before = airflow.queries.run(run)

    airflow.until("the edit", lambda: 'text: "new"' in airflow.client.get(DETAILS)["doc_md"])
    print(f"The edit was visible after {time.monotonic() - written:.1f} s.")
    airflow.answer(question)
    assert airflow.finish(run) == "success"
    outputs = {e.data["step"]: e.data["output"] for e in airflow.log.read(run) if e.type == "step.succeeded"}
    assert outputs["after"] == "old"
    second = airflow.start("proving_version", "second")
    (question,) = airflow.waiting(second, "ask")
    now = airflow.queries.run(second)
    assert now.definition != before.definition
    assert now.bundle_version != before.bundle_version
    airflow.answer(question, "Reject")
    assert airflow.finish(second) == "success"
    assert airflow.queries.run(second).status == "succeeded"
    skipped = [e.data for e in airflow.log.read(second) if e.type == "step.skipped"]
    assert [(data["step"], data["reason"]) for data in skipped] == [("after", "rejected")]


def test_whoever_asks_for_a_run_cannot_approve_it(airflow: Airflow) -> None:
    airflow.automation("proving_eyes", APPROVAL.format(name="proving_eyes", text="x"))
    run = airflow.start("proving_eyes", "own")
    (question,) = airflow.waiting(run, "ask")
    assert [user["id"] for user in question["assigned_users"]] == ["finance-lead"]
    with pytest.raises(MusterError, match="admin may not answer"):
        airflow.client.answer(question["task_instance"], "Approve")
    airflow.answer(question)
    assert airflow.finish(run) == "success"


def test_a_broken_file_shows_where_it_is_broken_and_hides_no_other(airflow: Airflow) -> None:
    airflow.automation("proving_beside", APPROVAL.format(name="proving_beside", text="x"))
    broken = airflow.project / "include" / "automations" / "tests" / "proving_broken.yaml"
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("automation: proving_broken\nsteps:\n  - {id: x, skil: proving.note}\n")
    (error,) = airflow.until("the import error", airflow.client.import_errors)
    assert "proving_broken.yaml:3:13: unknown key `skil`" in error["stack_trace"]
    assert "Did you mean `skill`?" in error["stack_trace"]
    assert airflow.client.dag("proving_beside"), "the automation beside it is still there"
    broken.unlink()
    airflow.until("the error to go", lambda: not airflow.client.import_errors())


def test_files_that_arrive_start_one_run_with_all_of_them_once_they_are_whole(airflow: Airflow) -> None:
    """Without waiting for the next look at all files, which is longer than this test has patience."""
    inbox = airflow.project / "arrivals"
    inbox.mkdir()
    airflow.automation(
        "proving_files",
        f"""
automation: proving_files
inputs: {{files: {{type: array, items: {{type: string}}, default: []}}}}
triggers:
  - files: {{path: "{inbox}", match: ["*.txt"], every: 1h}}
steps:
  - {{id: count, skill: proving.note, with: {{text: "{{{{ inputs.files | length }}}} files"}}}}
""",
    )

    def run_of(*names: str) -> str:
        def look() -> list[str]:
            rows = airflow.queries.runs(automation="proving_files")
            opened = {row.id: next(airflow.log.read(row.id)).data["inputs"]["files"] for row in rows}
            return [run for run, files in opened.items() if [Path(uri).name for uri in files] == list(names)]

        (run,) = airflow.until(f"the run of {names}", look)
        assert airflow.finish(run) == "success"
        return str(run)

    def moment(said: str) -> float:
        return datetime.fromisoformat(said).timestamp()

    for name in ("a.txt", "b.txt", "c.dat"):
        (inbox / name).write_text(name)
    first = run_of("a.txt", "b.txt")
    with (inbox / "slow.txt").open("w") as file:
        for _ in range(12):
            file.write("a line\n")
            file.flush()
            time.sleep(0.5)
    second = run_of("slow.txt")
    assert {row.id for row in airflow.queries.runs(automation="proving_files")} == {first, second}
    woken = airflow.client.get("/api/v2/dags/proving_files.files/dagRuns")["dag_runs"]
    for run, name in ((first, "b.txt"), (second, "slow.txt")):
        written = (inbox / name).stat().st_mtime
        ((claimed,),) = airflow.sql(
            "SELECT extract(epoch FROM arrived_at)::float FROM arrivals WHERE uri LIKE %s", f"%/{name}"
        )
        asked = moment((airflow.client.run(*run.split("/", 1)) or {})["queued_at"])
        opened = next(airflow.log.read(run)).at.timestamp()
        assert min(moment(one["queued_at"]) for one in woken) < claimed
        assert written + SETTLED_AFTER <= claimed <= asked <= opened


def test_an_airflow_operator_is_a_step_with_its_result_in_the_log(airflow: Airflow) -> None:
    airflow.automation(
        "proving_operator",
        """
automation: proving_operator
settings: {allowed_operators: [airflow.providers.standard.operators.bash.BashOperator]}
steps:
  - {id: one, skill: proving.note, with: {text: "it's; $HOME"}}
  - id: shell
    operator: airflow.providers.standard.operators.bash.BashOperator
    with: {bash_command: "printf %s \\"$SAID\\"", env: {SAID: "{{ steps.one }}"}}
  - id: fails
    operator: airflow.providers.standard.operators.bash.BashOperator
    with: {bash_command: "exit 3"}
""",
    )
    run = airflow.start("proving_operator", "one")
    assert airflow.finish(run) == "failed"
    assert "step fails failed" in airflow.queries.run(run).reason
    outputs = {e.data["step"]: e.data["output"] for e in airflow.log.read(run) if e.type == "step.succeeded"}
    assert outputs["shell"] == "it's; $HOME"


def test_nothing_is_lost_or_done_twice_when_triggerer_worker_and_scheduler_are_killed(
    airflow: Airflow, witness: BankServer
) -> None:
    airflow.automation(
        "proving_kills",
        """
automation: proving_kills
steps:
  - {id: waits, each: [15, 15, 15, 15], skill: proving.wait, with: {seconds: "{{ item }}"}}
  - {id: packed, each: [15, 15, 15], pack: all, after: [], skill: proving.wait, with: {seconds: "{{ item }}"}}
  - {id: works, after: [waits, packed], skill: proving.note, with: {text: "x", seconds: 20}}
  - {id: last, skill: proving.note, with: {text: "y"}}
""",
    )
    run = airflow.start("proving_kills", "one")
    airflow.until("waits under way", lambda: _begun(witness, run) == 7)
    os.kill(airflow.stack.supervisor.components["triggerer"].process.pid, signal.SIGKILL)
    airflow.until("work under way", lambda: witness.charges[f"{run}/works/first"])
    worker = airflow.until("the worker", lambda: _worker(airflow, run))
    os.kill(worker, signal.SIGKILL)
    os.kill(airflow.stack.supervisor.components["scheduler"].process.pid, signal.SIGKILL)
    assert airflow.finish(run) == "success"
    works = ("last", "works", *(f"waits[{n}]" for n in range(4)), *(f"packed[{n}]" for n in range(3)))
    wanted = {f"{run}/{work}/{effect}": 1 for work in works for effect in ("first", "last")}
    assert {name: count for name, count in witness.charges.items() if name.startswith(run) and count} == wanted
    ended = [e.key for e in airflow.log.read(run) if e.type == "step.succeeded"]
    assert len(ended) == len(set(ended)) == 9
    assert airflow.log.verify(run) is None


def test_a_scheduler_that_hangs_is_ended_and_its_run_goes_on(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow.automation(
        "proving_hangs",
        'automation: proving_hangs\nsteps:\n  - {id: one, skill: proving.note, with: {text: "x"}}\n',
    )
    scheduler = airflow.stack.supervisor.components["scheduler"]
    restarts, keeper = scheduler.restarts, psutil.Process(scheduler.process.pid)
    monkeypatch.setattr(airflow.stack.supervisor, "patience", 10.0)
    for process in keeper.children(recursive=True):
        process.suspend()
    run = airflow.start("proving_hangs", "one")
    assert airflow.finish(run) == "success"
    assert scheduler.restarts == restarts + 1


def test_an_api_server_that_hangs_is_ended_and_started_again(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    server = airflow.stack.supervisor.components["api-server"]
    restarts, keeper = server.restarts, psutil.Process(server.process.pid)
    monkeypatch.setattr(airflow.stack.supervisor, "patience", 10.0)
    for process in keeper.children(recursive=True):
        process.suspend()
    airflow.until("a new API server", lambda: server.restarts > restarts)
    monkeypatch.setattr(airflow.stack.supervisor, "patience", 180.0)
    airflow.until("its first answer", lambda: airflow.stack.health()["api-server"])
    assert server.restarts == restarts + 1


def test_an_agent_asks_the_model_behind_its_connection_without_a_worker(airflow: Airflow, models: ModelServer) -> None:
    agents = airflow.project / "include" / "agents" / "proving.yaml"
    agents.write_text(
        "department: proving\nagents:\n"
        "  - {id: prover, role: You prove., tiers: [proving_model], tools: [proving.note]}\n"
    )
    airflow.automation(
        "proving_agent",
        """
automation: proving_agent
budget: {usd: 1}
settings: {prices: {proving: {input: 1, output: 2}}}
steps:
  - id: ask
    agent: prover
    ask: "Is this proven?"
    returns: {type: object, properties: {proven: {type: boolean}}, required: [proven]}
""",
    )
    models.script(
        {"call": {"name": "proving_note", "arguments": {"text": "from a tool"}}}, {"answer": {"proven": True}}
    )
    run = airflow.start("proving_agent", "one")
    assert airflow.finish(run) == "success", airflow.queries.run(run).reason
    (ended,) = (e for e in airflow.log.read(run) if e.type == "step.succeeded")
    assert ended.data["output"] == {"proven": True}
    assert ended.data["produced_by"].startswith("model:proving_model:")
    called = [e.data for e in airflow.log.read(run) if e.type == "model.called"]
    assert [float(data["cost"]) > 0 for data in called] == [True, True]
    assert "tool.called" in airflow.types(run)


def _begun(witness: BankServer, run: str) -> int:
    return sum(name.startswith(run) and name.endswith("/first") for name in list(witness.charges))


def _worker(airflow: Airflow, run: str) -> int | None:
    """The process that performs the run's task now."""
    dag_id, _, run_id = run.partition("/")
    for task in airflow.client.tasks(dag_id, run_id):
        if task["task_id"] == "works" and task["state"] == "running" and task["pid"]:
            return int(task["pid"])
    return None


def test_a_run_that_waits_goes_on_when_its_version_was_cleaned_up(airflow: Airflow, tmp_path: Path) -> None:
    path = airflow.automation("proving_cleanup", APPROVAL.format(name="proving_cleanup", text="old"))
    run = airflow.start("proving_cleanup", "first")
    (question,) = airflow.waiting(run, "ask")
    version = airflow.queries.run(run).bundle_version
    disk = Path(airflow.stack.environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"])
    folder = disk / "muster" / "versions"

    def published() -> str:
        return (disk / "muster" / "current").read_text()

    for number in range(2):
        before = published()
        path.write_text(APPROVAL.format(name="proving_cleanup", text=f"edit {number}"))
        airflow.until("the edit", lambda before=before: published() != before)
        # As if a task of it had run: Airflow cleans up only what it has used.
        (disk / "_tracking" / "muster" / published()).write_text(f"2099-01-01T00:00:{number:02}+00:00")
    cleanup = (
        "from airflow.dag_processing.bundles.base import BundleUsageTrackingManager as Manager;"
        "Manager().remove_stale_bundle_versions()"
    )
    # Airflow keeps ten versions for six hours unless it is told otherwise.
    limits = {"AGE_THRESHOLD": "0", "MIN_VERSIONS": "1"}
    environment = os.environ | airflow.stack.environment
    environment |= {f"AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_{name}": limit for name, limit in limits.items()}

    def cleaned() -> bool:
        subprocess.run([sys.executable, "-c", cleanup], env=environment, check=True, capture_output=True)
        return not (folder / str(version)).exists()

    airflow.until("Airflow's cleanup", cleaned)

    elsewhere = environment | {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(tmp_path / "second")}
    initialize = (
        "import sys; from airflow.dag_processing.bundles.manager import DagBundlesManager as Manager;"
        "bundle = Manager().get_bundle('muster', sys.argv[1]); bundle.initialize(); print(bundle.path)"
    )
    second = subprocess.run(
        [sys.executable, "-c", initialize, str(version)], env=elsewhere, check=True, capture_output=True, text=True
    )
    copied = Path(second.stdout.splitlines()[-1]).parent / "include" / "automations" / "tests" / "proving_cleanup.yaml"
    assert copied.is_relative_to(tmp_path)
    assert 'text: "old"' in copied.read_text()

    shutil.rmtree(folder)
    airflow.answer(question)
    assert airflow.finish(run) == "success"
    outputs = {e.data["step"]: e.data["output"] for e in airflow.log.read(run) if e.type == "step.succeeded"}
    assert outputs["after"] == "old"
    assert 'text: "old"' in (folder / str(version) / copied.relative_to(copied.parents[3])).read_text()
