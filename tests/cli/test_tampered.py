"""A log that was tampered with: each command says so, and none goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from support.command import Muster
from support.depot import Depot

ALTERED = {
    "another value": "UPDATE events SET data = jsonb_set(data::jsonb, '{output}', '\"z\"')::json "
    "WHERE stream = %s AND type = 'step.succeeded' AND data->>'step' = 'first'",
    "what an event must say is gone": 'UPDATE events SET data = \'{"step": "each"}\' '
    "WHERE stream = %s AND type IN ('step.expanded', 'step.failed')",
    "an event is gone": "DELETE FROM events WHERE stream = %s AND version = 3",
    "no object": "UPDATE events SET data = '[1]' WHERE stream = %s AND version = 4",
    "the beginning is gone": "DELETE FROM events WHERE stream = %s AND version = 1",
}
"""What somebody with the database's password did."""
CHANGES = {
    "restart": ["restart", "{run}", "--from", "each"],
    "redrive": ["dead-letters", "redrive", "{run}#each[1]"],
    "discard": ["dead-letters", "discard", "{run}#each[1]", "--reason", "paid"],
    "resume": ["resume", "{run}"],
}
LOOKS = {
    "show": ["show", "{run}"],
    "replay": ["replay", "{run}"],
    "verify": ["verify", "{run}"],
    "audit": ["audit", "{run}"],
    "debug": ["debug", "{run}", "--own"],
}


@pytest.fixture
def tampered(
    tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path, how: str
) -> str:
    """A run whose log was altered."""
    monkeypatch.setenv("MUSTER_DSN", dsn)
    (tmp_path / "site").mkdir()
    run = Depot(tmp_path / "site", database, ["a", "b"]).run(1, "b")
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        assert connection.execute(ALTERED[how], (run,)).rowcount
        connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")
    return run


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("what", LOOKS)
def test_looking_at_it_says_so(muster: Muster, tampered: str, what: str) -> None:
    result = muster(*(word.format(run=tampered) for word in LOOKS[what]))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    assert any(said in result.output + result.stderr for said in ("as it was written", "✗", "does not verify")), (
        result.output
    )


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("what", CHANGES)
def test_changing_anything_is_refused(muster: Muster, tampered: str, what: str, database: Database) -> None:
    before = events(database)
    result = muster(*(word.format(run=tampered) for word in CHANGES[what]))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    assert f"The log of {tampered} is not as it was written" in " ".join(result.stderr.split())
    assert events(database) == before


def events(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    return row[0] if row else 0
