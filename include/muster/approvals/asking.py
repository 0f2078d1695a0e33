"""A person's decision: the question, who is asked, and what an answer means. Silence and doubt count as a rejection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any, Literal, TypedDict

from pydantic_core import to_jsonable_python

from muster.approvals.escalation import Question, details_of, human_of, question, tell_due
from muster.errors import PermanentError
from muster.events import keys
from muster.events.canonical import canonical
from muster.events.payloads.people import ApprovalAnswered, ApprovalRequested
from muster.events.payloads.work import StepSucceeded
from muster.execution.concurrency import undisturbed
from muster.execution.fanout import end
from muster.execution.outcome import Outcome
from muster.execution.performing import load_begun
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.stopping import has_closed
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.explain import shown_value
from muster.language.expressions import evaluate
from muster.language.kinds.human import ResolvedHuman
from muster.redaction import redact


class Wording(TypedDict):
    """The parts of a question that an answer is about: a kept approval needs all of them unchanged."""

    subject: str
    details: str | None
    item: str | None
    assignees: list[str]
    levels: list[dict[str, object]]
    approvals: int


CLOSED = Outcome(status="failed", reason="It is not asked any more: the run has ended.")
"""The outcome of a question whose run has ended without an answer."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A question as Airflow shows it to people."""

    subject: str
    body: str | None
    assignees: Sequence[str]
    """The user names of those who may answer, now or after an escalation; never the person who asked for the run."""
    within: float | None
    """Seconds until `look` is due again: to remind, to escalate, or because no answer counts any more."""


async def request(services: Services, work_item: WorkItem) -> Request:
    """Write `approval.requested` and return the request.

    Raises:
        PermanentError: nobody is left who may answer; the step fails.
    """
    human, now = human_of(work_item), services.clock()
    said = ApprovalRequested(
        **work_item.place,
        **wording(work_item),
        within=human.within,
        otherwise=human.otherwise,
        asked_at=now.isoformat(),
        remind=list(human.remind),
    )
    key = keys.approval(work_item.key, "requested", work_item.ref.epoch)
    await services.log.aappend(work_item.ref.run, [said.event(key=key)])
    # Read back from the log. After a crash the append finds the first question under its key: with the time from memory
    # each crash would start the reminders and the deadline afresh.
    return _request(work_item, await question(services, work_item), now)


def wording(work_item: WorkItem) -> Wording:
    """The wording of a question and the people who may answer it.

    Raises:
        PermanentError: nobody is left who may answer, or an expression gives something that is no user name.
    """
    human = human_of(work_item)
    assignees, levels = _chain(work_item, human)
    subject = evaluate(human.ask, work_item.variables, where=f"step {work_item.step.id}, human")
    # The hashes are written only if a later execution will compare them: each is a trace of data that may be personal.
    compared = human.on_restart == "keep"
    details = details_of(work_item) if compared else None
    return {
        "subject": redact(str(subject)),
        "details": sha256(details.encode()).hexdigest() if details is not None else None,
        # Neither the subject nor the details need name the item, so an approval of one could be kept for another.
        "item": _hash_of_item(work_item) if compared else None,
        "assignees": assignees,
        "levels": levels,
        "approvals": human.approvals,
    }


async def look(services: Services, ref: WorkRef) -> dict[str, object] | Request | Outcome:
    """Do what is due while nobody has answered: send the question, remind, escalate, or reject when time is up.

    Returns:
        The step's output when this call has settled the question; an `Outcome` when it was settled before, or when the
        run has ended, in which case nothing is written; else the `Request`, and the question waits on.
    """
    return await undisturbed(partial(_look, services, ref))


async def _look(services: Services, ref: WorkRef) -> dict[str, object] | Request | Outcome:
    # The version is read first. In the other order: no answer is found, a person approves, the version is read, and the
    # rejection for silence is written after the approval.
    version = await services.log.aversion(ref.run)
    if await has_closed(services, ref):
        return CLOSED
    work_item = await load_begun(services, ref)
    if isinstance(work_item, Outcome):
        return work_item
    asked, now = await question(services, work_item), services.clock()
    if asked.is_granted:
        # The process that wrote the last approval died before it wrote the answer: the answer is written here.
        *before, last = asked.granted
        return await answer(services, work_item, approved=True, by=last, before=before, expected=version)
    if asked.is_over(now):
        return await answer(services, work_item, approved=False, by=None, expected=version)
    await tell_due(services, work_item, asked, now, version)
    return _request(work_item, asked, now)


