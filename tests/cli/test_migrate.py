"""`muster migrate` makes the tables in whatever database the connection names, once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from muster.cli.migrate import CONNECTION, connection_dsn
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from support.command import Muster


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """The DSN of a database without a table."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE muster_not_migrated")
    yield make_conninfo(postgres, dbname="muster_not_migrated")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE muster_not_migrated WITH (FORCE)")


def as_connection(dsn: str) -> str:
    """What Airflow keeps of a DSN."""
    parts = conninfo_to_dict(dsn)
    named = {"login": "user", "password": "password", "host": "host", "port": "port", "schema": "dbname"}
    return json.dumps({"conn_type": "postgres", **{ours: parts[theirs] for ours, theirs in named.items()}})


def test_the_connection_of_airflow_is_enough_and_a_second_time_changes_nothing(
    muster: Muster, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, as_connection(empty))
    first = json.loads(muster("migrate", "--json").stdout)
    assert first["before"] is None
    assert first["changed"]
    with_tables = Database(empty)
    try:
        EventLog(with_tables).append("a/1", [NewEvent(type=EventType.RUN_OPENED, data={"automation": "a"})])
    finally:
        with_tables.close()
    second = json.loads(muster("migrate", "--json").stdout)
    assert second == {"before": first["after"], "after": first["after"], "changed": False}


def test_the_option_wins_over_the_environment(muster: Muster, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION, "postgresql://nobody@127.0.0.1:1/none")
    result = muster("migrate", "--dsn", dsn)
    assert result.exit_code == 0, result.output
    assert "up to date" in result.stdout


def test_without_any_database_the_three_ways_are_named(muster: Muster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONNECTION, raising=False)
    result = muster("migrate")
    assert result.exit_code == 3
    assert result.stdout == ""
    for way in (CONNECTION, "--dsn", "muster up"):
        assert way in result.stderr


@pytest.mark.parametrize("value", ["mysql://u@h/d", '{"conn_type": "slackwebhook"}', "{", "[]", "nonsense"])
def test_a_connection_to_something_else_is_refused_without_a_traceback(
    muster: Muster, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(CONNECTION, value)
    result = muster("migrate")
    assert result.exit_code == 1, result.output
    assert CONNECTION in result.stderr
    assert "Traceback" not in result.output


def test_a_connection_is_read_as_airflow_reads_it() -> None:
    expected = {"host": "db", "port": "5433", "user": "m", "password": "p@/ss", "dbname": "x", "sslmode": "require"}
    uri = "postgres://m:p%40%2Fss@db:5433/x?sslmode=require"
    written = json.dumps(
        {"conn_type": "postgres", "host": "db", "port": 5433, "login": "m", "password": "p@/ss", "schema": "x"}
        | {"extra": json.dumps({"sslmode": "require"})}
    )
    for value in (uri, written):
        assert conninfo_to_dict(connection_dsn(value)) == expected
