"""Promises of escalation on the real Airflow: it wakes the question, which stays open to those whose turn it is."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from muster.errors import MusterError
from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

AUTOMATION = """
automation: proving_escalation
steps:
  - id: ask
    human:
      ask: "Go on?"
      assignees: [finance-lead]
      remind: [2s]
      escalate: [{after: 90s, to: [finance-head]}]
      approvals: 2
      within: 1h
  - {id: after, skill: proving.note, with: {text: "{{ steps.ask.approvers | join(' and ') }}"}}
"""


def test_a_question_is_reminded_escalated_and_answered_by_two(airflow: Airflow) -> None:
    airflow.automation("proving_escalation", AUTOMATION)
    run = airflow.start("proving_escalation", "one")
    (question,) = airflow.waiting(run, "ask")
    assert [user["id"] for user in question["assigned_users"]] == ["finance-lead", "finance-head"]

    airflow.until("the reminder", lambda: "approval.reminded" in airflow.types(run))
    with pytest.raises(MusterError, match="finance-head is not one of those it waits for at this time: finance-lead"):
        airflow.answer(question, by="finance-head")
    assert "approval.refused" in airflow.types(run)
    airflow.until("the escalation", lambda: "approval.escalated" in airflow.types(run))
    airflow.answer(question)
    assert "approval.granted" in airflow.types(run)
    airflow.answer(question, by="finance-head")

    assert airflow.finish(run) == "success"
    said = {e.data["step"]: e.data["output"] for e in airflow.log.read(run) if e.type == "step.succeeded"}
    assert said["ask"]["approved"] is True
    assert said["after"] == "finance-lead and finance-head"
    sent = airflow.sql("SELECT target, subject, text FROM outbox WHERE run = %s ORDER BY id", run)
    told = ["Question", "Reminder", "Escalated"]
    assert [(target, subject.partition(":")[0]) for target, subject, _ in sent] == [("#approvals", it) for it in told]
    page = f"http://localhost:{urlsplit(airflow.stack.url).port}/dags/proving_escalation/runs/one/tasks/ask/required_actions"
    assert all(page in text for _, _, text in sent)
