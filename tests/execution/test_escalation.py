"""Promises of escalation: reminded and escalated on time and once, two different people, nobody before their turn."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from muster.approvals.asking import Request, request
from muster.approvals.decisions import Reply, respond
from muster.errors import PermanentError
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.notifications import Delivery, Notice, Sender
from support.runs import Site

AUTOMATION = """
automation: tested
title: Payments
inputs: {channel: {default: "#finance"}}
steps:
  - id: approve
    human:
      ask: "Pay 10?"
      assignees: [lead, deputy, requester]
      remind: [20h, 4h]
      escalate: [{after: 8h, to: [finance-head, requester]}]
      approvals: APPROVALS
      notify: [{slack: "{{ inputs.channel }}"}, {email: office@example.com}]
      within: 24h
"""
HOUR = 3600


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def after(self, hours: float) -> datetime:
        """So many hours after the beginning."""
        return datetime(2026, 3, 1, 8, tzinfo=UTC) + timedelta(hours=hours)


class Approval:
    """A run that waits for an approval, and the time."""

    def __init__(self, site: Site, source: str) -> None:
        self.site, self.clock = site, Clock()
        site.services = dataclasses.replace(site.services, clock=self.clock)
        self.run = site.open(site.definition(source))
        self.asked: Request = site.do(self._ask())

    async def _work_item(self) -> WorkItem:
        work_item = await begin(self.site.services, WorkRef(run=self.run, step="approve", lane="worker"))
        assert isinstance(work_item, WorkItem)
        return work_item

    async def _ask(self) -> Request:
        return await request(self.site.services, await self._work_item())

    def at(self, hours: float, by: str | None = None, *, approved: bool = True, seen: float | None = None) -> Any:
        """What comes of an answer, or of looking, so many hours later; `seen` when Airflow got round to it later."""
        self.clock.now = self.clock.after(hours if seen is None else seen)
        at = self.clock.after(hours) if by is not None else None

        async def answered() -> Any:
            reply = Reply(approved=approved, by=by, at=at) if by and at else None
            return await respond(self.site.services, await self._work_item(), reply)

        return self.site.do(answered())

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [dict(event.data) for event in self.site.services.log.read(self.run) if event.type == f"approval.{kind}"]


@pytest.fixture
def one(site: Site) -> Approval:
    return Approval(site, AUTOMATION.replace("APPROVALS", "1"))


@pytest.fixture
def two(site: Site) -> Approval:
    return Approval(site, AUTOMATION.replace("APPROVALS", "2"))


def test_airflow_is_told_all_who_may_ever_answer_and_when_to_look_again(one: Approval) -> None:
    assert one.asked.assignees == ["lead", "deputy", "finance-head"]
    assert one.asked.within == 4 * HOUR
    waits = [one.at(hours).within for hours in (4, 8, 20)]
    assert waits == [4 * HOUR, 12 * HOUR, 4 * HOUR]


def test_reminders_and_escalations_are_sent_once_each_however_often_somebody_looks(one: Approval) -> None:
    for hours in (1, 4, 4.1, 8, 8, 20, 21):
        one.at(hours)
    assert [event["after"] for event in one.events("reminded")] == [4 * HOUR, 20 * HOUR]
    (escalated,) = one.events("escalated")
    assert (escalated["to"], escalated["people"]) == (["finance-head"], ["lead", "deputy", "finance-head"])
    sent = one.site.services.notices.outbox.entries(run=one.run)
    assert sorted((entry.channel, entry.target) for entry in sent) == 4 * [("email", "office@example.com")] + 4 * [
        ("slack", "#finance")
    ], "the question, two reminders, and that it has escalated"
    first = next(entry for entry in sent if "reminded/0" in entry.key)
    assert "Pay 10?" in first.text
    assert "lead, deputy" in first.text
    assert "finance-head" not in first.text
    assert "No answer by 2026-03-02 08:00 UTC is a rejection." in first.text


def test_what_was_due_while_nobody_could_look_is_made_up_for(one: Approval) -> None:
    one.at(21)
    assert (len(one.events("reminded")), len(one.events("escalated"))) == (2, 1)


def test_silence_is_a_rejection_at_the_end_and_not_before(one: Approval) -> None:
    assert isinstance(one.at(23.9), Request)
    settled = one.at(24)
    assert (settled["approved"], settled["how"], settled["by"]) == (False, "timeout", None)


def test_an_answer_after_the_end_counts_for_nothing(one: Approval) -> None:
    settled = one.at(24.1, "lead")
    assert (settled["approved"], settled["how"]) == (False, "timeout")


def test_an_answer_in_time_counts_although_airflow_comes_late(one: Approval) -> None:
    settled = one.at(23.9, "lead", seen=30)
    assert (settled["approved"], settled["by"]) == (True, "lead")


def test_whoever_it_escalates_to_may_not_answer_before_and_may_afterwards(one: Approval) -> None:
    for hours, approved in ((7.8, True), (7.9, False)):
        assert isinstance(one.at(hours, "finance-head", approved=approved), Request)
    assert [(event["by"], event["approved"]) for event in one.events("refused")] == [
        ("finance-head", True),
        ("finance-head", False),
    ]
    assert one.at(8, "finance-head")["approved"] is True


def test_those_asked_first_may_still_answer_after_it_escalated(one: Approval) -> None:
    one.at(9)
    assert one.at(10, "deputy")["by"] == "deputy"


def test_an_outsiders_answer_counts_for_nothing_and_the_question_stays(one: Approval) -> None:
    assert isinstance(one.at(1, "stranger"), Request)
    assert one.at(2, "lead")["approved"] is True


def test_two_different_people_have_to_approve(two: Approval) -> None:
    assert isinstance(two.at(1, "lead"), Request)
    assert isinstance(two.at(2, "lead"), Request), "the same person again does not count"
    settled = two.at(3, "deputy")
    assert (settled["approved"], settled["approvers"]) == (True, ["lead", "deputy"])
    assert [event["by"] for event in two.events("granted")] == ["lead"]
    assert len(two.events("answered")) == 1


def test_one_of_two_is_not_enough_when_time_is_up(two: Approval) -> None:
    two.at(1, "lead")
    settled = two.at(24)
    assert (settled["approved"], settled["approvers"]) == (False, [])


def test_one_rejection_is_enough(two: Approval) -> None:
    two.at(1, "lead")
    assert two.at(2, "deputy", approved=False)["approved"] is False


def test_the_requester_is_neither_of_the_two(two: Approval) -> None:
    two.at(1, "lead")
    assert isinstance(two.at(2, "requester"), Request)
    assert [event["by"] for event in two.events("refused")] == ["requester"]
    assert two.at(3, "deputy")["approvers"] == ["lead", "deputy"]


def test_an_approval_taken_up_twice_after_a_crash_counts_once(two: Approval) -> None:
    for _ in range(2):
        assert isinstance(two.at(1, "lead"), Request)
    assert len(two.events("granted")) == 1


def test_too_few_people_without_the_requester_fails_before_anybody_is_asked(site: Site) -> None:
    source = AUTOMATION.replace("[lead, deputy, requester]", "[lead, requester]").replace("finance-head, ", "")
    with pytest.raises(PermanentError, match="needs 2 people to approve; only lead may"):
        Approval(site, source.replace("APPROVALS", "2"))


def test_a_notice_that_cannot_be_sent_changes_nothing_about_who_may_answer(one: Approval) -> None:
    class Broken(Sender):
        async def send(self, notice: Notice) -> Delivery:
            raise OSError("no network")

    one.site.services = dataclasses.replace(one.site.services, notices=Broken(one.site.services.database))
    assert isinstance(one.at(9), Request)
    assert one.at(10, "finance-head")["approved"] is True


@pytest.mark.parametrize("approved", [True, False])
def test_whoever_answers_while_people_are_told_is_followed_by_no_further_notice(one: Approval, approved: bool) -> None:
    class Answering(Sender):
        """The one who gets the first notice answers at once; others were still to be told of something else."""

        async def send(self, notice: Notice) -> Delivery:
            kept = one.site.services
            if notice.key not in sent:
                sent.append(notice.key)
            if len(sent) == 1:
                one.site.services = dataclasses.replace(kept, notices=Sender(kept.database))
                work_item = await one._work_item()
                reply = Reply(approved=approved, by="lead", at=one.clock.now)
                ended.append(await respond(one.site.services, work_item, reply))
                one.site.services = kept
            return await super().send(notice)

    sent, ended = list[str](), list[Any]()
    one.site.services = dataclasses.replace(one.site.services, notices=Answering(one.site.services.database))
    one.at(9)
    assert ended
    assert {key.rsplit("/", 2)[1] for key in sent} == {"told@0"}, "the question itself, at both places; no reminder"


def test_a_question_waits_for_people_also_after_they_were_reminded(one: Approval) -> None:
    def shown() -> tuple[str | None, str]:
        (row,) = one.site.services.queries.steps(one.run)
        return row.status, one.site.state(one.run).step("approve").status

    assert shown() == ("waiting", "waiting")
    one.at(5)
    assert len(one.events("reminded")) == 1
    assert shown() == ("waiting", "waiting")
    one.at(6)  # Looked at again, with nothing to say.
    assert shown() == ("waiting", "waiting")
    one.at(9, "lead")
    assert shown() == ("succeeded", "succeeded")


BADLY_TOLD = """
automation: tested
inputs: {nobody: {default: null}, office: {default: "Me <me@x.com>"}}
steps:
  - id: approve
    human:
      ask: "Pay 10?"
      assignees: [lead]
      remind: [4h]
      notify: [{email: "WRITTEN"}, {slack: "#finance"}]