def _request(work_item: WorkItem, asked: Question, now: datetime) -> Request:
    return Request(
        subject=asked.subject,
        body=details_of(work_item),
        assignees=list(dict.fromkeys([*asked.assignees, *(name for _, names in asked.levels for name in names)])),
        within=asked.until_next(now),
    )


async def answer(
    services: Services,
    work_item: WorkItem,
    *,
    approved: bool,
    by: str | None,
    note: str | None = None,
    before: Sequence[str] = (),
    id: str | None = None,
    expected: int | None = None,
) -> dict[str, object]:
    """Write the answer that settles a question, and the end of its step; return the step's output.

    An approval by nobody, or by the person who asked for the run, is written as a rejection. If an answer is in the log
    already, it counts, and its output is returned.

    Args:
        by: The person's name; None when time is up, which counts as a rejection.
        before: Those who have approved already, if several people have to.
        id: The auth manager's id of the person, for the record.
        expected: The version of the log by which the answer was decided.

    Raises:
        ConcurrencyError: an event of the step, or of no step, has come after `expected`; decide anew.
    """
    how: Literal["person", "timeout", "refused"] = "person" if by is not None else "timeout"
    # `_objection` refuses the requester's approval earlier. Here it holds for every caller: nobody may approve the run
    # that they asked for.
    if approved and (by is None or by == work_item.view.requested_by):
        approved, how = False, "refused" if by is not None else "timeout"
    said = ApprovalAnswered(
        **work_item.place,
        answer=how,
        approved=approved,
        by=by,
        how=how,
        note=note,
        at=services.clock().isoformat(),
        approvers=[*before, *([by] if approved and by else [])],
        by_id=id,
    )
    answered = said.event(actor=by or "muster", key=keys.approval(work_item.key, "answered", work_item.ref.epoch))
    ended = work_item.succeeded(ActionResult(output=said.output, produced_by=f"person:{by}" if by else "code"))
    # One append for both events: a crash in between would leave an answer in the log and a step that still asks.
    stored = await end(services, work_item.ref, [answered, ended], expected=expected)
    # From the stored event, not from `said`: of two answers at once the first is stored, and both callers return it.
    output: dict[str, object] = StepSucceeded.of(stored[1]).output
    return output


def _chain(work_item: WorkItem, human: ResolvedHuman) -> tuple[list[str], list[dict[str, object]]]:
    """The people who may answer from the beginning, and the levels of escalation.

    Raises:
        PermanentError: without the requester too few people are left, or something is no user name.
    """
    assignees = _names(work_item, human.assignees)
    levels: list[dict[str, Any]] = [
        {"after": level.after, "to": _names(work_item, level.to)} for level in human.escalate
    ]
    requester = work_item.view.requested_by
    people = {*assignees, *(name for level in levels for name in level["to"])}
    if not people:
        raise PermanentError(
            f"Nobody may answer step {work_item.step.id}, and {requester} asked for the run.",
            remedy="Name another assignee; whoever asks for a run cannot approve it.",
        )
    if len(people) < human.approvals:
        raise PermanentError(
            f"Step {work_item.step.id} needs {human.approvals} people to approve; only "
            f"{', '.join(sorted(people))} may.",
            remedy="Name more people; whoever asks for a run cannot approve it.",
        )
    return assignees, levels


def _hash_of_item(work_item: WorkItem) -> str | None:
    if work_item.step.each is None:
        return None
    return sha256(canonical(to_jsonable_python(work_item.variables["item"])).encode()).hexdigest()


def _names(work_item: WorkItem, people: Sequence[str] | str) -> list[str]:
    """The user names that `people` gives, without the requester's.

    Raises:
        PermanentError: one of them is no user name.
    """
    given = _listed(evaluate(people, work_item.variables, where=f"step {work_item.step.id}, human"))
    names = [name for entry in given for name in _listed(entry)]
    for name in names:
        if not isinstance(name, str) or not name.strip() or "," in name:
            raise PermanentError(
                f"Step {work_item.step.id} asks {shown_value(name)}, which is no user name.",
                remedy="Let the expression give a user name, or a list of them.",
            )
    requester = work_item.view.requested_by
    # Stripped before the comparison: with a blank around the name, the requester could approve their own run.
    return [name for name in dict.fromkeys(name.strip() for name in names) if name != requester]


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]
