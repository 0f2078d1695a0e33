"""What is said about a question to people, and about what they were told."""

from __future__ import annotations

from muster.events.model import EventType
from muster.events.payloads.base import Json, OfWork, plain


class ApprovalRequested(OfWork, type=EventType.APPROVAL_REQUESTED):
    """People are asked."""

    subject: str
    details: str | None
    """Their SHA-256, if a restart may keep the approval; else None."""
    item: str | None
    """The SHA-256 of the item, if a restart may keep the approval; else None."""
    assignees: list[str] = plain()
    levels: list[Json] = plain(missing=())
    """Escalations: `after`, in seconds, the people in `to` may answer as well."""
    approvals: int = plain(missing=1)
    """How many have to approve."""
    within: float | None = plain()
    """Seconds."""
    otherwise: str = plain()
    asked_at: str | None = plain()
    remind: list[float] = plain(missing=())
    """Seconds."""


class ApprovalTold(OfWork, type=EventType.APPROVAL_TOLD):
    """Notices of the question were sent."""

    people: list[str] = plain()
    """Who may answer."""


class ApprovalReminded(OfWork, type=EventType.APPROVAL_REMINDED):
    """People were reminded of a question that nobody has answered yet."""

    after: float = plain()
    """Seconds since it was asked."""
    people: list[str] = plain()
    """Who may answer."""


class ApprovalEscalated(OfWork, type=EventType.APPROVAL_ESCALATED):
    """More people may answer."""

    after: float = plain()
    """Seconds since it was asked."""
    people: list[str] = plain()
    """All who may answer."""
    to: list[str] = plain()
    """Those who may answer from now on."""


class ApprovalGranted(OfWork, type=EventType.APPROVAL_GRANTED):
    """One of several approvals that are needed."""

    by: str = plain()
    """The person's name."""
    by_id: str | None = plain()
    """The person's id in the auth manager."""
    needed: int = plain()
    note: str | None


class ApprovalRefused(OfWork, type=EventType.APPROVAL_REFUSED):
    """An answer that does not count, by somebody who may not give it now."""

    by: str = plain()
    by_id: str | None = plain()
    approved: bool = plain()
    why: str = plain()


class ApprovalAnswered(OfWork, type=EventType.APPROVAL_ANSWERED):
    """The question is settled."""

    answer: str = plain()
    """`person`, `timeout` or `refused`."""
    approved: bool = plain()
    by: str | None = plain()
    how: str = plain()
    note: str | None
    at: str = plain()
    approvers: list[str] = plain()
    """All who have approved."""
    by_id: str | None = plain()
    kept: bool = plain(default=False)
    """True when it was given before a restart, which keeps it."""

    @property
    def output(self) -> dict[str, Json]:
        """What the step gives back."""
        names = ("approved", "by", "how", "note", "at", "approvers")
        return {name: getattr(self, name) for name in names}


class NoticeSent(OfWork, type=EventType.NOTICE_SENT):
    """People were told something."""

    channel: str = plain()
    target: Json
    text: str
    delivered_by: str = plain()
