"""A debate becomes a strategy, goals, tasks and a report, on the real Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ARGUMENTS = [
    {
        "id": "south",
        "claim": "- Open a branch in the south: branches from 1 to 2 by 2099-12-31 @sales",
        "strength": 0.5,
    },
    {"id": "web", "claim": "- Sell on the web: web orders from 0 to 900 by 2099-12-31 @sales", "strength": 0.5},
    {"id": "rent", "claim": "Rents in the south have doubled.", "strength": 0.8, "attacks": "south"},
    {"id": "asked", "claim": "Customers ask for a web shop.", "strength": 0.6, "supports": "web"},
]


def test_a_debate_becomes_goals_that_a_person_accepts_and_a_report(airflow: Airflow) -> None:
    airflow.until("the Dag", lambda: airflow.client.dag("goal_cascade"))
    run = airflow.start("goal_cascade", "debated", arguments=ARGUMENTS)
    [question] = airflow.until("the question", lambda: airflow.waiting(run, "accept"))
    assert "Sell on the web" in question["subject"]
    airflow.answer(question, "Approve")
    assert airflow.finish(run) == "success", airflow.queries.run(run).reason
    outputs = {
        event.data["step"]: event.data["output"]
        for event in airflow.log.read(run)
        if event.type == "step.succeeded" and event.data.get("index") is None
    }
    assert outputs["decide"]["option"] == "web"
    assert outputs["report"]["goals"] == 1
    page = Path(outputs["report"]["html"]).read_text()
    assert "New customers" in page
    assert "for (0.60): Customers ask for a web shop." in page
    agents = {event.data["agent"] for event in airflow.log.read(run) if event.type == "task.assigned"}
    assert agents == {"strategy_advocate", "strategy_critic"}
