"""Notices to people: through Slack and e-mail when they are configured, else into the local outbox."""

from muster.notifications.model import Channel, ChannelName, Delivery, NotConfigured, Notice
from muster.notifications.outbox import Outbox, OutboxEntry
from muster.notifications.sender import Sender

__all__ = [
    "Channel",
    "ChannelName",
    "Delivery",
    "NotConfigured",
    "Notice",
    "Outbox",
    "OutboxEntry",
    "Sender",
]
