"""Promises of a person's decision: it fails closed, and a rejection stops what comes after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.approvals.asking import Request, answer, request
from muster.database import Database
from muster.errors import PermanentError
from muster.events.model import EventType, NewEvent
from muster.execution.outcome import Outcome
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.saga.closing import left_open
from support.runs import Site

AUTOMATION = """
automation: tested
steps:
  - id: approve
    human: {ask: "Pay {{ run.automation }}?", assignees: [lead, requester], within: 1h}
  - {id: pay, skill: desk.echo, with: {value: "paid"}}
  - {id: tell, after: [pay], skill: desk.echo, with: {value: "told"}}
  - id: note
    after: [pay]
    when: "{{ not steps.approve.approved }}"
    skill: desk.echo
    with: {value: "refused"}
"""
EACH = """
automation: tested
steps:
  - {id: read, each: [10, 20, 30], pack: all, skill: desk.number, with: {value: "{{ item }}"}}
  - id: approve
    each: "{{ steps.read }}"
    when: "{{ item > 10 }}"
    human: {ask: "Pay {{ item }}?", assignees: [lead]}
  - {id: pay, each: "{{ steps.read }}", pack: all, skill: desk.number, with: {value: "{{ item }}"}}
"""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills(
        "desk",
        "from muster.skills import skill\n\n"
        "@skill('desk.echo')\ndef echo(value: str) -> str:\n    '''Echo.'''\n    return value\n\n"
        "@skill('desk.number')\ndef number(value: int) -> int:\n    '''Echo.'''\n    return value\n",
    )
    return made


def ask(site: Site, run: str, slot: int | None = None) -> tuple[WorkItem, Request]:
    async def asking() -> tuple[WorkItem, Request]:
        work_item = await begin(site.services, WorkRef(run=run, step="approve", lane="worker", slot=slot))
        assert isinstance(work_item, WorkItem)
        return work_item, await request(site.services, work_item)

    found: tuple[WorkItem, Request] = site.do(asking())
    return found


def reply(site: Site, work_item: WorkItem, **said: Any) -> dict[str, Any]:
    found: dict[str, Any] = site.do(answer(site.services, work_item, **said))
    return found


def after(site: Site, run: str) -> dict[str, str]:
    for step in ("pay", "tell", "note"):
        site.step(run, step)
    site.close(run)
    state = site.state(run)
    return {step: state.step(step).status for step in ("pay", "tell", "note")}


def test_an_approval_lets_the_run_go_on(site: Site) -> None:
    run = site.open(site.definition(AUTOMATION))
    work_item, asked = ask(site, run)
    assert (asked.subject, asked.within) == ("Pay tested?", 3600)
    assert reply(site, work_item, approved=True, by="lead")["approved"] is True
    assert after(site, run) == {"pay": "succeeded", "tell": "succeeded", "note": "skipped"}


@pytest.mark.parametrize(
    ("said", "how"),
    [
        ({"approved": False, "by": "lead"}, "person"),
        ({"approved": False, "by": None}, "timeout"),
        ({"approved": True, "by": None}, "timeout"),
        ({"approved": True, "by": "requester"}, "refused"),
    ],
)
def test_everything_but_anothers_clear_approval_is_a_rejection(site: Site, said: dict[str, Any], how: str) -> None:
    run = site.open(site.definition(AUTOMATION))
    work_item, _ = ask(site, run)
    output = reply(site, work_item, **said)
    assert (output["approved"], output["how"]) == (False, how)
    assert after(site, run) == {"pay": "skipped", "tell": "skipped", "note": "succeeded"}
    assert site.state(run).status == "succeeded"


def test_the_requester_is_never_among_those_who_may_answer(site: Site) -> None:
    _, asked = ask(site, site.open(site.definition(AUTOMATION), by="requester"))
    assert asked.assignees == ["lead"]


ASSIGNED = """
automation: tested
inputs: {leads: {default: [anna, ben]}, given: {default: null}}
steps: [{id: approve, human: {ask: Pay?, assignees: WRITTEN}}]
"""


@pytest.mark.parametrize("written", ["'{{ inputs.leads }}'", "['{{ inputs.leads }}']", "['{{ inputs.leads }}', ben]"])
def test_an_expression_may_give_one_name_or_several_wherever_it_stands(site: Site, written: str) -> None:
    _, asked = ask(site, site.open(site.definition(ASSIGNED.replace("WRITTEN", written))))
    assert asked.assignees == ["anna", "ben"]


@pytest.mark.parametrize("written", ["'{{ inputs.given }}'", "[anna, '{{ inputs.given }}']"])
@pytest.mark.parametrize(
    ("given", "told"),
    [(None, "nothing"), (5, "`5`"), ("", "the text ``"), ("a, b", "the text `a, b`"), ({}, "a mapping")],
)
def test_what_is_no_user_name_is_refused_in_words(site: Site, written: str, given: Any, told: str) -> None:
    run = site.open(site.definition(ASSIGNED.replace("WRITTEN", written)), given=given)
    with pytest.raises(PermanentError, match=f"Step approve asks {told}, which is no user name"):
        ask(site, run)


def test_an_approval_that_nobody_else_may_give_fails_clearly(site: Site) -> None:
    run = site.open(site.definition(AUTOMATION.replace("[lead, requester]", "[requester]")), by="requester")
    with pytest.raises(PermanentError, match="Nobody may answer step approve"):
        ask(site, run)


def test_the_first_answer_stands(site: Site) -> None:
    run = site.open(site.definition(AUTOMATION))
    work_item, _ = ask(site, run)
    reply(site, work_item, approved=False, by="lead")
    assert reply(site, work_item, approved=True, by="other")["approved"] is False


def test_a_rejected_item_is_skipped_afterwards_and_the_others_are_not(site: Site) -> None:
    run = site.open(site.definition(EACH))
    site.step(run, "read")
    assert site.expand(run, "approve") == 2
    for slot, (index, approved) in enumerate(((1, False), (2, True))):
        work_item, asked = ask(site, run, slot)
        assert asked.subject == f"Pay {(index + 1) * 10}?"
        reply(site, work_item, approved=approved, by="lead")
    site.step(run, "pay")
    site.close(run)
    state = site.state(run)
    assert "approve/completed@0" in [event.key for event in site.services.log.read(run)]
    assert state.step("pay").output == [10, None, 30]
    assert state.step("pay").items[1].reason == "rejected"
    assert state.status == "succeeded"


def test_an_answered_question_is_not_asked_again(site: Site) -> None:
    run = site.open(site.definition(AUTOMATION))
    work_item, _ = ask(site, run)
    reply(site, work_item, approved=True, by="lead")
    again = site.do(begin(site.services, WorkRef(run=run, step="approve", lane="worker")))
    assert isinstance(again, Outcome)


@pytest.mark.parametrize("condition", ["{{ steps.ask }}", "{{ steps.ask and true }}", "{{ not (not steps.ask) }}"])
@pytest.mark.parametrize("approved", [True, False])
def test_a_condition_that_names_only_the_question_is_true_when_it_was_approved(
    site: Site, condition: str, approved: bool
) -> None:
    definition = site.definition(
        f"""
