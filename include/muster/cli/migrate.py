"""`muster migrate`: Muster's tables in a database that is not started by `muster up`."""

from __future__ import annotations

import json
import os
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg.conninfo import make_conninfo

from muster.cli.connections import muster_dsn
from muster.cli.output import console, emit
from muster.errors import MusterError
from muster.local.project import find_project
from muster.migrations import VERSION_TABLE, migrate

CONNECTION = "AIRFLOW_CONN_MUSTER_DB"
"""The environment variable in which Airflow finds the connection `muster_db`."""


def bring_up_to_date(dsn: str | None, *, as_json: bool) -> None:
    """Migrate the database of `dsn`, else of the connection `muster_db`, else of what runs here."""
    chosen = dsn or connection_dsn(os.environ.get(CONNECTION, "")) or _running_dsn()
    before = _revision(chosen)
    migrate(chosen)
    after = _revision(chosen)
    if as_json:
        emit({"before": before, "after": after, "changed": before != after})
    elif before == after:
        console().print(f"Muster's tables are up to date ({after}).", markup=False)
    else:
        console().print(f"Muster's tables were brought from {before or 'nothing'} to {after}.", markup=False)


def connection_dsn(value: str) -> str | None:
    """The DSN in an Airflow connection, given as JSON or as a URI; None when there is none.

    Raises:
        MusterError: the connection is not one to PostgreSQL, or cannot be read.
    """
    if not value.strip():
        return None
    try:
        parts = _from_json(value) if value.lstrip().startswith("{") else _from_uri(value)
        return make_conninfo("", **{key: str(part) for key, part in parts.items() if part not in (None, "")})
    except (ValueError, AttributeError, psycopg.Error) as error:
        raise MusterError(
            f"{CONNECTION} is not a connection to PostgreSQL.",
            remedy='Make it like {"conn_type": "postgres", "host": "db", "login": "muster", "password": "...", '
            '"schema": "muster"}, or name the database with --dsn.',
        ) from error


def _from_json(value: str) -> dict[str, object]:
    connection = json.loads(value)
    if connection.get("conn_type") not in ("postgres", "postgresql"):
        raise ValueError(connection.get("conn_type"))
    extra = connection.get("extra") or {}
    if isinstance(extra, str):
        extra = json.loads(extra)
    named = {"host": "host", "port": "port", "login": "user", "password": "password", "schema": "dbname"}
    return {**extra, **{theirs: connection.get(ours) for ours, theirs in named.items()}}


def _from_uri(value: str) -> dict[str, object]:
    url = urlsplit(value)
    if url.scheme not in ("postgres", "postgresql"):
        raise ValueError(url.scheme)
    return {
        **dict(parse_qsl(url.query)),
        "host": unquote(url.hostname or ""),
        "port": url.port,
        "user": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "dbname": unquote(url.path.lstrip("/")),
    }


def _running_dsn() -> str:
    try:
        return muster_dsn(find_project())
    except MusterError as error:
        raise type(error)(
            "No database is named, and none runs here.",
            remedy=f"Set {CONNECTION}, give --dsn, or start one with `muster up`.",
        ) from error


def _revision(dsn: str) -> str | None:
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        if connection.execute("SELECT to_regclass(%s)", (VERSION_TABLE,)).fetchone() == (None,):
            return None
        row = connection.execute(
            psycopg.sql.SQL("SELECT version_num FROM {}").format(psycopg.sql.Identifier(VERSION_TABLE))
        ).fetchone()
        return str(row[0]) if row else None
