"""Fixtures shared by every test: one real PostgreSQL for the session, a fresh database for each test."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.local.postgres import PostgresServer, free_port
from support.bank import BankServer, bank_server
from support.kept import KeptDatabase
from support.runs import Site

# Airflow keeps its files in a folder of this session's own: set before anything imports it.
AIRFLOW_HOME = tempfile.mkdtemp(prefix="muster-test-airflow-")
os.environ["AIRFLOW_HOME"] = AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
atexit.register(shutil.rmtree, AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The DSN of a server tests may create databases on: `DATABASE_URL` if set, else our own."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="muster-test-pg-", dir=_room()) as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "data", port=free_port(), password=secrets.token_hex(8))
        server.start()
        try:
            yield server.dsn()
        finally:
            server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> Iterator[str]:
    """The name of a database holding Muster's schema, to copy for each test."""
    from muster.migrations import migrate

    name = f"muster_template_{os.getpid()}"
    _execute(postgres, f"CREATE DATABASE {name}")
    migrate(_sibling(postgres, name))
    yield name
    _execute(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def dsn(postgres: str, migrated_template: str) -> Iterator[str]:
    """The DSN of a fresh, migrated database."""
    name = f"muster_{secrets.token_hex(6)}"
    _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
    yield _sibling(postgres, name)
    _execute(postgres, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """A `Database` on a fresh, migrated database."""
    handle = KeptDatabase(dsn)
    yield handle
    handle.end()


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, database: Database) -> Site:
    """A site with the skills that the module is marked with, by the names of their files."""
    made = Site(tmp_path, database)
    for mark in request.node.iter_markers("skills"):
        for name, source in mark.kwargs.items():
            made.skills(name, source)
    return made


@pytest.fixture
def bank() -> Iterator[BankServer]:
    """The other side: it performs whatever it is asked, as often as it is asked, and counts."""
    with bank_server() as server:
        yield server


def _room() -> str:
    """Where files are made fastest: a database for each test is some three hundred of them."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30 else "/tmp"


def _sibling(dsn: str, name: str) -> str:
    return psycopg.conninfo.make_conninfo(dsn, dbname=name)


def _execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement)
