"""Who is told of a question, and who may answer it when: the question, reminders, escalations, several approvals.

Everything follows from the question, the answers so far and the time, so every process decides the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from shlex import quote
from typing import Any

from muster.errors import PermanentError
from muster.events import keys
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.people import (
    ApprovalEscalated,
    ApprovalGranted,
    ApprovalReminded,
    ApprovalRequested,
    ApprovalTold,
)
from muster.events.sealing import GONE, words
from muster.execution.outcome import Outcome
from muster.execution.performing import load_begun
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.telling import tell
from muster.execution.work_item import WorkItem
from muster.language.expression_errors import ExpressionError
from muster.language.expressions import evaluate
from muster.language.kinds.human import ResolvedHuman, ResolvedHumanStep
from muster.language.resolved import places_in
from muster.redaction import redact

NOBODY = "#approvals"
"""The place of a channel that gets the notices when the step names nobody."""
SHORTEST = 1.0
"""Seconds until the next look, at least."""
ASKED, REMINDED, ESCALATED = "told", "reminded", "escalated"
"""The three notices about a question: that it was put, that it still waits, and that further people may answer."""
_BEGINS = {ASKED: "Question", REMINDED: "Reminder", ESCALATED: "Escalated"}

_TYPES = (
    EventType.APPROVAL_REQUESTED,
    EventType.APPROVAL_GRANTED,
    EventType.APPROVAL_TOLD,
    EventType.APPROVAL_REMINDED,
    EventType.APPROVAL_ESCALATED,
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question to people, with everything that the log says of it."""

    subject: str
    asked_at: datetime
    assignees: Sequence[str]
    """Who may answer from the beginning."""
    levels: Sequence[tuple[float, Sequence[str]]]
    """Further people who may answer, each with the seconds after which they may."""
    remind: Sequence[float]
    """Seconds after which people are reminded, each once."""
    within: float | None
    """Seconds after which no answer counts any more; None for no limit."""
    needed: int
    """How many different people have to approve."""
    granted: Sequence[str]
    """Who has approved."""
    noticed: frozenset[str]
    """Keys of what people were told."""

    @property
    def is_granted(self) -> bool:
        """True when enough have approved."""
        return len(self.granted) >= self.needed

    def may_answer(self, by: str, at: datetime) -> bool:
        """True for a person whom the question waits for at that time and who has not approved yet."""
        people = {
            *self.assignees,
            *(name for after, names in self.levels if self._since(at) >= after for name in names),
        }
        return by in people and by not in self.granted

    def is_over(self, at: datetime) -> bool:
        """True when no answer counts any more."""
        return self.within is not None and self._since(at) >= self.within

    def until_next(self, now: datetime) -> float | None:
        """Seconds until something is due; None when nothing is."""
        times = [*self.remind, *(after for after, _ in self.levels), *([] if self.within is None else [self.within])]
        left = [time - self._since(now) for time in times if time > self._since(now)]
        return max(min(left), SHORTEST) if left else None

    def due(self, now: datetime, *, announced: bool) -> Iterator[tuple[str, float, Sequence[str]]]:
        """The notices that are due and not in the log: key, seconds after the question, and who may answer besides."""
        every: list[tuple[str, float, Sequence[str]]] = [
            *([(ASKED, 0.0, ())] if announced else []),
            *((f"{REMINDED}/{n}", after, ()) for n, after in enumerate(self.remind)),
            *((f"{ESCALATED}/{n}", after, names) for n, (after, names) in enumerate(self.levels)),
        ]
        for key, after, names in sorted(every, key=lambda entry: (entry[1], entry[0])):
            if after <= self._since(now) and key not in self.noticed:
                yield key, after, names

    def people(self, at: datetime) -> list[str]:
        """Who may answer at that time."""
        everybody = [*self.assignees, *(name for _, names in self.levels for name in names)]
        return [name for name in dict.fromkeys(everybody) if self.may_answer(name, at)]

    def _since(self, at: datetime) -> float:
        return (at - self.asked_at).total_seconds()


async def question(services: Services, work_item: WorkItem) -> Question:
    """The question as it was put, with the approvals and notices since.

    Raises:
        PermanentError: this execution of the run has not put the question yet.
    """
    events = services.log.aread(work_item.ref.run, steps=[work_item.step.id], types=_TYPES)
    own = [event async for event in events if _belongs(event, work_item)]
    asked = next((event for event in own if event.type == EventType.APPROVAL_REQUESTED), None)
    if asked is None:
        raise PermanentError(
            f"Step {work_item.step.id} of {work_item.ref.run} has not asked anybody yet.", remedy="Answer when it has."
        )
    said = ApprovalRequested.of(asked)
    return Question(
        # The person whom the run is about may be forgotten by now: then the log only says so.
        subject=words(said.subject) or "",
        asked_at=datetime.fromisoformat(said.asked_at) if said.asked_at is not None else asked.at,
        assignees=said.assignees,
        levels=[(level["after"], level["to"]) for level in said.levels],
        remind=said.remind,
        within=said.within,
        needed=said.approvals,
        granted=[ApprovalGranted.of(event).by for event in own if event.type == EventType.APPROVAL_GRANTED],
        noticed=frozenset(
            keys.which_told(event.key, work_item.key, work_item.ref.epoch) for event in own if event.key is not None
        ),
    )


