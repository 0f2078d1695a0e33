"""Notices to people: through the channels that are configured, else into the local outbox."""

from muster.notifications.model import Channel, Delivery, NotConfigured, Notice
from muster.notifications.outbox import Outbox, OutboxEntry
from muster.notifications.sender import Sender

__all__ = [
    "Channel",
    "Delivery",
    "NotConfigured",
    "Notice",
    "Outbox",
    "OutboxEntry",
    "Sender",
]
