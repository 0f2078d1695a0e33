"""What Muster makes of kinds that it does not know: collected by `tests/test_kinds.py`, in a process with the toys."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner
from fastapi import FastAPI
from fastapi.testclient import TestClient

from muster.database import Database
from muster.language import Definition, load_folder
from muster.language.kinds import KINDS
from muster.language.reference import page
from muster.language.schema import automation_schema
from muster_airflow.api.app import create_app
from muster_airflow.compiler.triggers import routers
from muster_airflow.links import STEPS
from muster_airflow.loading import load_automations
from support.runs import Site

COMPENSATED = """
  - {id: undo_me, echo: "{{ steps.say[0] }}", lane: async, compensate: {skill: office.hush}}
  - {id: fail, echo: "{{ 1 / 0 }}"}
"""
RUNG = """automation: rung
triggers:
  - bell: front_door
  - schedule: "@daily"
steps:
  - {id: say, echo: Who is there?}
"""
SKILL = '''
from muster.skills import skill

@skill("office.hush")
def hush() -> None:
    """Says nothing."""
'''


def test_it_is_performed_repeated_and_undone_as_every_other(tmp_path: Path, database: Database) -> None:
    site = Site(tmp_path, database)
    site.skills("office", SKILL)
    run = site.open(site.definition(KINDS["echo"].example + COMPENSATED), name="you")
    assert [site.step(run, step).status for step in ("say", "undo_me", "fail")] == ["succeeded", "succeeded", "failed"]
    assert site.unwind(run) == "succeeded"
    site.close(run)
    state = site.state(run)
    assert state.step("say").output == ["Hello you", "Hello you"]
    assert (state.status, state.step("undo_me").status) == ("compensated", "undone")
    fanned = site.definition(
        "automation: many\nsteps:\n  - {id: each_one, each: [a, b], pack: all, echo: '{{ item }}'}"
    )
    assert site.state(site.run(fanned)).step("each_one").output == [["a"], ["b"]]


def test_it_is_checked_and_documented(site: Site) -> None:
    folder = site.include / "automations"
    wrong = {
        "shout": "echo: HEY",
        "both": "{echo: a, skill: b.c}",
        "odd": "{echo: a, agent_: b}",
        "way": "echo: '{{ steps.x }}'",
    }
    for name, what in wrong.items():
        step = what[1:-1] if what.startswith("{") else what
        (folder / f"{name}.yaml").write_text(f"automation: {name}\nsteps:\n  - {{id: say, {step}}}\n")
    broken = {path.stem: str(problems[0]) for path, problems in load_folder(site.include).broken.items()}
    assert "3:21: nobody shouts here" in broken["shout"]
    assert "exactly one of `skill`" in broken["both"]
    assert "`run` or `echo` can stand here" in broken["both"]
    assert "unknown key `agent_`" in broken["odd"]
    assert "there is no step `x`" in broken["way"]
    assert "### echo\n\nSays something again.\n\n| key" in page()
    assert KINDS["echo"].example in page()
    assert '| [echo](#echo) | What was said, as often as it was. | `["Hello you", "Hello you"]` |' in page()
    assert "`notify`, `operator` and `echo` perform work" in page()
    assert "EchoStep" in automation_schema()["$defs"]


def test_it_is_a_task_in_the_lane_that_is_asked_for(site: Site) -> None:
    text = "automation: both\nsteps:\n  - {id: here, echo: a}\n  - {id: there, echo: a, lane: async}\n"
    (site.include / "automations" / "both.yaml").write_text(text)
    dags: dict[str, object] = {}
    load_automations(dags, site.include, reconciler=False)
    tasks = [dags["both"].get_task(name) for name in ("here", "there")]  # type: ignore[attr-defined]
    assert [(task.task_type, task.start_from_trigger) for task in tasks] == [
        ("EchoStep", False),
        ("AsyncEchoStep", True),
    ]
    assert {task.operator_name for task in tasks} == {"echo"}
    assert {task.task_type for task in tasks} <= {each.__name__ for each in STEPS}, "they have the links"


def test_its_trigger_is_checked_documented_and_stored(site: Site) -> None:
    definition = site.definition(RUNG)
    assert [trigger.said for trigger in definition.triggers] == ["the bell front_door", "@daily UTC"]
    assert Definition.model_validate_json(definition.canonical_json()) == definition
    path = site.include / "automations" / "tested.yaml"
    path.write_text(RUNG + "inputs: {name: {type: string}}\n")
    assert "3:5: this trigger cannot give the input `name`" in str(load_folder(site.include).problems[0])
    path.write_text(RUNG.replace("bell:", "ball:"))
    assert "Did you mean `bell`?" in str(load_folder(site.include).problems[0])
    assert "### triggers: bell\n\nStarts a run when somebody rings.\n" in page()
    assert "BellTrigger" in automation_schema()["$defs"]


def test_its_trigger_brings_a_route_and_a_dag_that_starts_runs(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    asked: list[Any] = []
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=asked.append), raising=False)
    (site.include / "automations" / "rung.yaml").write_text(RUNG)
    dags: dict[str, Any] = {}
    load_automations(dags, site.include, reconciler=False)
    assert sorted(dags) == ["rung", "rung.bell"]
    assert dags["rung"].timetable.expression == "0 0 * * *"

    def listen() -> bool:
        return bool(dags["rung.bell"].get_task("front_door").execute({"ti": SimpleNamespace(run_id="one")}))

    assert not listen()
    (route,) = [route for route in create_app().routes if getattr(route, "path", "") == "/bells/{name}"]
    assert len(route.dependencies) == 1, "it is closed to those who are not logged in"  # type: ignore[attr-defined]
    app = FastAPI()
    for router in routers():
        app.include_router(router)
    assert TestClient(app).post("/bells/front_door").status_code == 200
    assert [listen(), listen()] == [True, False]
    assert [(it.dag_id, it.run_id) for it in asked] == [("rung", "bell__one")]
