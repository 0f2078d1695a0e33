"""Fixtures of the log's tests."""

from __future__ import annotations

import pytest

from muster.database import Database
from muster.events.log import EventLog


@pytest.fixture
def log(database: Database) -> EventLog:
    """A log on a fresh database."""
    return EventLog(database)
