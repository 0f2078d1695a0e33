"""The channels: one module for each, which says in `CHANNEL` all that the domain knows of it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from muster.language.channel_kind import ChannelKind

CHANNELS: dict[str, ChannelKind] = {
    channel.name: channel
    for channel in sorted(
        (import_module(f"{__name__}.{module.name}").CHANNEL for module in iter_modules(__path__)),
        key=lambda channel: channel.place,
    )
}
"""The channels by name, in their order."""
COMMON = "slack"
"""The channel that is told when an automation names no place."""
