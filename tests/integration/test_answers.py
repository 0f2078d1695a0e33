"""Promises of an answer on the real Airflow: however soon it comes, it counts once and harms no run."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from muster.errors import MusterError
from muster.local.client import Unreachable
from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

SINGLE = """
automation: proving_at_once
steps:
  - id: ask
    human: {ask: "Go on?", assignees: [finance-lead, finance-head], approvals: APPROVALS, remind: REMIND, within: 1h}
  - {id: after, skill: proving.note, with: {text: "{{ steps.ask.approvers | join(' and ') }}"}}
"""
EACH = """
automation: proving_many_at_once
steps:
  - {id: ask, each: "{{ range(10) | list }}", human: {ask: "Pay {{ item }}?", assignees: [finance-lead], within: 1h}}
  - {id: pay, each: "{{ steps.ask }}", skill: proving.note, with: {text: "{{ item.by }}"}}
"""
TORN = """
automation: proving_torn
steps:
  - {id: read, skill: proving.torn}
  - {id: wait, skill: proving.torn_too}
  - {id: ask, human: {ask: "Pay {{ steps.read }}?", assignees: [finance-lead], within: 1h}}
  - {id: after, skill: proving.note, with: {text: "{{ steps.ask.by }}"}}
"""
ROUNDS = int(os.environ.get("MUSTER_ANSWER_ROUNDS", "1"))


def single(airflow: Airflow, name: str, approvals: int = 1, remind: str = "[]") -> None:
    source = SINGLE.replace("proving_at_once", name).replace("APPROVALS", str(approvals)).replace("REMIND", remind)
    airflow.automation(name, source)


def answered_at_once(airflow: Airflow, run: str, option: Callable[[dict[str, Any]], str], *people: str) -> None:
    """Have every question of a run answered by each of these people, milliseconds after it is there."""
    dag_id, _, run_id = run.partition("/")
    done: set[tuple[int, str]] = set()
    clients = {name: airflow.stack.client(name) for name in people}

    def all_answered() -> bool:
        for detail in airflow.client.approvals(dag_id, run_id):
            task = detail["task_instance"]
            for name, client in clients.items():
                if (task["map_index"], name) not in done:
                    client.answer(task, option(detail))
                    done.add((task["map_index"], name))
        return (airflow.client.run(dag_id, run_id) or {}).get("state") in ("success", "failed")

    deadline = time.monotonic() + 300
    while not all_answered():
        assert time.monotonic() < deadline, f"{run} has not ended; answered: {sorted(done)}"


def ended_well(airflow: Airflow, run: str, questions: int = 1) -> dict[str, Any]:
    """What the log says of a run's answers, each asked once and settled once; Airflow says that it went well."""
    assert airflow.finish(run) == "success", airflow.types(run)
    types = airflow.types(run)
    assert types.count("approval.requested") == questions
    assert types.count("approval.answered") == questions
    assert airflow.queries.run(run).status == "succeeded"
    dag_id, _, run_id = run.partition("/")
    assert {task["state"] for task in airflow.client.tasks(dag_id, run_id)} <= {"success", "skipped"}
    answers = [event.data for event in airflow.log.read(run) if event.type == "approval.answered"]
    assert all(answer["answer"] == "person" for answer in answers)
    return {"answers": answers, "types": types}


@pytest.mark.parametrize("option", ["Approve", "Reject"])
def test_an_answer_at_once_counts_and_harms_no_run(airflow: Airflow, option: str) -> None:
    single(airflow, "proving_at_once")
    for number in range(ROUNDS):
        run = airflow.start("proving_at_once", f"{option}-{number}")
        answered_at_once(airflow, run, lambda _: option, "finance-lead")
        (answer,) = ended_well(airflow, run)["answers"]
        assert (answer["approved"], answer["by"]) == (option == "Approve", "finance-lead")


def test_answers_at_once_to_the_items_of_a_fan_out_count_each(airflow: Airflow) -> None:
    airflow.automation("proving_many_at_once", EACH)
    for number in range(ROUNDS):
        run = airflow.start("proving_many_at_once", f"many-{number}")
        answered_at_once(
            airflow, run, lambda detail: "Reject" if "3" in detail["subject"] else "Approve", "finance-lead"
        )
        answers = ended_well(airflow, run, questions=10)["answers"]
        assert {answer["index"]: answer["approved"] for answer in answers} == {n: n != 3 for n in range(10)}
        paid = [
            e.data["index"] for e in airflow.log.read(run) if e.type == "step.succeeded" and e.data["step"] == "pay"
        ]
        assert sorted(paid) == [n for n in range(10) if n != 3]


