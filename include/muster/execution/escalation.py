"""What happens while nobody answers, and who may answer when: reminders, further people, more than one approval.

Everything follows from what was asked, from the answers so far, and from the time: whoever looks decides the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from muster.errors import PermanentError
from muster.events import keys
from muster.events.model import Event, EventType
from muster.events.payloads.people import ApprovalEscalated, ApprovalGranted, ApprovalReminded, ApprovalRequested
from muster.events.sealing import words
from muster.execution.outcome import Outcome
from muster.execution.performing import take_up
from muster.execution.piece import Piece
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.telling import tell
from muster.language.expressions import ExpressionError, evaluate
from muster.language.kinds.human import ResolvedHuman, ResolvedHumanStep

NOBODY = "#approvals"
"""The place that is told when the step names nobody."""
SHORTEST = 1.0
"""Seconds; nobody is woken sooner than that."""

_TYPES = (
    EventType.APPROVAL_REQUESTED,
    EventType.APPROVAL_GRANTED,
    EventType.APPROVAL_REMINDED,
    EventType.APPROVAL_ESCALATED,
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question to people as the log has it."""

    subject: str
    asked_at: datetime
    assignees: Sequence[str]
    """Who may answer from the beginning."""
    levels: Sequence[tuple[float, Sequence[str]]]
    """Who may answer besides, after so many seconds."""
    remind: Sequence[float]
    within: float | None
    needed: int
    """How many different people have to approve."""
    granted: Sequence[str]
    """Who has approved."""
    noticed: frozenset[str]
    """Keys of the reminders and escalations that are done."""

    @property
    def is_granted(self) -> bool:
        """True when enough have approved."""
        return len(self.granted) >= self.needed

    def may_answer(self, by: str, at: datetime) -> bool:
        """True for one of those it waits for at that time, who has not approved yet."""
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

    def due(self, now: datetime) -> Iterator[tuple[str, EventType, float, Sequence[str]]]:
        """What is to be done now and is not: key, type, after how long, and who may answer besides."""
        levels = [
            (f"escalated/{n}", EventType.APPROVAL_ESCALATED, after, names)
            for n, (after, names) in enumerate(self.levels)
        ]
        reminders: list[tuple[str, EventType, float, Sequence[str]]] = [
            (f"reminded/{n}", EventType.APPROVAL_REMINDED, after, ()) for n, after in enumerate(self.remind)
        ]
        for key, type, after, names in sorted([*levels, *reminders], key=lambda entry: (entry[2], entry[0])):
            if after <= self._since(now) and key not in self.noticed:
                yield key, type, after, names

    def people(self, at: datetime) -> list[str]:
        """Who may answer at that time."""
        everybody = [*self.assignees, *(name for _, names in self.levels for name in names)]
        return [name for name in dict.fromkeys(everybody) if self.may_answer(name, at)]

    def _since(self, at: datetime) -> float:
        return (at - self.asked_at).total_seconds()


async def question(services: Services, piece: Piece) -> Question:
    """The question as it was put, with what has happened to it since.

    Raises:
        PermanentError: this execution of the run has not put it yet.
    """
    events = services.log.aread(piece.ref.run, steps=[piece.step.id], types=_TYPES)
    own = [event async for event in events if _belongs(event, piece)]
    asked = next((event for event in own if event.type == EventType.APPROVAL_REQUESTED), None)
    if asked is None:
        raise PermanentError(
            f"Step {piece.step.id} of {piece.ref.run} has not asked anybody yet.", remedy="Answer when it has."
        )
    said = ApprovalRequested.of(asked)
    return Question(
        # Of whom is forgotten by now the log says that alone.
        subject=words(said.subject) or "",
        asked_at=datetime.fromisoformat(said.asked_at) if said.asked_at is not None else asked.at,
        assignees=said.assignees,
        levels=[(level["after"], level["to"]) for level in said.levels],
        remind=said.remind,
        within=said.within,
        needed=said.approvals,
        granted=[ApprovalGranted.of(event).by for event in own if event.type == EventType.APPROVAL_GRANTED],
        noticed=frozenset(
            keys.which_told(event.key, piece.key, piece.ref.epoch) for event in own if event.key is not None
        ),
    )


async def tell_due(services: Services, piece: Piece, asked: Question, now: datetime) -> None:
    """Send the reminders and escalations that are due, each once, and write them down.

    A notice that cannot be sent stays in the outbox: who may answer does not depend on it.
    """
    for key, type, after, names in asked.due(now):
        made = partial(_told, services, piece.ref, key, now)
        await tell(services, piece.ref.run, piece.key, made, otherwise=NOBODY)
        people = asked.people(now)
        said = (
            ApprovalReminded(**piece.place, after=after, people=people)
            if type == EventType.APPROVAL_REMINDED
            else ApprovalEscalated(**piece.place, after=after, people=people, to=list(names))
        )
        await services.log.aappend(piece.ref.run, [said.event(key=keys.told(piece.key, key, piece.ref.epoch))])


def human_of(piece: Piece) -> ResolvedHuman:
    """What the step says of its question."""
    if not isinstance(piece.step, ResolvedHumanStep):
        raise PermanentError(f"Step {piece.step.id} does not ask a person.")
    return piece.step.human


async def _told(services: Services, ref: WorkRef, key: str, now: datetime) -> list[dict[str, Any]]:
    """What is told, of what the log says now; nothing once it is answered."""
    piece = await take_up(services, ref)
    return [] if isinstance(piece, Outcome) else list(_notices(piece, await question(services, piece), key, now))


def _notices(piece: Piece, asked: Question, key: str, now: datetime) -> Iterator[dict[str, Any]]:
    title = piece.view.definition.title
    lines = [
        f"{title}: a question has waited since {asked.asked_at:%Y-%m-%d %H:%M %Z}.",
        asked.subject,
        f"It waits for {_of(asked)}{', '.join(asked.people(now))}.",
        *_end(asked),
        f"Run {piece.ref.run}, step {piece.step.id}. Answer in Airflow, or: muster approve {piece.ref.run}",
    ]
    subject = f"{'Escalated' if key.startswith('escalated') else 'Reminder'}: {title}"
    places = [{"channel": channel, "target": target} for channel, target in _places(human_of(piece), piece)]
    for number, place in enumerate(places or [{}]):
        yield {
            "run": piece.ref.run,
            "key": f"{piece.ref.run}/{keys.told(piece.key, key, piece.ref.epoch)}/{number}",
            "subject": subject,
            "text": "\n".join(lines),
            **place,
        }


def _of(asked: Question) -> str:
    missing = asked.needed - len(asked.granted)
    return f"{missing} of " if missing > 1 else ""


def _end(asked: Question) -> list[str]:
    if asked.within is None:
        return []
    return [f"No answer by {asked.asked_at + timedelta(seconds=asked.within):%Y-%m-%d %H:%M %Z} is a rejection."]


def _places(human: ResolvedHuman, piece: Piece) -> Iterator[tuple[str, Any]]:
    """Where the step has people told; None in place of what cannot be worked out, of which no notice can be made."""
    for channel, written in (place for target in human.notify for place in target.places):
        try:
            yield channel, evaluate(written, piece.variables, where=f"step {piece.step.id}, notify")
        except ExpressionError:
            yield channel, None


def _belongs(event: Event, piece: Piece) -> bool:
    return (event.step, event.index, event.epoch) == (piece.step.id, piece.index, piece.ref.epoch)