"""


@pytest.mark.parametrize("written", ["{{ inputs.nobody }}", "{{ inputs.nobody.address }}", "{{ inputs.office }}"])
def test_one_address_that_is_none_keeps_neither_the_question_nor_the_other_places_back(
    site: Site, written: str, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = Approval(site, BADLY_TOLD.replace("WRITTEN", written))
    assert isinstance(waiting.at(0), Request)
    assert [entry.target for entry in site.services.notices.outbox.entries(run=waiting.run)] == ["#finance"]
    assert "told@0/0 (PermanentError)" in caplog.text, "whoever was not told is said in the log"
    assert "me@x.com" not in caplog.text
    assert waiting.at(5, "lead")["approved"] is True


def test_a_step_whose_places_all_come_to_nothing_tells_the_common_channel(site: Site) -> None:
    source = (
        AUTOMATION.replace("APPROVALS", "1").replace('"#finance"', "null").replace(", {email: office@example.com}", "")
    )
    waiting = Approval(site, source)
    waiting.at(0)
    assert [entry.target for entry in site.services.notices.outbox.entries(run=waiting.run)] == ["#approvals"]


ABOUT_SOMEBODY = """
automation: tested
inputs: {employee: {default: Max Meier}, boss: {default: boss at example.com}}
personal: {subject: "{{ inputs.employee }}"}
steps:
  - id: approve
    human:
      ask: "Sick leave of {{ inputs.employee }}?"
      assignees: [lead]
      remind: [4h]