@pytest.mark.parametrize("people", list(itertools.permutations(["finance-lead", "finance-head"])))
def test_two_approvals_at_once_both_count(airflow: Airflow, people: tuple[str, str]) -> None:
    single(airflow, "proving_two_at_once", approvals=2)
    for number in range(ROUNDS):
        run = airflow.start("proving_two_at_once", f"{people[0]}-{number}")
        answered_at_once(airflow, run, lambda _: "Approve", *people)
        (answer,) = ended_well(airflow, run)["answers"]
        assert answer["approvers"] == list(people)


def test_what_postgresql_stores_in_no_text_harms_no_task_and_no_answer(airflow: Airflow) -> None:
    airflow.automation("proving_torn", TORN)
    run = airflow.start("proving_torn", "torn")
    dag_id, _, run_id = run.partition("/")
    deadline, asked = time.monotonic() + 300, list[dict[str, Any]]()
    while not asked:
        states = {task["task_id"]: task["state"] for task in airflow.client.tasks(dag_id, run_id)}
        assert "failed" not in states.values(), states
        assert time.monotonic() < deadline, states
        time.sleep(1)
        # Its row is there before its task waits; what is answered in between is stored elsewhere.
        asked = airflow.client.approvals(dag_id, run_id) if states.get("ask") in ("deferred", "awaiting_input") else []
    lead = airflow.stack.client("finance-lead")
    with pytest.raises(MusterError, match="rejected by database"):
        lead.answer(asked[0]["task_instance"], "Approve", {"note": "torn \0"})
    lead.answer(asked[0]["task_instance"], "Approve", {"note": "whole"})
    (answer,) = ended_well(airflow, run)["answers"]
    assert answer["note"] == "whole"


def test_reminders_of_seconds_harm_no_run_and_no_answer(airflow: Airflow) -> None:
    single(airflow, "proving_reminded_soon", approvals=2, remind="[1s, 2s, 18s]")
    for number in range(ROUNDS):
        run = airflow.start("proving_reminded_soon", f"reminded-{number}")
        airflow.until("a reminder", lambda run=run: "approval.reminded" in airflow.types(run))
        answered_at_once(airflow, run, lambda _: "Approve", "finance-lead", "finance-head")
        types = ended_well(airflow, run)["types"]
        assert types.count("approval.reminded") == len({e.key for e in airflow.log.read(run) if "reminded" in e.type})


def test_reminders_alone_lose_no_question(airflow: Airflow) -> None:
    single(airflow, "proving_reminded", remind="[1s, 16s, 31s]")
    run = airflow.start("proving_reminded", "alone")
    airflow.until("all reminders", lambda: airflow.types(run).count("approval.reminded") == 3)
    answered_at_once(airflow, run, lambda _: "Approve", "finance-lead")
    ended_well(airflow, run)


def test_an_api_server_that_is_killed_between_answers_loses_none(airflow: Airflow) -> None:
    single(airflow, "proving_killed_answers", approvals=2)
    for number in range(ROUNDS):
        run = airflow.start("proving_killed_answers", f"killed-{number}")
        (question,) = airflow.waiting(run, "ask")
        first = Thread(target=lambda task=question["task_instance"]: _taken(airflow, task, "finance-lead"))
        first.start()
        time.sleep(0.02 * (number + 1))
        os.kill(airflow.stack.supervisor.components["api-server"].process.pid, signal.SIGKILL)
        first.join()
        _taken(airflow, question["task_instance"], "finance-head")
        (answer,) = ended_well(airflow, run)["answers"]
        assert answer["approvers"] == ["finance-lead", "finance-head"]


def _taken(airflow: Airflow, task: dict[str, Any], by: str) -> None:
    """Answer as a person does whose request may fail: again, until it is taken."""
    client, deadline = airflow.stack.client(by), time.monotonic() + 240
    while True:
        try:
            client.answer(task, "Approve")
            return
        except Unreachable:
            assert time.monotonic() < deadline, f"{by} could not answer"
            time.sleep(0.3)
        except MusterError as error:
            # The answer to the first request was lost, and it had counted.
            if f"{by} has approved it already" not in error.message:
                raise
            return
