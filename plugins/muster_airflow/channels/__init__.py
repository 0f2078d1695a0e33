"""The channels in Airflow: one module for each, whose `CHANNEL` delivers through a connection."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from muster.notifications import Channel


def channels() -> dict[str, Channel]:
    """The channels of this installation; each finds out on sending whether its connection exists."""
    return {module.name: import_module(f"{__name__}.{module.name}").CHANNEL for module in iter_modules(__path__)}
