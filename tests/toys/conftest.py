"""Fixtures of what is played with toys."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from support.runs import Site


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    return Site(tmp_path, database)
