"""Promises of runs within runs on the real Airflow: awaited without a worker, undone with their parent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.runs.proving import name_of
from support.airflow import Airflow
from support.sources import source_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SKILLS = source_of(__file__, "child_runs")


def _undo(name: str) -> str:
    given = f"folder: '{{{{ inputs.folder }}}}', name: {name}"
    return f"compensate: {{skill: parcel.undo, with: {{{given}}}, retry: {{times: 0}}}}"


CHILD = f"""automation: proving_delivery
inputs: {{folder: {{type: string}}, parcel: {{type: string}}, asks: {{type: boolean, default: false}}}}
steps:
  - {{id: pick, skill: parcel.act, with: {{name: "{{{{ inputs.parcel }}}}"}}, {_undo("pick")}}}
  - id: ask
    when: "{{{{ inputs.asks }}}}"
    human: {{ask: "Send {{{{ inputs.parcel }}}}?", assignees: [finance-lead]}}
  - id: send
    skill: parcel.act
    with: {{name: "{{{{ inputs.parcel }}}}", breaks: "{{{{ inputs.parcel == 'lost' }}}}"}}
    {_undo("send")}
"""
PARENT = f"""automation: proving_order
inputs:
  folder: {{type: string}}
  parcels: {{type: array, items: {{type: string}}, default: [one, two]}}
  asks: {{type: boolean, default: false}}
  breaks: {{type: boolean, default: false}}
steps:
  - {{id: reserve, skill: parcel.act, with: {{name: reserve}}, {_undo("reserve")}}}
  - id: deliver
    each: "{{{{ inputs.parcels }}}}"
    run: proving_delivery
    with: {{folder: "{{{{ inputs.folder }}}}", parcel: "{{{{ item }}}}", asks: "{{{{ inputs.asks }}}}"}}
  - id: bill
    skill: parcel.act
    with: {{name: "{{{{ steps.deliver[0].outputs.send }}}}", breaks: "{{{{ inputs.breaks }}}}"}}
