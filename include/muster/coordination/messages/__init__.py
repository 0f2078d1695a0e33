"""Messages between agents: mailboxes and topics of runs, handed out at least once and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.faces import face

if TYPE_CHECKING:
    from muster.coordination.messages.mailbox import Mailbox
    from muster.coordination.messages.model import (
        Delivery,
        DeliveryLost,
        Draft,
        Envelope,
        MessageRefused,
        NoReply,
        Rules,
        StoredMessage,
    )
    from muster.coordination.messages.post import Post
    from muster.coordination.messages.schemas import Schemas

__all__ = [
    "Delivery",
    "DeliveryLost",
    "Draft",
    "Envelope",
    "Mailbox",
    "MessageRefused",
    "NoReply",
    "Post",
    "Rules",
    "Schemas",
    "StoredMessage",
]

__getattr__ = face(
    __name__,
    {
        "Delivery": "model",
        "DeliveryLost": "model",
        "Draft": "model",
        "Envelope": "model",
        "Mailbox": "mailbox",
        "MessageRefused": "model",
        "NoReply": "model",
        "Post": "post",
        "Rules": "model",
        "Schemas": "schemas",
        "StoredMessage": "model",
    },
)
