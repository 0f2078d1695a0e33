"""A run whose definition is gone from the database: looked at as far as the log goes, changed by nothing."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.events.queries import Queries
from support.command import Muster
from support.depot import Depot

CHANGES = {
    "restart": ["restart", "{run}", "--from", "each"],
    "redrive": ["dead-letters", "redrive", "{run}#each[1]"],
    "show a dead letter": ["dead-letters", "show", "{run}#each[1]"],
    "debug": ["debug", "{run}", "--own"],
}
LOOKS = {
    "show": ["show", "{run}"],
    "verify": ["verify", "{run}"],
    "replay": ["replay", "{run}"],
    "audit": ["audit", "{run}"],
    "list dead letters": ["dead-letters", "list"],
}


@pytest.fixture
def run(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> str:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    (tmp_path / "site").mkdir()
    run = Depot(tmp_path / "site", database, ["a", "b"]).run(1, "b")
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM definitions")
    return run


@pytest.mark.parametrize("what", LOOKS)
def test_the_log_alone_is_enough_to_look(muster: Muster, run: str, what: str) -> None:
    result = muster(*(word.format(run=run) for word in LOOKS[what]))
    assert result.exception is None, result.output + result.stderr
    assert result.exit_code == 0


@pytest.mark.parametrize("what", CHANGES)
def test_what_needs_the_definition_says_what_is_missing(
    muster: Muster, run: str, what: str, database: Database
) -> None:
    definition = Queries(database).run(run)
    result = muster(*(word.format(run=run) for word in CHANGES[what]))
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "There is no definition" in said
    assert "Restore the table `definitions` from a backup." in said
    assert Queries(database).run(run) == definition