"""


@pytest.mark.parametrize("place", ["email: boss@example.com", 'slack: "#approvals"'])
def test_who_is_named_is_told_what_is_asked_about_somebody(site: Site, place: str) -> None:
    waiting = Approval(site, f"{ABOUT_SOMEBODY}      notify: [{{{place}}}]\n")
    waiting.at(0)
    (told,) = site.services.notices.outbox.entries(run=waiting.run)
    assert (told.target in place, "Sick leave of Max Meier?" in told.text) == (True, True)


@pytest.mark.parametrize("notify", ['notify: [{email: "{{ inputs.boss }}"}]', ""])
def test_what_is_about_somebody_is_said_to_nobody_else(site: Site, notify: str) -> None:
    """Not in the common channel either, where no address can be used and where none is named."""
    waiting = Approval(site, f"{ABOUT_SOMEBODY}      {notify}\n")
    waiting.at(0)
    (told,) = site.services.notices.outbox.entries(run=waiting.run)
    assert (told.target, told.subject) == ("#approvals", "")
    assert told.text == (
        f"{waiting.run}, approve: there is something to tell, and no address that can be used is named for it.\n"
        f"What it is: muster show {waiting.run}"
    )


def test_where_nobody_is_named_the_common_channel_is_told_what_is_about_nobody(site: Site) -> None:
    waiting = Approval(site, ABOUT_SOMEBODY.replace('personal: {subject: "{{ inputs.employee }}"}\n', ""))
    waiting.at(0)
    (told,) = site.services.notices.outbox.entries(run=waiting.run)
    assert (told.target, "Sick leave of Max Meier?" in told.text) == ("#approvals", True)


@pytest.mark.parametrize("title", ["title: >\n  Pay\n  suppliers\n", "title: |\n  Pay\n  suppliers\n"])
def test_a_title_of_several_lines_is_one_line_of_a_subject(site: Site, title: str) -> None:
    waiting = Approval(site, AUTOMATION.replace("APPROVALS", "1").replace("title: Payments\n", title))
    waiting.at(4)
    subjects = {entry.subject for entry in site.services.notices.outbox.entries(run=waiting.run)}
    assert subjects == {"Question: Pay suppliers", "Reminder: Pay suppliers"}