"""


def begin(airflow: Airflow, name: str, **inputs: Any) -> tuple[str, Path]:
    (airflow.project / "include" / "skills" / "parcel.py").write_text(SKILLS)
    folder = airflow.project / "parcels" / name
    folder.mkdir(parents=True, exist_ok=True)
    airflow.automation("proving_delivery", CHILD)
    airflow.automation("proving_order", PARENT)
    return airflow.start("proving_order", name, folder=str(folder), **inputs), folder


def states(airflow: Airflow, run: str) -> dict[str, list[str]]:
    dag_id, _, run_id = run.partition("/")
    found: dict[str, list[str]] = {}
    for task in airflow.client.tasks(dag_id, run_id):
        found.setdefault(task["task_id"], []).append(task["state"])
    return found


def children(airflow: Airflow, run: str) -> list[str]:
    return [event.data["child"] for event in airflow.log.read(run) if event.type == "child.requested"]


def test_children_are_awaited_and_undone_with_the_run_that_asked_for_them(airflow: Airflow) -> None:
    run, folder = begin(airflow, "undone", breaks=True)
    assert airflow.finish(run) == "failed"
    seen = states(airflow, run)
    assert seen["deliver"] == ["success", "success"]
    assert (seen["bill"], seen["unwind.deliver"], seen["close"]) == (["failed"], ["success"], ["failed"])
    assert airflow.queries.run(run).status == "compensated"
    marks = (folder / "undone").read_text().split()
    assert (sorted(marks[:4]), marks[4:]) == (["pick", "pick", "send", "send"], ["reserve"])
    names = children(airflow, run)
    assert len(set(names)) == 2
    (first,) = [e.data["child"] for e in airflow.log.read(run) if e.type == "child.requested" and e.data["index"] == 0]
    links = airflow.client.get("/api/v2/dags/proving_order/dagRuns/undone/taskInstances/deliver/links", map_index=0)[
        "extra_links"
    ]
    assert links["Child run"].endswith(f"/muster/runs/{first}")
    shown = airflow.command("show", run).stdout
    assert names[0].partition("/")[2] in "".join(shown.split())
    for child in names:
        assert airflow.finish(child) == "success"  # what Airflow saw; the log knows what came after
        row = airflow.queries.run(child)
        assert (row.status, row.requested_by, row.trigger) == ("compensated", "admin", "operator_triggered")
        opened = next(event for event in airflow.log.read(child) if event.type == "run.opened")
        assert opened.data["parent"]["run"] == run
        assert opened.causation in {event.id for event in airflow.log.read(run)}
        assert airflow.log.verify(child) is None
    assert airflow.log.verify(run) is None


def test_cancelling_reaches_the_children_that_wait(airflow: Airflow) -> None:
    run, folder = begin(airflow, "cancelled", asks=True, parcels=["one"])
    (child,) = airflow.until("a child", lambda: children(airflow, run))
    airflow.waiting(child, "ask")
    assert states(airflow, run)["deliver"] == ["deferred"]
    assert airflow.command("cancel", run, "--reason", "wrong order").returncode == 0
    assert airflow.finish(run) == "failed"
    assert (folder / "undone").read_text().split() == ["pick", "reserve"]
    assert airflow.queries.run(run).status == "compensated"
    assert airflow.queries.run(child).status == "compensated"
    assert airflow.finish(child) == "failed"


def test_a_child_that_fails_fails_its_step_at_once(airflow: Airflow) -> None:
    run, folder = begin(airflow, "lost", parcels=["lost"])
    assert airflow.finish(run) == "failed"
    (child,) = children(airflow, run)
    (task,) = [task for task in airflow.client.tasks("proving_order", "lost") if task["task_id"] == "deliver"]
    assert (task["state"], task["try_number"]) == ("failed", 1)
    (error,) = [event.data["error"] for event in airflow.log.read(run) if event.type == "step.failed"]
    assert error["message"] == f"The run {child} ended compensated: step send failed: lost is broken."
    assert (folder / "undone").read_text().split() == ["send", "pick", "reserve"]
    assert "run.undo_requested" not in airflow.types(child)


def test_a_child_that_is_paused_is_not_waited_for(airflow: Airflow) -> None:
    begin(airflow, "once", parcels=[])
    airflow.client._send("PATCH", "/api/v2/dags/proving_delivery", json={"is_paused": True})
    try:
        run, folder = begin(airflow, "paused", parcels=["one"])
        assert airflow.finish(run) == "failed"
    finally:
        airflow.client._send("PATCH", "/api/v2/dags/proving_delivery", json={"is_paused": False})
    assert (folder / "undone").read_text().split() == ["reserve"]
    errors = [event.data["error"]["message"] for event in airflow.log.read(run) if event.type == "step.failed"]
    assert errors == ["proving_delivery is paused in Airflow, so a run of it would not begin."]


def test_a_child_that_cannot_be_undone_is_resumed_first_and_then_its_parent(airflow: Airflow) -> None:
    (airflow.project / "parcels" / "stuck").mkdir(parents=True, exist_ok=True)
    (airflow.project / "parcels" / "stuck" / "pick.broken").touch()
    run, folder = begin(airflow, "stuck", breaks=True, parcels=["one"])
    assert airflow.finish(run) == "failed"
    (child,) = children(airflow, run)
    assert (airflow.queries.run(run).status, airflow.queries.run(child).status) == ("stuck", "stuck")
    assert (folder / "undone").read_text().split() == ["send"]

    (folder / "pick.broken").unlink()
    assert airflow.command("resume", child, "--note", "mended").returncode == 0
    airflow.until("the child's end", lambda: airflow.queries.run(child).status == "compensated")
    assert airflow.finish(child) == "failed"
    assert airflow.command("resume", run).returncode == 0
    airflow.until("the end", lambda: airflow.queries.run(run).status == "compensated")
    assert airflow.finish(run) == "failed"
    assert (folder / "undone").read_text().split() == ["send", "pick", "reserve"]
    assert airflow.log.verify(child) is None


def test_a_stranger_who_was_quicker_is_not_taken_for_the_child(airflow: Airflow) -> None:
    """Even one who has read the installation's secret, and so knows the child's id before it is asked for."""
    begin(airflow, "first", parcels=["one"])
    airflow.finish("proving_order/first")
    (taken,) = children(airflow, "proving_order/first")
    assert airflow.queries.run(taken).status == "succeeded", "what Airflow gives back of the conf proves it"

    ((secret,),) = airflow.sql("SELECT value FROM installation_secrets WHERE name = 'children'")
    parent = {"run": "proving_order/robbed", "step": "deliver", "index": 0, "key": "deliver[0]/child@0"}
    name = name_of(bytes(secret), parent["run"], "deliver[0]", 0)
    theirs = airflow.project / "parcels" / "theirs"
    theirs.mkdir()
    inputs = {"folder": str(theirs), "parcel": "two", "asks": True}
    stranger = airflow.start("proving_delivery", name, **inputs, muster_parent={**parent, "proof": "0" * 64})
    airflow.waiting(stranger, "ask")

    run, folder = begin(airflow, "robbed", parcels=["one"])
    assert airflow.finish(run) == "failed"
    assert children(airflow, run) == [stranger]
    (error,) = [event.data["error"] for event in airflow.log.read(run) if event.type == "step.failed"]
    assert "somebody else has started it" in error["message"]
    assert (folder / "undone").read_text().split() == ["reserve"]

    assert airflow.queries.run(stranger).status == "open"
    airflow.answer(airflow.waiting(stranger, "ask")[0])
    assert airflow.finish(stranger) == "success"
    assert airflow.queries.run(stranger).status == "succeeded"
    assert not (theirs / "undone").exists()
    opened = next(event for event in airflow.log.read(stranger) if event.type == "run.opened")
    assert "parent" not in opened.data
