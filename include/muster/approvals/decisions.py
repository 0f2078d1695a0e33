"""A person's reply on its way into the log: whether this person may answer now, and whether that settles the question.

A reply is decided here, from the log and the clock, and written before anybody is told that it counts. Airflow's task
wakes after that, and finds the decision in the log however often it is started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

from muster.approvals.asking import Request, answer, look
from muster.approvals.escalation import Question, question
from muster.errors import one_period
from muster.events import keys
from muster.events.model import NewEvent
from muster.events.payloads.people import ApprovalGranted, ApprovalRefused
from muster.events.state import CANCELLED
from muster.execution.concurrency import undisturbed
from muster.execution.outcome import Outcome
from muster.execution.performing import load_begun
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.stopping import has_closed, why_stopped
from muster.execution.work_item import WorkItem


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A person's reply to a question."""

    approved: bool
    by: str
    """The person's name, as the automation and the run's `requested_by` have it; never an id."""
    at: datetime
    """When Airflow was given it."""
    note: str | None = None
    id: str | None = None
    """The auth manager's id of the person, for the record: nothing is decided by it."""

    @classmethod
    def of(cls, who: Mapping[str, object], *, approved: bool, at: datetime, form: Mapping[str, object] | None) -> Reply:
        """The reply that Airflow stores: `who` has the person's `id` and `name`, and `form` the `note` they added."""
        note = (form or {}).get("note")
        return cls(approved=approved, by=str(who["name"]), at=at, note=str(note) if note else None, id=str(who["id"]))


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The result of a reply, as it is in the log already."""

    status: Literal["settled", "counted", "refused", "closed"]
    """`settled`: the question ends as the reply says. `counted`: more approvals are needed. `refused`: this person may
    not answer now, and the question stays open. `closed`: the question was not open any more."""
    message: str
    """The same in words, for the person."""
    output: dict[str, object] | None = None
    """The step's output, once the question is settled, by whomever."""


async def take_reply(services: Services, ref: WorkRef, reply: Reply) -> Decision:
    """Write a person's reply and return what it meant. A second approval by the same person is refused.

    The reply is decided anew if the run ends or another person answers between the read and the write.

    Raises:
        PermanentError: this execution of the run has not put the question yet; nothing is written.
    """
    return await undisturbed(partial(_take, services, ref, reply))


async def _take(services: Services, ref: WorkRef, reply: Reply) -> Decision:
    # The version is read first, so that any later event refuses the append. Otherwise: two people answer at once, both
    # find the question open, and both are told that their answer counts. Now the second is told who was first.
    version = await services.log.aversion(ref.run)
    work_item = await load_begun(services, ref)
    if isinstance(work_item, Outcome) and isinstance(work_item.output, dict) and "approved" in work_item.output:
        return _settled(reply, work_item.output)
    if (why := await _over(services, ref)) is not None:
        return Decision(status="closed", message=f"It is not asked any more: {why}.")
    if isinstance(work_item, Outcome):
        why = work_item.reason or "its step has ended"
        return Decision(status="closed", message=one_period(f"It is not asked any more: {why}."))
    return await _decide(services, work_item, reply, version)


async def _over(services: Services, ref: WorkRef) -> str | None:
    """Why no answer counts any more in this execution of the run; None when an answer still counts."""
    if (skip := await why_stopped(services, ref)) is not None:
        return "the run was cancelled" if skip.reason == CANCELLED else "the run is being undone"
    return "the run has ended" if await has_closed(services, ref) else None


async def respond(
    services: Services, work_item: WorkItem, reply: Reply | None
) -> dict[str, object] | Request | Outcome:
    """Handle what Airflow woke the task with: a reply, or None when it is time to look again.

    Returns the step's output when the reply settles the question; else the result of `look`.
    """
    if reply is not None:
        decision = await take_reply(services, work_item.ref, reply)
        if decision.output is not None:
            return decision.output
    return await look(services, work_item.ref)


async def _decide(services: Services, work_item: WorkItem, reply: Reply, version: int) -> Decision:
    """Write the result of a reply to an open question.

    Raises:
        ConcurrencyError: an event of its step, or of no step, has come after the version; decide anew.
    """
    # Events of other steps may come in between (`within`): they say nothing about the question, and in a busy run an
    # answer would be refused again and again.
    asked = await question(services, work_item)
    # By the time at which Airflow received the reply, not now: an answer in time counts, however late it gets here.
    if asked.is_over(reply.at):
        return Decision(status="closed", message="Time is up: no answer counts any more, which is a rejection.")
    if why := _objection(work_item, asked, reply):
        await services.log.aappend(
            work_item.ref.run, [_refusal(work_item, reply, why)], expected=version, within=[work_item.step.id]
        )
        return Decision(status="refused", message=why)
    before = list(asked.granted)
    if reply.approved and len(before) + 1 < asked.needed:
        await services.log.aappend(
            work_item.ref.run, [_grant(work_item, reply, asked.needed)], expected=version, within=[work_item.step.id]
        )
        return Decision(status="counted", message=progress(replace(asked, granted=[*before, reply.by])))
    output = await answer(
        services,
        work_item,
        approved=reply.approved,
        by=reply.by,
        note=reply.note,
        before=before,
        id=reply.id,
        expected=version,
    )
    return _settled(reply, output)


def progress(asked: Question) -> str:
    """A sentence that says how many people have approved and how many more have to."""
    missing = asked.needed - len(asked.granted)
    return f"{len(asked.granted)} of {asked.needed}; {'one more is' if missing == 1 else f'{missing} more are'} needed."


def _settled(reply: Reply, output: Mapping[str, object]) -> Decision:
    """The decision for a question that is settled, by this reply or before it."""
    said = "approved" if output["approved"] else "rejected"
    # The same answer given again is accepted. If the API server died between the log and Airflow's commit, the question
    # still shows as open in Airflow, and the repeated reply has to wake the task.
    if output["by"] is not None and output["approved"] == reply.approved:
        return Decision(status="settled", message=f"It is {said}.", output=dict(output))
    how = f"by {output['by']}" if output["by"] else "because nobody had answered in time"
    return Decision(status="closed", message=f"It was {said} already, {how}.", output=dict(output))


def _objection(work_item: WorkItem, asked: Question, reply: Reply) -> str | None:
    """Why this person's reply does not count now; None when it does."""
    if reply.by == work_item.view.requested_by:
        return f"{reply.by} asked for the run, and whoever does cannot answer for it."
    if reply.by in asked.granted:
        people = ", ".join(asked.people(reply.at))
        return f"{reply.by} has approved it already, which counts once. {progress(asked)} It waits for {people}."
    if not asked.may_answer(reply.by, reply.at):
        return f"{reply.by} is not one of those it waits for at this time: {', '.join(asked.people(reply.at))}."
    return None


def _grant(work_item: WorkItem, reply: Reply, needed: int) -> NewEvent:
    """The event for one of several approvals; its key holds the person, so each person's approval counts once."""
    said = ApprovalGranted(**work_item.place, by=reply.by, by_id=reply.id, needed=needed, note=reply.note)
    return said.event(actor=reply.by, key=keys.granted(work_item.key, reply.by, work_item.ref.epoch))


def _refusal(work_item: WorkItem, reply: Reply, why: str) -> NewEvent:
    """The event for a reply that does not count."""
    said = ApprovalRefused(**work_item.place, by=reply.by, by_id=reply.id, approved=reply.approved, why=why)
    key = keys.refused(work_item.key, reply.by, reply.at.isoformat(), work_item.ref.epoch)
    return said.event(actor=reply.by, key=key)