async def tell_due(services: Services, work_item: WorkItem, asked: Question, now: datetime, version: int) -> None:
    """Send the notices that are due, the question first, each once, and write them down.

    A notice that cannot be sent stays in the outbox; who may answer does not depend on it.

    Raises:
        ConcurrencyError: an event of the step, or of no step, has come after the version; look again.
    """
    due = list(asked.due(now, announced=human_of(work_item).announce))
    for key, _, _ in due:
        made = partial(_told, services, work_item.ref, key, now)
        # Sent first and written after. If the process dies in between, the next one sends under the same key, and the
        # outbox drops the repetition. Written first, the log would say that people were told who never were.
        await tell(services, work_item.ref.run, work_item.key, made, otherwise=NOBODY)
    if due:
        said = [_event(work_item, *notice, asked.people(now)) for notice in due]
        await services.log.aappend(work_item.ref.run, said, expected=version, within=[work_item.step.id])


def details_of(work_item: WorkItem) -> str | None:
    """The details that people need for their decision, with secrets redacted; None when the step gives none."""
    human = human_of(work_item)
    details = (
        evaluate(human.details, work_item.variables, where=f"step {work_item.step.id}, human")
        if human.details
        else None
    )
    return redact(str(details)) if details else None


def human_of(work_item: WorkItem) -> ResolvedHuman:
    """The step's `human` part.

    Raises:
        PermanentError: the step does not ask a person.
    """
    if not isinstance(work_item.step, ResolvedHumanStep):
        raise PermanentError(f"Step {work_item.step.id} does not ask a person.")
    return work_item.step.human


def _event(work_item: WorkItem, key: str, after: float, names: Sequence[str], people: list[str]) -> NewEvent:
    said: ApprovalTold | ApprovalReminded | ApprovalEscalated
    if (what := key.partition("/")[0]) == ASKED:
        said = ApprovalTold(**work_item.place, people=people)
    elif what == REMINDED:
        said = ApprovalReminded(**work_item.place, after=after, people=people)
    else:
        said = ApprovalEscalated(**work_item.place, after=after, people=people, to=list(names))
    return said.event(key=keys.told(work_item.key, key, work_item.ref.epoch))


async def _told(services: Services, ref: WorkRef, key: str, now: datetime) -> list[dict[str, Any]]:
    """The fields of the notices, from the log as it is now; none once the question is answered."""
    # Read again for each notice: an answer or `muster forget` may have come since `look` read the log.
    work_item = await load_begun(services, ref)
    if isinstance(work_item, Outcome):
        return []
    return list(_notices(work_item, await question(services, work_item), key, now, services.page(ref)))


def _notices(
    work_item: WorkItem, asked: Question, key: str, now: datetime, page: str | None
) -> Iterator[dict[str, Any]]:
    title = work_item.view.definition.title
    begins, since = _BEGINS[key.partition("/")[0]], f"{asked.asked_at:%Y-%m-%d %H:%M %Z}"
    lines = [
        f"{title}: a question {'was put' if key == ASKED else 'has waited since'} {since}.",
        asked.subject,
        *_more(work_item, asked, key),
        f"It waits for {_of(asked)}{', '.join(asked.people(now))}.",
        *_end(asked),
        f"Run {work_item.ref.run}, step {work_item.key}. Approve or reject it in Airflow{f': {page}' if page else ''}",
        f"Without a browser: {_command(work_item)} (or `muster reject`)",
    ]
    places = [{"channel": channel, "target": target} for channel, target in _places(human_of(work_item), work_item)]
    for number, place in enumerate(places or [{}]):
        yield {
            "run": work_item.ref.run,
            "key": f"{work_item.ref.run}/{keys.told(work_item.key, key, work_item.ref.epoch)}/{number}",
            "subject": f"{begins}: {title}",
            "text": "\n".join(lines),
            **place,
        }


def _more(work_item: WorkItem, asked: Question, key: str) -> list[str]:
    """The details, only in the first notice, and only while the person whom the run is about is not forgotten."""
    details = details_of(work_item) if key == ASKED and asked.subject != GONE else None
    # A template leaves an empty line wherever a condition of it was false.
    return ["", re.sub(r"\n\s*\n", "\n\n", details.strip("\n").rstrip()), ""] if details else []


def _command(work_item: WorkItem) -> str:
    item = "" if work_item.index is None else f" --item {work_item.index}"
    return f"muster approve {quote(work_item.ref.run)} --step {work_item.step.id}{item} --as NAME"


def _of(asked: Question) -> str:
    missing = asked.needed - len(asked.granted)
    return f"{missing} of " if missing > 1 else ""


def _end(asked: Question) -> list[str]:
    if asked.within is None:
        return []
    return [f"No answer by {asked.asked_at + timedelta(seconds=asked.within):%Y-%m-%d %H:%M %Z} is a rejection."]


def _places(human: ResolvedHuman, work_item: WorkItem) -> Iterator[tuple[str, Any]]:
    """The channels and targets that the step names; the target is None where its expression fails."""
    for channel, written in (place for target in human.notify for place in target.places):
        try:
            given = evaluate(written, work_item.variables, where=f"step {work_item.step.id}, notify")
            yield from places_in({channel: given}) or [(channel, None)]
        except ExpressionError:
            yield channel, None


def _belongs(event: Event, work_item: WorkItem) -> bool:
    return (event.step, event.index, event.epoch) == (work_item.step.id, work_item.index, work_item.ref.epoch)
