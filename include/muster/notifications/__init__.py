"""Notices to people: through Slack and e-mail when they are configured, else into the local outbox."""

from muster.notifications.dispatcher import Dispatcher
from muster.notifications.model import Channel, ChannelName, Delivery, Notice, NotConfigured
from muster.notifications.outbox import Outbox, OutboxEntry

__all__ = [
    "Channel",
    "ChannelName",
    "Delivery",
    "Dispatcher",
    "Notice",
    "NotConfigured",
    "Outbox",
    "OutboxEntry",
]
