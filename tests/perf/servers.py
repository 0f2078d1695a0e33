"""A PostgreSQL server of a benchmark's own, with its default durability."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from muster.local.postgres import PostgresServer, free_port
from muster.migrations import migrate


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A server in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "data", port=free_port(), password=secrets.token_hex(8))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def fresh_database(server: PostgresServer, name: str) -> str:
    """The address of a new database with Muster's tables."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    migrate(server.dsn(name))
    return server.dsn(name)
