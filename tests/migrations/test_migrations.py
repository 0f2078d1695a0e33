"""The schema comes up, at once or step by step, beside whatever else the database holds."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from muster.errors import TransientError
from muster.migrations import VERSION_TABLE, migrate
from support.processes import finish, start


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """The DSN of a database without Muster's schema."""
    name = f"muster_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield make_conninfo(postgres, dbname=name)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        return {row[0] for row in rows}


def test_migrating_twice_is_migrating_once(empty: str) -> None:
    migrate(empty)
    first = tables(empty)
    migrate(empty)

    assert {"events", "objects", "definitions", "runs", "steps", "workflow_executions"} <= first == tables(empty)


def test_many_processes_may_migrate_at_once(empty: str) -> None:
    source = "import sys\nfrom muster.migrations import migrate\nmigrate(sys.argv[1])"
    finish(*[start(source, empty) for _ in range(3)])

    with psycopg.connect(empty) as connection:
        assert connection.execute(f"SELECT count(*) FROM {VERSION_TABLE}").fetchone() == (1,)


def test_another_alembic_in_the_same_database_is_left_alone(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('x')")
    migrate(empty)
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("x",)]


def test_a_database_that_is_not_there_is_transient() -> None:
    with pytest.raises(TransientError, match="could not be migrated"):
        migrate("postgresql://muster@127.0.0.1:1/none?connect_timeout=1")
