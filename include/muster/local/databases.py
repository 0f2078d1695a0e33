"""The two databases Muster needs: Airflow's and its own, on a given server or on the embedded one."""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from muster.errors import MusterError

MARK = "Muster"
"""Comment on what Muster made, so that it never takes somebody else's Airflow database for its own."""


@dataclass(frozen=True)
class Databases:
    """Where the two live."""

    airflow: str = field(repr=False)
    """libpq URI or keyword string of Airflow's database."""
    muster: str = field(repr=False)
    """The same for Muster's."""
    place: str
    """One sentence for people, without a password."""


def prepare_embedded(superuser_dsn: str, passwords: dict[str, str]) -> Databases:
    """On a server of our own: a role and a database of its own for each of the two."""
    with _connect(superuser_dsn) as connection:
        for name in ("airflow", "muster"):
            _make_role(connection, name, passwords[name])
            _make_database(connection, name, owner=name)
    parts = conninfo_to_dict(superuser_dsn)
    airflow, muster = (
        make_conninfo(superuser_dsn, dbname=name, user=name, password=passwords[name]) for name in ("airflow", "muster")
    )
    return Databases(airflow, muster, f"embedded PostgreSQL on 127.0.0.1:{parts.get('port')}")


def prepare_given(url: str, prefix: str = "") -> Databases:
    """On the server of `DATABASE_URL`: databases `airflow` and `muster`, else schemas of those names.

    Raises:
        MusterError: the server cannot be reached, or something else already lives under these names.
    """
    names = (f"{prefix}airflow", f"{prefix}muster")
    with _connect(url) as connection:
        place = f"{connection.info.host}:{connection.info.port}"
        # An account without the right can use databases that somebody else has made for it.
        if _may_create_databases(connection) or all(_exists(connection, name) for name in names):
            for name in names:
                _make_database(connection, name)
                _refuse_foreign(make_conninfo(url, dbname=name), name)
            airflow, muster = (make_conninfo(url, dbname=name) for name in names)
            return Databases(airflow, muster, f"databases {names[0]} and {names[1]} on {place}")
        for name in names:
            _make_schema(connection, name)
    airflow, muster = (make_conninfo(url, options=f"-csearch_path={name}") for name in names)
    database = conninfo_to_dict(url).get("dbname")
    return Databases(
        airflow,
        muster,
        f"schemas {names[0]} and {names[1]} in database {database} on {place}: this account may not create databases",
    )


def _connect(dsn: str) -> psycopg.Connection[tuple[object, ...]]:
    try:
        # PostgreSQL makes no database inside of a transaction.
        return psycopg.connect(dsn, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        raise MusterError(
            f"PostgreSQL cannot be reached: {str(error).strip()}",
            remedy="Check DATABASE_URL, or unset it to use the embedded server.",
        ) from error


def _exists(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def _may_create_databases(connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    query = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    row = connection.execute(query).fetchone()
    return bool(row and row[0])


def _make_role(connection: psycopg.Connection[tuple[object, ...]], name: str, password: str) -> None:
    row = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    # A role that exists is given the password too: the credentials may have been made anew since.
    verb = sql.SQL("CREATE" if row is None else "ALTER")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(name), sql.Literal(password))
    )


def _make_database(connection: psycopg.Connection[tuple[object, ...]], name: str, owner: str | None = None) -> None:
    if _exists(connection, name):
        return
    owned = sql.SQL(" OWNER {}").format(sql.Identifier(owner)) if owner else sql.SQL("")
    connection.execute(sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), owned))
    # PostgreSQL makes a database outside of any transaction. A crash before the comment leaves a database without it,
    # which is empty and so is not refused at the next start.
    connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(MARK)))


def _refuse_foreign(dsn: str, name: str) -> None:
    with _connect(dsn) as connection:
        comment = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchone()
    if tables and tables[0] and not (comment and comment[0] == MARK):
        _refuse(f"The database {name}")


def _make_schema(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    row = connection.execute(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s", (name,)
    ).fetchone()
    if row is not None:
        if row[0] != MARK:
            _refuse(f"The schema {name}")
        return
    try:
        # Both or neither: a schema that a crash had left without the comment would be taken for somebody else's.
        with connection.transaction():
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(name), sql.Literal(MARK)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise MusterError(
            "The account in DATABASE_URL may create neither databases nor schemas.",
            remedy="Grant it CREATEDB, or CREATE on its database.",
        ) from error


def _refuse(what: str) -> None:
    raise MusterError(
        f"{what} holds tables that Muster did not make.",
        remedy="Set MUSTER_DATABASE_PREFIX, for example to `muster_`, so that other names are used.",
    )
