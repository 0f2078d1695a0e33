"""A person's decision: what is asked, of whom, and what an answer means. It fails closed."""

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
    """What of a question an answer to it belongs to."""

    subject: str
    details: str | None
    item: str | None
    assignees: list[str]
    levels: list[dict[str, object]]
    approvals: int


CLOSED = Outcome(status="failed", reason="It is not asked any more: the run has ended.")
"""What comes of a question whose run has ended without an answer."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person is asked."""

    subject: str
    body: str | None
    assignees: Sequence[str]
    """The user names who may answer, now or once it has escalated; never the one who asked for the run."""
    within: float | None
    """Seconds until somebody has to look at it again: to remind, to escalate, or because no answer counts any more."""


async def request(services: Services, work_item: WorkItem) -> Request:
    """Work out the request and write `approval.requested`.

    Raises:
        PermanentError: nobody is left who may answer.
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
    # Read back from the log: put again after a crash, the question is the one that was put first, with its first time.
    return _request(work_item, await question(services, work_item), now)


def wording(work_item: WorkItem) -> Wording:
    """What is asked, and of whom: an answer is an answer to exactly this.

    Raises:
        PermanentError: nobody is left who may answer.
    """
    human = human_of(work_item)
    assignees, levels = _chain(work_item, human)
    subject = evaluate(human.ask, work_item.variables, where=f"step {work_item.step.id}, human")
    # Only where they will be compared: a hash is a trace of what may be personal.
    compared = human.on_restart == "keep"
    details = details_of(work_item) if compared else None
    return {
        "subject": redact(str(subject)),
        "details": sha256(details.encode()).hexdigest() if details is not None else None,
        # Neither of them need name the item that it is asked about.
        "item": _hash_of_item(work_item) if compared else None,
        "assignees": assignees,
        "levels": levels,
        "approvals": human.approvals,
    }


async def look(services: Services, ref: WorkRef) -> dict[str, object] | Request | Outcome:
    """Do what is due while nobody has answered: tell people, remind, escalate, or take the silence for a rejection.

    The step's output when time is up; an `Outcome` when the question is settled, or when the run has ended meanwhile,
    of which nothing is written then. Else the question goes on waiting, as the `Request` says.
    """
    return await undisturbed(partial(_look, services, ref))


async def _look(services: Services, ref: WorkRef) -> dict[str, object] | Request | Outcome:
    # Before anything is read: an answer that comes after this version refuses what is decided here from the silence.
    version = await services.log.aversion(ref.run)
    if await has_closed(services, ref):
        return CLOSED
    work_item = await load_begun(services, ref)
    if isinstance(work_item, Outcome):
        return work_item
    asked, now = await question(services, work_item), services.clock()
    if asked.is_granted:
        # Whoever gave the last approval died before it was said that this settles it.
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
    """Write the answer that settles a question, or the silence that counts as one; return the step's output.

    `by` is a person's name and `id` what the auth manager calls them. `before` are those who approved already, where
    several have to. The requester's own approval counts as a rejection, whoever let it through. Of several answers
    that come at once the first stands, and its output is returned to all.

    Raises:
        ConcurrencyError: something of the step, or of no step, has come after the version `expected`.
    """
    how: Literal["person", "timeout", "refused"] = "person" if by is not None else "timeout"
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
    # In one append: a process that died in between would leave an answer in the log, and a step that still asks.
    stored = await end(services, work_item.ref, [answered, ended], expected=expected)
    found: dict[str, object] = StepSucceeded.of(stored[1]).output
    return found


def _chain(work_item: WorkItem, human: ResolvedHuman) -> tuple[list[str], list[dict[str, object]]]:
    """Who may answer from the beginning, and who besides after how long.

    Raises:
        PermanentError: too few are left when the requester is not counted, or a name is none.
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
    """User names, the requester's left out.

    Raises:
        PermanentError: one of them is none.
    """
    given = _listed(evaluate(people, work_item.variables, where=f"step {work_item.step.id}, human"))
    names = [name for each in given for name in _listed(each)]
    for name in names:
        if not isinstance(name, str) or not name.strip() or "," in name:
            raise PermanentError(
                f"Step {work_item.step.id} asks {shown_value(name)}, which is no user name.",
                remedy="Let the expression give a user name, or a list of them.",
            )
    requester = work_item.view.requested_by
    # A blank around a name makes nobody else of a person.
    return [name for name in dict.fromkeys(name.strip() for name in names) if name != requester]


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]
