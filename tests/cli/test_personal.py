"""`muster forget`: asks first, says what it took, and refuses who is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from muster.cli.app import app
from muster.database import Database
from muster.events.driver import run
from muster.events.personal import Vault, load_master
from muster.local.project import find_project


@pytest.fixture
def vault(dsn: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """The vault of a project whose database knows one person."""
    monkeypatch.setenv("MUSTER_DSN", dsn)
    monkeypatch.delenv("MUSTER_MASTER_KEY", raising=False)
    made = Vault(partial(load_master, find_project().state))
    database = Database(dsn)
    run(database, made.enrol("jane"))
    yield made
    database.close()


def forgotten(database: Database) -> bool:
    with database.connection() as connection:
        return connection.execute("SELECT bool_and(wrapped_key IS NULL) FROM subjects").fetchone() == (True,)


def test_a_person_is_forgotten_and_asked_again_what_came_since_is_removed(vault: Vault, database: Database) -> None:
    result = CliRunner().invoke(app, ["forget", "jane", "--yes", "--json", "--as", "admin"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "subject": vault.name_id("jane"),
        "runs": 0,
        "notices": 0,
        "unsent": 0,
        "folders": 0,
        "forgotten_before": None,
        "by": "admin",
    }
    assert forgotten(database)
    again = CliRunner().invoke(app, ["forget", vault.name_id("jane"), "--yes"])
    assert again.exit_code == 0
    assert "What had come since of 0 runs was removed: 0 texts of notices, 0 folders" in " ".join(again.output.split())


def test_it_is_asked_first_and_a_no_changes_nothing(vault: Vault, database: Database) -> None:
    result = CliRunner().invoke(app, ["forget", "jane"], input="n\n")
    assert result.exit_code == 1
    assert "Nothing brings the data back" in result.output
    assert not forgotten(database)


def test_an_unknown_person_is_refused_and_nothing_changed(vault: Vault, database: Database) -> None:
    result = CliRunner().invoke(app, ["forget", "joan", "--yes"])
    assert result.exit_code == 1
    assert "There is no personal data of 'joan', so nothing was changed." in " ".join(result.output.split())
    assert not forgotten(database)