automation: tested
steps:
  - {{id: ask, human: {{ask: "Pay?", assignees: [bob]}}}}
  - {{id: pay, skill: desk.echo, with: {{value: x}}, after: [ask], when: "{condition}"}}
"""
    )
    run = site.open(definition)
    site.approve(run, "ask", by="bob", approved=approved)
    assert site.step(run, "pay").status == ("succeeded" if approved else "skipped")


def test_so_is_one_that_names_the_answer_for_an_item(site: Site) -> None:
    definition = site.definition(
        """
automation: tested
steps:
  - {id: ask, each: [1, 2], human: {ask: "Pay?", assignees: [bob]}}
  - {id: pay, each: [1, 2], pack: all, skill: desk.echo, with: {value: x}, after: [ask], when: "{{ steps.ask[index] }}"}
"""
    )
    run = site.open(definition)
    site.expand(run, "ask")
    for slot in range(2):
        site.approve(run, "ask", by="bob", approved=slot == 1, slot=slot)
    site.step(run, "pay")
    assert [item.status for _, item in sorted(site.state(run).step("pay").items.items())] == ["skipped", "succeeded"]


def test_a_question_that_was_put_again_after_its_run_was_closed_does_not_wait_for_ever(site: Site) -> None:
    """The reconciler closed the run; its task was alive after all, and Airflow's own last task closes it again."""
    run = site.open(site.definition(AUTOMATION))
    work_item, _ = ask(site, run)
    closed = NewEvent(type=EventType.RUN_CLOSED, data={"status": "failed", "reason": "x", "counts": {}, "epoch": 0})
    site.services.log.append(run, [*left_open(site.state(run), 0), closed])
    again = site.do(begin(site.services, WorkRef(run=run, step="approve", lane="worker")))
    assert isinstance(again, Outcome)
    assert "has ended" in str(again.reason)
    site.do(request(site.services, work_item))
    site.close(run, {"approve": "failed"})
    assert site.state(run).step("approve").whole.status == "stopped"
