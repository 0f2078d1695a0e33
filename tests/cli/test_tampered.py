"""A log that was tampered with: each command says so, and none goes on as if nothing had happened."""

from __future__ import annotations

import json
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
    "nothing in any": "UPDATE events SET data = 'null' WHERE stream = %s",
    "all is gone": "DELETE FROM events WHERE stream = %s",
}
"""What somebody with the database's password did."""
CHANGES = {
    "restart": ["restart", "{run}", "--from", "each"],
    "redrive": ["dead-letters", "redrive", "{run}#each[1]"],
    "discard": ["dead-letters", "discard", "{run}#each[1]", "--reason", "paid"],
    "resume": ["resume", "{run}"],
    "approve": ["approve", "{run}"],
}
LOOKS = {
    "show": ["show", "{run}"],
    "replay": ["replay", "{run}"],
    "verify": ["verify", "{run}"],
    "verify all": ["verify"],
    "rebuild": ["rebuild", "{run}"],
    "rebuild all": ["rebuild"],
    "audit": ["audit", "{run}"],
    "debug": ["debug", "{run}", "--own"],
}

SAID = ("as it was written", "✗", "does not verify", "There is no run")


@pytest.fixture
def tampered(
    tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path, how: str
) -> str:
    """A run whose log was altered."""
    monkeypatch.setenv("MUSTER_DSN", dsn)
    (tmp_path / "site").mkdir()
    run = Depot(tmp_path / "site", database, ["a", "b"]).run(1, "b")
    tamper(dsn, run, how)
    return run


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("what", LOOKS)
def test_looking_at_it_says_so(muster: Muster, tampered: str, what: str) -> None:
    result = muster(*(word.format(run=tampered) for word in LOOKS[what]))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    assert any(said in result.output + result.stderr for said in SAID), result.output


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("what", CHANGES)
def test_changing_anything_is_refused(muster: Muster, tampered: str, what: str, database: Database) -> None:
    before = events(database)
    result = muster(*(word.format(run=tampered) for word in CHANGES[what]))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    assert f"The log of {tampered} is not as it was written" in " ".join(result.stderr.split())
    assert events(database) == before


def test_a_definition_that_was_changed_is_found_and_nothing_goes_on(
    muster: Muster,
    tmp_path: Path,
    database: Database,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    project: Path,
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    (tmp_path / "site").mkdir()
    run = Depot(tmp_path / "site", database, ["a", "b"]).run(1, "b")
    assert muster("verify", "--checkpoint").exit_code == 0
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE definitions SET content = replace(content::text, 'each', 'none')::json")
    for words in (["verify", run], ["verify"], ["audit", run]):
        shown = muster(*words)
        assert shown.exit_code == 1, words
        assert "is not what was written" in " ".join((shown.output + shown.stderr).split()), words
    before = events(database)
    for words in CHANGES.values():
        shown = muster(*(word.format(run=run) for word in words))
        assert isinstance(shown.exception, SystemExit), repr(shown.exception)
        assert shown.exit_code == 1, words
    assert events(database) == before


@pytest.mark.parametrize("how", ["no object", "nothing in any"])
@pytest.mark.parametrize("what", ["show", "approve", "cancel"])
def test_what_is_no_event_any_more_is_said_without_a_traceback(
    muster: Muster, tampered: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_URL", "http://127.0.0.1:9")
    for words in ([what, tampered], ["dead-letters", "show", f"{tampered}#each[1]"]):
        result = muster(*words)
        assert isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code


def test_the_run_is_shown_as_far_as_it_can_be_read(
    muster: Muster, tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    (tmp_path / "site").mkdir()
    run = Depot(tmp_path / "site", database, ["a", "b"]).run(1, "b")
    tamper(dsn, run, "nothing in any")
    result = muster("show", run, "--json")
    told = json.loads(result.stdout)
    assert (told["run"]["id"], told["events"], told["fault"]["version"]) == (run, [], 1)


def tamper(dsn: str, run: str, how: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        assert connection.execute(ALTERED[how].encode(), (run,)).rowcount
        connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")


def events(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    return row[0] if row else 0
