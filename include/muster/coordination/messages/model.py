"""What a message is, what is said of it, and the errors of sending and settling one."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from muster.errors import ConcurrencyError, PermanentError, TransientError

Status = Literal["waiting", "acknowledged", "dead", "expired", "posted"]

LONGEST_NAME = 200
"""Characters of the name of a mailbox or a topic."""


class MessageRefused(PermanentError):
    """The message was not stored: the same message is refused every time."""


class DeliveryLost(ConcurrencyError):
    """The delivery counts no more, because its time ran out or it was settled: do nothing more about the message."""

    repeats_data = False


class NoReply(TransientError):
    """No reply came in time. Asking again under the same id sends nothing twice."""

    repeats_data = False


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a mailbox hands out its messages; all who receive from it should have the same."""

    visible_after: float = 30.0
    """Seconds after which a message that was handed out and not settled may be handed out again."""
    limit: int = 5
    """How often a message is handed out before it is a dead letter."""
    delay: float = 1.0
    """Seconds that a message waits after its first failure; each further failure multiplies them by `factor`."""
    factor: float = 2.0
    longest: float = 300.0
    """Seconds that a message waits at most."""


def new_id() -> UUID:
    """A random id that begins with the time (RFC 9562, version 7): rows that are written together lie together."""
    random = int.from_bytes(os.urandom(10), "big")
    millis = time.time_ns() // 1_000_000
    value = (millis & (2**48 - 1)) << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (2**62 - 1)
    return UUID(int=value)


class Draft(BaseModel):
    """A message as its sender writes it. Who sends it is not for the sender to say: the mailbox it leaves from is."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    to: tuple[str, ...] = ()
    """The mailboxes it is for; none when it goes to all that subscribe to `topic`."""
    body: Any = None
    """JSON."""
    id: UUID = Field(default_factory=new_id)
    """Sent twice under the same id, it is stored once."""
    topic: str | None = None
    correlation: str | None = None
    """The conversation that it belongs to; its own id without one. Messages of one conversation come in order."""
    causation: UUID | None = None
    """The id of the event or the message that it was sent because of."""
    reply_to: str | None = None
    """The mailbox that replies go to; the sender's without one."""
    schema_name: str | None = Field(default=None, alias="schema")
    """The schema that `body` fits."""
    priority: int = Field(default=0, ge=-32768, le=32767)
    """Messages with a larger one are handed out first, but never before an earlier one of their conversation."""
    expires_in: float | None = Field(default=None, gt=0)
    """Seconds after which it is not handed out any more."""
    delay: float = Field(default=0.0, ge=0)
    """Seconds before which it is not handed out."""


class Envelope(BaseModel):
    """A message as it was stored."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    id: UUID
    run: str
    sender: str
    """The mailbox that it was sent from; the database has it from the mailbox and from nowhere else."""
    recipient: str
    """The mailbox that it was stored for."""
    topic: str | None
    correlation: str
    """The conversation that it belongs to."""
    causation: UUID | None
    reply_to: str | None
    schema_name: str | None = Field(alias="schema")
    priority: int
    sent_at: datetime
    expires_at: datetime | None
    body: Any
    """Data, and nothing but data: whatever it says, it gives nobody a right or a tool."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message that was handed out, and is to be acknowledged, rejected or deferred."""

    envelope: Envelope
    row: UUID
    """The row that holds it; of a message to several each mailbox has one."""
    token: int
    """Which handing out this is: only the last one may settle the message."""
    attempt: int
    """1 the first time. One that was deferred is not counted."""

    @property
    def body(self) -> Any:
        """What the message says."""
        return self.envelope.body


@dataclass(frozen=True, kw_only=True)
class StoredMessage:
    """A message and what became of it."""

    envelope: Envelope
    row: UUID
    status: Status
    """`posted` is the one row of a message to several that stands for all of them."""
    attempts: int
    error: str | None
    """Why it was rejected the last time, or ended otherwise."""
    settled_at: datetime | None


def ensure_name(name: str, what: str) -> str:
    """The name, if a mailbox or a topic may have it.

    Raises:
        MessageRefused: it is empty, too long, or holds a slash or a character that is not printed.
    """
    if not name or len(name) > LONGEST_NAME or "/" in name or not name.isprintable() or name != name.strip():
        raise MessageRefused(
            f"{name[:LONGEST_NAME]!r} cannot be the name of {what}.",
            remedy=f"Use 1 to {LONGEST_NAME} printable characters without a slash, and no space at the ends.",
        )
    return name
