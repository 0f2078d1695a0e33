"""Two databases, or two schemas, and never somebody else's."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from muster.errors import MusterError
from muster.local.databases import prepare_given


@pytest.fixture
def prefix(postgres: str) -> Iterator[str]:
    """A prefix of names nobody else uses; what was made under it is dropped."""
    prefix = f"t{secrets.token_hex(4)}_"
    yield prefix
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in ("airflow", "muster", "shop"):
            connection.execute(f"DROP DATABASE IF EXISTS {prefix}{name} WITH (FORCE)")
        connection.execute(f"DROP ROLE IF EXISTS {prefix}guest")


@pytest.fixture
def guest(postgres: str, prefix: str) -> str:
    """The DSN of an account that may create schemas in its own database, but no databases."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {prefix}guest LOGIN PASSWORD 'guest'")
        connection.execute(f"CREATE DATABASE {prefix}shop OWNER {prefix}guest")
    return make_conninfo(postgres, dbname=f"{prefix}shop", user=f"{prefix}guest", password="guest")


def where(dsn: str) -> tuple[str, str]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT current_database(), current_schema()").fetchone()


def test_both_databases_are_made_once(postgres: str, prefix: str) -> None:
    made = prepare_given(postgres, prefix)
    with psycopg.connect(made.muster) as connection:
        connection.execute("CREATE TABLE kept ()")
    assert prepare_given(postgres, prefix) == made
    assert where(made.airflow) == (f"{prefix}airflow", "public")
    assert where(made.muster) == (f"{prefix}muster", "public")


def test_without_the_right_to_make_databases_schemas_are_used_and_it_is_said(guest: str, prefix: str) -> None:
    made = prepare_given(guest, prefix)
    assert where(made.airflow) == (f"{prefix}shop", f"{prefix}airflow")
    assert where(made.muster) == (f"{prefix}shop", f"{prefix}muster")
    assert "schemas" in made.place
    assert "may not create databases" in made.place
    assert prepare_given(guest, prefix) == made


def test_a_database_of_somebody_else_is_refused_and_left_alone(postgres: str, prefix: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {prefix}airflow")
    theirs = make_conninfo(postgres, dbname=f"{prefix}airflow")
    with psycopg.connect(theirs) as connection:
        connection.execute("CREATE TABLE dag ()")
    with pytest.raises(MusterError, match="did not make") as caught:
        prepare_given(postgres, prefix)
    assert "MUSTER_DATABASE_PREFIX" in str(caught.value)


def test_a_schema_of_somebody_else_is_refused(guest: str, prefix: str) -> None:
    with psycopg.connect(guest) as connection:
        connection.execute(f"CREATE SCHEMA {prefix}airflow")
    with pytest.raises(MusterError, match="schema"):
        prepare_given(guest, prefix)


def test_an_account_without_rights_is_told_what_to_grant(postgres: str, guest: str, prefix: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {prefix}shop OWNER TO CURRENT_USER")
    with pytest.raises(MusterError, match="CREATEDB"):
        prepare_given(guest, prefix)


def test_an_unreachable_server_is_said_without_the_password() -> None:
    with pytest.raises(MusterError, match="cannot be reached") as caught:
        prepare_given("postgresql://u:sesame@127.0.0.1:9/none")
    assert "sesame" not in str(caught.value)
    assert "DATABASE_URL" in str(caught.value)


def test_a_schema_that_could_not_be_finished_is_made_at_the_next_start(postgres: str, guest: str, prefix: str) -> None:
    with psycopg.connect(make_conninfo(postgres, dbname=f"{prefix}shop"), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION stops() RETURNS event_trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$"
        )
        connection.execute(
            "CREATE EVENT TRIGGER stops ON ddl_command_start WHEN TAG IN ('COMMENT') EXECUTE FUNCTION stops()"
        )
        with pytest.raises(psycopg.OperationalError):
            prepare_given(guest, prefix)
        connection.execute("DROP EVENT TRIGGER stops")
    assert where(prepare_given(guest, prefix).muster) == (f"{prefix}shop", f"{prefix}muster")
