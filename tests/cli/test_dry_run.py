"""`muster run --dry-run` shows what a run would do and come to, and starts nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from support.command import Muster, read

AGENTS = """
department: office
agents:
  - { id: finder, role: You find., skills: [finding], offline: office.find }
  - { id: writer, role: You write., skills: [writing], offline: office.find }
"""
SKILL = '''
from muster.skills.registry import skill


@skill("office.find")
def find() -> str:
    """Find."""
    return "found"
'''
AUTOMATION = """
automation: offers
inputs:
  topic: { type: string }
  tasks: { type: array, default: [] }
steps:
  - id: look
    skill: office.find
  - id: compare
    team:
      size: 2
      tasks:
        - { id: first, ask: Find the first., needs: [finding], effort: 10, touches: [notes/a.md] }
        - { id: second, ask: Find the second., needs: [finding], effort: 30, touches: ["notes/*"] }
        - { id: join, ask: Write., needs: [writing], uses: { one: first, two: second }, effort: 5 }
  - id: more
    when: "{{ inputs.tasks | length > 0 }}"
    team: { plan: "{{ inputs.tasks }}" }
  - id: later
    team: { plan: "{{ steps.look }}" }
"""


@pytest.fixture(autouse=True)
def offers(project: Path) -> None:
    include = project / "include"
    for name, text in (("agents/office.yaml", AGENTS), ("skills/office.py", SKILL), ("automations/o.yaml", AUTOMATION)):
        (include / name).parent.mkdir(exist_ok=True)
        (include / name).write_text(text)


def test_plan_assignment_conflicts_and_times_are_shown_without_a_database(muster: Muster) -> None:
    told = read(muster("run", "offers", "--dry-run", "--input", "topic=tea", "--agents", "3", "--json"))
    [compare] = told["teams"]
    assert compare["members"] == ["finder", "writer", "finder"]
    assert [(task["id"], task["agent"], task["begins"], task["ends"]) for task in compare["tasks"]] == [
        ("first", "finder", 0, 10),
        ("second", "finder", 0, 30),
        ("join", "writer", 30, 35),
    ]
    assert compare["seconds"] == {"low": 17.5, "likely": 35, "high": 70}
    assert (compare["seconds_alone"], compare["usd"]) == (45, None)
    [conflict] = compare["conflicts"]
    assert (conflict["first"], conflict["second"], conflict["suggestion"]) == ("first", "second", "split")
    assert told["not_known_yet"] == {
        "more": "it is left out by its `when`",
        "later": "what it does is known once `look` has ended",
    }


def test_people_read_the_same(muster: Muster) -> None:
    shown = muster("run", "offers", "--dry-run", "--input", "topic=tea").stdout
    assert "offers, dry run: nothing is started." in shown
    assert "compare: 3 tasks for finder, writer" in shown
    assert "It takes 45s (22s to 1m 30s), where one agent would take 45s; nobody knows what it costs yet." in shown
    assert "later: what it does is known once `look` has ended." in shown


def test_a_plan_in_the_inputs_is_shown_and_a_bad_one_refused(muster: Muster) -> None:
    good = muster("run", "offers", "--dry-run", "-i", "topic=t", "-i", 'tasks=[{"id": "one", "ask": "Do."}]', "--json")
    assert [task["id"] for task in read(good)["teams"][1]["tasks"]] == ["one"]
    bad = muster(
        "run", "offers", "--dry-run", "-i", "topic=t", "-i", 'tasks=[{"id": "one", "ask": "?", "after": ["one"]}]'
    )
    assert bad.exit_code == 1
    assert "more: The plan" in bad.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["offres"], "There is no automation offres."),
        (["offers"], "'topic' is a required property"),
        (["offers", "-i", "topic=t", "-i", "tipic=t"], "has no input `tipic`"),
        (["offers", "-i", "topic=t", "--agents", "1"], "and the team has 1 places"),
    ],
)
def test_what_cannot_be_shown_is_said(muster: Muster, arguments: list[str], said: str) -> None:
    refused = muster("run", *arguments, "--dry-run")
    assert refused.exit_code == 1
    assert said in refused.stderr


def test_earlier_runs_say_how_long_it_takes_and_what_it_costs(
    muster: Muster, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    log = EventLog(database)
    for number in range(6):
        run = f"offers/{number}"
        opened = {"automation": "offers", "definition": "d" * 64, "inputs": {}, "dag_id": "offers", "dag_run_id": "1"}
        facts = [(EventType.RUN_OPENED, opened)]
        for index, agent in enumerate(("finder", "finder", "writer")):
            place = {"step": "compare", "index": index}
            facts += [
                (EventType.STEP_STARTED, {**place, "kind": "team", "lane": "async", "attempt": 1, "agent": agent}),
                (EventType.MODEL_CALLED, {**place, "agent": agent, "model": "m", "cost": "0.02", "usage": {}}),
                (EventType.STEP_SUCCEEDED, {**place, "output": 1, "produced_by": f"agent:{agent}"}),
            ]
        counts = {"succeeded": 3, "failed": 0, "skipped": 0, "set_aside": 0}
        facts.append((EventType.RUN_CLOSED, {"status": "succeeded", "counts": counts, "cost": "0.06"}))
        log.append(run, [NewEvent(type=type_, data=data) for type_, data in facts])
    began = datetime.now(UTC) - timedelta(days=1)
    with database.connection() as connection:
        connection.execute(
            "UPDATE steps SET started_at = %s, ended_at = %s + make_interval(secs => right(run, 1)::int + 1)",
            (began, began),
        )
    told = read(muster("run", "offers", "--dry-run", "-i", "topic=tea", "--json"))
    compare = told["teams"][0]
    assert compare["seconds"]["likely"] == pytest.approx(3 * 3.5)
    assert compare["usd"]["likely"] == pytest.approx(0.06)
    earlier = {step["id"]: step["earlier"] for step in told["steps"]}
    assert earlier["compare"]["count"] == 6
    assert earlier["compare"]["usd"]["likely"] == pytest.approx(0.06)
    assert earlier["look"] is None
    assert told["run"]["count"] == 6
