"""A person's reply on its way into the log: may this person answer now, and does it settle the question.

It is decided here, from the log and the clock, before anybody is told that it counts. What it wakes in Airflow
comes after, and finds the decision in the log however often it is begun again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

from muster.approvals.asking import Request, answer, look
from muster.approvals.escalation import Question, question
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
    """What a person says to a question."""

    approved: bool
    by: str
    """The person's name, as the automation and the run's `requested_by` have it; never an id."""
    at: datetime
    """When Airflow was given it."""
    note: str | None = None
    id: str | None = None
    """What the auth manager calls the person, for the record: it decides nothing."""

    @classmethod
    def of(cls, who: Mapping[str, object], *, approved: bool, at: datetime, form: Mapping[str, object] | None) -> Reply:
        """As Airflow keeps it: who gave it, with `id` and `name`, and in `form` the `note` that they added."""
        note = (form or {}).get("note")
        return cls(approved=approved, by=str(who["name"]), at=at, note=str(note) if note else None, id=str(who["id"]))


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What has become of a reply; it is in the log already."""

    status: Literal["settled", "counted", "refused", "closed"]
    """The question is settled as it says; it counts, and more approvals are needed; this person may not give it now;
    the question is not open any more."""
    message: str
    """The same in words, for the person."""
    output: dict[str, object] | None = None
    """The step's output, once the question is settled, by whomever."""


async def take_reply(services: Services, ref: WorkRef, reply: Reply) -> Decision:
    """Write a person's reply and say what has become of it. Each person's approval counts once, and is refused again.

    Nothing comes between what it is decided by and what is written: neither the end of the run nor another person.

    Raises:
        PermanentError: this execution of the run has not put the question yet.
    """
    return await undisturbed(partial(_take, services, ref, reply))


async def _take(services: Services, ref: WorkRef, reply: Reply) -> Decision:
    # Before anything is read: what is written after this version refuses the append, and the reply is decided anew. So
    # of two people who answer at once the second is told who was first.
    version = await services.log.aversion(ref.run)
    work_item = await load_begun(services, ref)
    if isinstance(work_item, Outcome) and isinstance(work_item.output, dict) and "approved" in work_item.output:
        return _settled(reply, work_item.output)
    if (why := await _over(services, ref)) is not None:
        return Decision(status="closed", message=f"It is not asked any more: {why}.")
    if isinstance(work_item, Outcome):
        return Decision(
            status="closed", message=f"It is not asked any more: {work_item.reason or 'its step has ended'}."
        )
    return await _decide(services, work_item, reply, version)


async def _over(services: Services, ref: WorkRef) -> str | None:
    """Why no answer counts in this execution of the run any more; None when one does."""
    if (skip := await why_stopped(services, ref)) is not None:
        return "the run was cancelled" if skip.reason == CANCELLED else "the run is being undone"
    return "the run has ended" if await has_closed(services, ref) else None


async def respond(
    services: Services, work_item: WorkItem, reply: Reply | None
) -> dict[str, object] | Request | Outcome:
    """Take what Airflow woke the task with: a reply, or that it is time to look again (None).

    The step's output when the question is settled; else what `look` says.
    """
    if reply is not None:
        decision = await take_reply(services, work_item.ref, reply)
        if decision.output is not None:
            return decision.output
    return await look(services, work_item.ref)


async def _decide(services: Services, work_item: WorkItem, reply: Reply, version: int) -> Decision:
    """Write what a reply to an open question means, if nothing of its step, or of no step, has come since a version.

    What other steps do says nothing about it: in a run that is busy, whoever waited for a moment without any would
    wait for long.
    """
    asked = await question(services, work_item)
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
    """How many have approved and how many more have to, in words."""
    missing = asked.needed - len(asked.granted)
    return f"{len(asked.granted)} of {asked.needed}; {'one more is' if missing == 1 else f'{missing} more are'} needed."


def _settled(reply: Reply, output: Mapping[str, object]) -> Decision:
    """The decision where the question is settled: by this reply, or before it."""
    said = "approved" if output["approved"] else "rejected"
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
    """One of several approvals, once for each person."""
    said = ApprovalGranted(**work_item.place, by=reply.by, by_id=reply.id, needed=needed, note=reply.note)
    return said.event(actor=reply.by, key=keys.granted(work_item.key, reply.by, work_item.ref.epoch))


def _refusal(work_item: WorkItem, reply: Reply, why: str) -> NewEvent:
    """An answer that does not count."""
    said = ApprovalRefused(**work_item.place, by=reply.by, by_id=reply.id, approved=reply.approved, why=why)
    key = keys.refused(work_item.key, reply.by, reply.at.isoformat(), work_item.ref.epoch)
    return said.event(actor=reply.by, key=key)
