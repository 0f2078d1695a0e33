"""Promises of a question as it is put: it is sent where people are told of it, once, with all that an answer needs."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest

from execution.test_escalation import Approval
from muster.approvals import asking
from muster.approvals.decisions import Reply, take_reply
from muster.execution.fanout import expand
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.notifications import Delivery, Notice, OutboxEntry, Sender
from recovery.test_deaths import time_passes
from support.asking import MOMENTS, announce
from support.deaths import Deaths
from support.runs import Site
from support.slack import slack_server

ASKING = """
automation: tested
title: Payments
inputs: {amount: {default: 10}}
steps:
  - id: approve
    human:
      ask: "Pay {{ inputs.amount }}?"
      details: |
        {% if inputs.amount > 100 %}
        That is much.
        {% endif %}

        **{{ inputs.amount }} EUR** are due.

        {% if inputs.amount > 1000 %}
        That is very much.
        {% endif %}
        {% if inputs.amount < 100 %}
        That is little.
        {% endif %}
      assignees: [lead, deputy]
      approvals: 2
      within: 24h
"""
FOR_EACH = """
automation: tested
steps:
  - id: approve
    each: [ada, ben]
    human: {ask: "Pay {{ item }}?", assignees: [lead], notify: [{email: office@example.com}]}
"""


@pytest.fixture
def reached(site: Site) -> Site:
    """A site that knows where Airflow is."""
    site.services = dataclasses.replace(site.services, page=lambda ref: f"http://air/{ref.run}/{ref.step}/{ref.slot}")
    return site


def told(site: Site, run: str) -> list[OutboxEntry]:
    """What people were told, in its order."""
    return site.services.notices.outbox.entries(run=run)[::-1]


def test_the_question_is_sent_with_all_that_an_answer_needs(reached: Site) -> None:
    waiting = Approval(reached, ASKING)
    assert not told(reached, waiting.run), "Airflow shows it before anybody hears of it"
    waiting.at(0)
    (notice,) = told(reached, waiting.run)
    assert (notice.channel, notice.target, notice.subject) == ("slack", "#approvals", "Question: Payments")
    assert notice.text.splitlines() == [
        "Payments: a question was put 2026-03-01 08:00 UTC.",
        "Pay 10?",
        "",
        "**10 EUR** are due.",
        "",
        "That is little.",
        "",
        "It waits for 2 of lead, deputy.",
        "No answer by 2026-03-02 08:00 UTC is a rejection.",
        f"Run {waiting.run}, step approve. Approve or reject it in Airflow: http://air/{waiting.run}/approve/None",
        f"Without a browser: muster approve {waiting.run} --step approve --as NAME (or `muster reject`)",
    ]


def test_it_is_sent_once_however_often_somebody_looks_and_the_log_says_so(site: Site) -> None:
    waiting = Approval(site, ASKING)
    for hours in (0, 0, 1, 2):
        waiting.at(hours)
    assert len(told(site, waiting.run)) == 1
    assert [event["people"] for event in waiting.events("told")] == [["lead", "deputy"]]


def test_where_airflow_is_not_known_the_command_is_all_the_same(site: Site) -> None:
    waiting = Approval(site, ASKING)
    waiting.at(0)
    (notice,) = told(site, waiting.run)
    assert "Approve or reject it in Airflow\n" in notice.text
    assert "muster approve" in notice.text


def test_an_automation_may_leave_it_at_reminders(site: Site) -> None:
    waiting = Approval(site, ASKING.replace("within: 24h", "within: 24h\n      announce: false\n      remind: [4h]"))
    waiting.at(0)
    assert (told(site, waiting.run), waiting.events("told")) == ([], [])
    waiting.at(4)
    assert [notice.subject for notice in told(site, waiting.run)] == ["Reminder: Payments"]


def test_each_item_is_asked_about_where_the_step_says(reached: Site) -> None:
    run = reached.open(reached.definition(FOR_EACH))
    reached.do(expand(reached.services, WorkRef(run=run, step="approve")))
    for slot in (0, 1):
        ref = WorkRef(run=run, step="approve", slot=slot)
        work_item = reached.do(begin(reached.services, ref))
        assert isinstance(work_item, WorkItem)
        reached.do(asking.request(reached.services, work_item))
        reached.do(asking.look(reached.services, ref))
    found = told(reached, run)
    assert [notice.target for notice in found] == ["office@example.com"] * 2
    for number, (name, notice) in enumerate(zip(("ada", "ben"), found, strict=True)):
        assert f"Pay {name}?" in notice.text
        assert f"http://air/{run}/approve/{number}\n" in notice.text
        assert f"muster approve {run} --step approve --item {number} --as NAME" in notice.text


@pytest.mark.parametrize("moment", MOMENTS)
def test_whoever_dies_in_the_middle_leaves_it_to_the_next_one(
    dsn: str, site: Site, tmp_path: Path, moment: str
) -> None:
    """Twice only where nobody can know of the first time: Slack cannot be asked."""
    deaths, waiting = Deaths("support.asking"), Approval(site, ASKING.replace("      within: 24h\n", ""))
    with slack_server() as slack:
        work = (dsn, slack.url, tmp_path, waiting.run)
        with deaths.start(announce, *work, moment) as process:
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
        had = len(slack.messages)
        time_passes(dsn)
        for _ in range(2):
            deaths.perform(announce, *work)
        assert len(slack.messages) == (2 if moment == "once it is sent" else 1)
    assert had == (0 if moment == "before it is sent" else 1)
    assert (len(waiting.events("requested")), len(waiting.events("told"))) == (1, 1)


def test_an_answer_that_comes_while_people_are_told_ends_it(site: Site) -> None:
    """Nothing is said of the question after its answer."""

    class Slack:
        async def send(self, notice: Notice) -> Delivery:
            ref = WorkRef(run=waiting.run, step="approve", lane="worker")
            await take_reply(site.services, ref, Reply(approved=False, by="lead", at=waiting.clock.now))
            return Delivery(delivered_by="slack", target=notice.target, reference="x")

    waiting = Approval(site, ASKING)
    sender = Sender(site.services.database, {"slack": Slack()}, seals=site.services.log.aseals)
    site.services = dataclasses.replace(site.services, notices=sender)
    settled = waiting.at(0)
    assert (settled.status, settled.output["approved"]) == ("succeeded", False)
    assert waiting.events("told") == []


BY_EXPRESSION = """
automation: tested
settings: {boss: boss@example.com}
inputs: {requester: {default: ada@example.com}, team: {default: [ben@example.com, cleo@example.com]}}
deadlines: [{within: 1h, notify: [{email: "{{ settings.boss }}"}]}]
incidents: [{email: ["{{ settings.boss }}"]}]
steps:
  - id: approve
    human:
      ask: "Pay?"
      assignees: [lead]
      notify: [{email: "{{ inputs.requester }}"}, {email: ["{{ inputs.team[0] }}", "{{ settings.boss }}"]}]
  - {id: tell, after: [], notify: [{email: "{{ inputs.team }}", text: Paid}]}
"""


def test_whom_an_email_goes_to_may_be_an_expression(reached: Site) -> None:
    """Lint lets it pass wherever people are told, and each of them is."""
    waiting = Approval(reached, BY_EXPRESSION)
    waiting.at(0)
    assert [notice.target for notice in told(reached, waiting.run)] == [
        "ada@example.com",
        "ben@example.com",
        "boss@example.com",
    ]
    before = len(told(reached, waiting.run))
    assert reached.step(waiting.run, "tell").status == "succeeded"
    assert [notice.target for notice in told(reached, waiting.run)[before:]] == ["ben@example.com", "cleo@example.com"]
