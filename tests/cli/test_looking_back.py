"""`muster history` and `muster agents --load`: how runs went, and what agents are at and have done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from support.command import Muster, read

AGENTS = """
department: office
agents:
  - { id: finder, role: You find., skills: [finding], offline: office.find }
  - { id: writer, role: You write., skills: [writing], offline: office.find }
"""
COUNTS = {"succeeded": 1, "failed": 0, "skipped": 0, "set_aside": 0}
Facts = list[tuple[T, dict[str, Any]]]


def opened(automation: str) -> tuple[T, dict[str, Any]]:
    return T.RUN_OPENED, {"automation": automation, "definition": "d" * 64, "inputs": {}, "dag_id": "x"}


def work(step: str, index: int | None, agent: str = "finder", **error: str) -> Facts:
    place = {"step": step, "index": index}
    started = {**place, "kind": "agent", "lane": "async", "attempt": 1, "agent": agent}
    end = (T.STEP_FAILED, {**place, "error": {**error, "message": "no"}}) if error else (T.STEP_SUCCEEDED, {**place})
    return [(T.STEP_STARTED, started), (T.MODEL_CALLED, {**place, "agent": agent, "cost": "0.5", "usage": {}}), end]


def closed(status: str) -> tuple[T, dict[str, Any]]:
    return T.RUN_CLOSED, {"status": status, "counts": COUNTS, "cost": "0"}


@pytest.fixture(autouse=True)
def runs(database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """Ten runs of `letters`, of which two failed and one is open, and one of `bills`, which is stuck."""
    monkeypatch.setenv("MUSTER_DSN", dsn)
    (project / "include" / "agents").mkdir()
    (project / "include" / "agents" / "office.yaml").write_text(AGENTS)
    log = EventLog(database)

    def write(run: str, facts: Facts, actor: str = "muster") -> None:
        log.append(run, [NewEvent(type=type_, data=data, actor=actor) for type_, data in facts])

    for number in range(7):
        items = [(T.STEP_EXPANDED, {"step": "read", "length": 3, "indices": [0, 1, 2]})]
        items += [fact for index in range(3) for fact in work("read", index)]
        items.append((T.STEP_COMPLETED, {"step": "read", "counts": {"succeeded": 3}}))
        write(f"letters/{number}", [opened("letters"), *items, *work("ask", None), closed("succeeded")])
    for number in (7, 8):
        write(f"letters/{number}", [opened("letters"), *work("ask", None, **{"class": "KeyError"}), closed("failed")])
    write("letters/9", [opened("letters"), *work("ask", None, "writer")[:1]])
    write("letters/0", [(T.APPROVAL_ANSWERED, {"step": "question", "index": None, "approved": True})], "ada")
    for number in (1, 2):
        write(f"letters/{number}", [(T.RUN_RESTARTED, {"step": "ask", "by": "ada"})], "ada")
    write("letters/3", [(T.RUN_RESTARTED, {"step": "ask", "by": "reconciler"})], "reconciler")
    write("bills/1", [opened("bills"), (T.RUN_STUCK, {"error": {"message": "no"}}), closed("stuck")])
    write("old/1", [opened("old"), closed("succeeded")])
    with database.connection() as connection:
        # Three items of 10 s side by side in 12 s, then a step of 40 s, in each run.
        now = datetime.now(UTC)
        for step, begins, ends in (("read", 0, 10), ("ask", 12, 52)):
            connection.execute(
                "UPDATE steps SET started_at = %s, ended_at = CASE WHEN ended_at IS NOT NULL THEN %s END"
                " WHERE step = %s",
                (now + timedelta(seconds=begins), now + timedelta(seconds=ends), step),
            )
        connection.execute("UPDATE steps SET ended_at = started_at + interval '12 s' WHERE step = 'read' AND index < 0")
        connection.execute("UPDATE runs SET closed_at = opened_at + interval '1 min' WHERE closed_at IS NOT NULL")
        connection.execute("UPDATE runs SET opened_at = now() - interval '8 days' WHERE id = 'old/1'")


def test_the_runs_of_a_period_are_added_up(muster: Muster) -> None:
    told = read(muster("history", "--json"))
    bills, letters = told["automations"]
    assert (letters["succeeded"], letters["failed"], letters["open"], letters["stuck"]) == (7, 2, 1, 0)
    assert letters["success_rate"] == pytest.approx(7 / 9)
    assert letters["seconds"] == 60
    # Once asked, twice helped unasked; what the reconciler did was no person.
    assert (letters["asked"], letters["helped"]) == (1, 2)
    assert letters["intervention_rate"] == pytest.approx(0.3)
    steps = {step["step"]: step for step in letters["steps"]}
    assert steps["read"]["speed_up"] == pytest.approx(30 / 12)
    assert (steps["ask"]["runs"], steps["ask"]["failed"], steps["ask"]["speed_up"]) == (9, 2, None)
    assert (bills["automation"], bills["stuck"], bills["success_rate"]) == ("bills", 1, 0)


def test_numbers_that_call_for_it_are_said_in_a_sentence(muster: Muster) -> None:
    shown = muster("history").stdout
    assert "letters: ask failed in 2 of 9 runs, mostly with KeyError." in shown
    assert "letters: 81% of the time is ask: what is made faster there counts." in shown
    assert "bills: 1 stuck, for a person: `muster runs --automation bills --status stuck`." in shown
    assert "2.5x" in shown
    assert "old" not in shown


def test_how_far_back_is_said(muster: Muster) -> None:
    assert {record["automation"] for record in read(muster("history", "--since", "9d", "--json"))["automations"]} == {
        "bills",
        "letters",
        "old",
    }
    wrong = muster("history", "--since", "a week")
    assert wrong.exit_code == 2
    assert "'a week' is not a duration" in wrong.output


def test_what_agents_are_at_and_have_done(muster: Muster, database: Database) -> None:
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO breakers (name, state, failures, opened_at, open_until, error)"
            " VALUES ('agent:writer', 'open', 5, now(), now() + interval '1 min', 'TransientError')"
        )
    finder, writer = read(muster("agents", "--load", "--json"))
    assert (finder["agent"], finder["at_work"], finder["succeeded"], finder["failed"]) == ("finder", 0, 28, 2)
    assert finder["seconds"] == 10
    assert finder["usd"] == pytest.approx(15)
    assert (writer["agent"], writer["at_work"], writer["succeeded"], writer["breaker"]) == ("writer", 1, 0, "open")
    assert "writer" in muster("agents", "--load").stdout
